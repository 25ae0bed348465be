"""inspect: what is in a file, for people and for programs."""
import struct
import zipfile

import pytest

from support import GOLDEN, MODELS, done, fails, json_of, read_safetensors, read_wts, unet, \
    write_wts

ARCHITECTURES = {"old-bilinear": "unet-bilinear-old", "bilinear": "unet-bilinear",
                 "bilinear-bias": "unet-bilinear", "transposed": "unet-transposed",
                 "transposed-bias": "unet-transposed", "brain": "brain-segmentation"}


@pytest.mark.parametrize("name", MODELS)
def test_networks(name):
    path = GOLDEN / "models" / f"{name}.pth"
    report = json_of("inspect", path, "--json")
    network = report["network"]
    assert network["architecture"] == ARCHITECTURES[name]
    assert (network["in_channels"], network["classes"]) == MODELS[name]
    assert network["width"] == report["tensors"][0]["shape"][0]
    assert network["conv_bias"] == (name in ("old-bilinear", "bilinear-bias", "transposed-bias"))
    text = done("inspect", path).stdout
    assert ARCHITECTURES[name] in text
    for tensor in report["tensors"]:
        assert tensor["name"] in text


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "expected.wts", "f16.safetensors"])
def test_tensors(name):
    report = json_of("inspect", GOLDEN / "formats" / name, "--json")
    expected = read_wts(GOLDEN / "formats" / "expected.wts")
    assert report["format"] == name.rsplit(".", 1)[1]
    assert report["tensor_count"] == len(report["tensors"]) == len(expected)
    for tensor in report["tensors"]:
        size = 1
        for side in tensor["shape"]:
            size *= side
        assert size == len(expected[tensor["name"]])
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    counted = sum(len(v) for k, v in expected.items() if not k.endswith(buffers))
    assert report["parameter_count"] == counted


def test_types_and_shapes():
    path = GOLDEN / "formats" / "f16.safetensors"
    found = {t["name"]: t for t in json_of("inspect", path, "--json")["tensors"]}
    for name, values in read_safetensors(path).items():
        assert found[name]["shape"] == list(values.shape)
        assert found[name]["dtype"] == values.dtype.name


@pytest.mark.parametrize("name, values", [
    ("mask-values", [0, 255]), ("legacy-mask-values", [[0, 0, 0], [128, 64, 0]]), ("zip", [])])
def test_mask_values(engine, name, values):
    path = GOLDEN / "formats" / f"{name}.pth"
    assert json_of("inspect", path, "--json")["mask_values"] == values
    assert json_of("inspect", engine(name, "formats"), "--json")["mask_values"] == values


def test_tensors_that_are_no_known_network(tmp_path):
    write_wts(tmp_path / "other.wts", {"fc.weight": [1, 2], "fc.bias": [3]})
    result = done("inspect", tmp_path / "other.wts")
    network = next(line for line in result.stdout.splitlines() if line.startswith("network"))
    assert network.startswith("network      none: not a U-Net that is known: its first tensor is "
                              "'fc.weight', and one of a network with 'inc.double_conv.")
    report = json_of("inspect", tmp_path / "other.wts", "--json")
    assert report["network"] is None and report["not_recognized"]


def test_more_entries_than_promised(tmp_path):
    (tmp_path / "more.wts").write_text("1\na 1  3f800000\nb 1  3f800000\n")
    fails(3, "inspect", tmp_path / "more.wts",
          words=["line 3: more follows after the last entry: line 1 counts 1;"])


def test_engine(engine):
    path = engine("transposed")
    report = json_of("inspect", path, "--json")
    assert report["format"] == "engine" and report["architecture"] == "unet-transposed"
    assert report["bytes"] == path.stat().st_size
    assert report["preprocess"] == {"normalize": "255", "scale": 1.0}
    model = json_of("inspect", GOLDEN / "models" / "transposed.pth", "--json")
    assert report["parameter_count"] == model["parameter_count"]
    text = done("inspect", path).stdout
    for layer in report["layers"]:
        assert layer["name"] in text and layer["kernel"] in text
    convolutions = [layer for layer in report["layers"] if layer["op"] == "conv"]
    assert (convolutions[0]["in_channels"], convolutions[0]["out_channels"]) == (3, 4)
    assert all(layer["weight_bytes"] > 0 for layer in convolutions)


def test_verify(engine, tmp_path):
    path = engine("transposed")
    assert "intact" in done("inspect", path, "--verify").stdout
    assert json_of("inspect", path, "--verify", "--json")["verified"] is True
    assert "verified" not in json_of("inspect", path, "--json")
    fails(3, "inspect", tmp_path / "missing.engine", "--verify", words=["cannot be opened"])
    broken = tmp_path / "magic.engine"
    broken.write_bytes(b"\x88" + path.read_bytes()[1:])
    fails(3, "inspect", broken, "--verify", words=["not a model"])


def entries_of(path):
    """Name, place and size of the bytes of each entry of a zip file that has some."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            local = path.read_bytes()[info.header_offset:]
            name, extra = struct.unpack_from("<2H", local, 26)
            if info.file_size:
                yield info.filename, info.header_offset + 30 + name + extra, info.file_size


def test_verify_a_checkpoint(tmp_path):
    """An optimizer's state is checked too, which reading leaves alone."""
    whole = GOLDEN / "formats" / "training.pth"
    entries = list(entries_of(whole))
    assert f"all {len(entries)} checksums are right" in done("inspect", whole, "--verify").stdout
    unread, flipped, tried = 0, tmp_path / "flipped.pth", entries[::12]
    for name, place, size in tried:
        data = bytearray(whole.read_bytes())
        data[place + size // 2] ^= 4
        flipped.write_bytes(data)
        fails(3, "inspect", "--verify", flipped, words=["flipped.pth", f"'{name}'", "CRC"])
        unread += unet("inspect", flipped).returncode == 0
    assert 2 < unread < len(tried) - 2


@pytest.mark.parametrize("name", ["crc-0.pth", "legacy.pth", "expected.wts", "f32.safetensors"])
def test_verify_what_has_no_checksums(name):
    path = GOLDEN / "formats" / name
    assert "has no checksums" in done("inspect", "--verify", path).stdout
    report = json_of("inspect", "--verify", path, "--json")
    assert report["verified"] is True and report["checksums"] == 0


def test_another_version(engine, tmp_path):
    """The version is a 32-bit number near the beginning."""
    whole = bytearray(engine("brain").read_bytes())
    version = json_of("inspect", engine("brain"), "--json")["format_version"]
    place = whole.find(struct.pack("<I", version), 1)
    assert 0 < place < 32
    whole[place:place + 4] = struct.pack("<I", version + 1)
    (tmp_path / "later.engine").write_bytes(whole)
    fails(3, "inspect", tmp_path / "later.engine", words=["later.engine", "version"])


@pytest.mark.parametrize("name", ["missing.pth", "empty.pth", "prose.pth", "folder"])
def test_what_is_no_model(tmp_path, name):
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "prose.pth").write_text("Call me Ishmael.")
    (tmp_path / "folder").mkdir()
    fails(3, "inspect", tmp_path / name, words=[name])

