"""build: engines, their preprocessing, and what cannot be built or written."""
import resource

import numpy as np
import pytest

from support import GOLDEN, MODELS, default_signals, digest, done, fails, files_below, index_rows, \
    json_of, random_image, read_wts, save_png, unet, write_wts

BAD = index_rows("bad")


@pytest.mark.parametrize("name", MODELS)
def test_a_summary_and_an_engine(tmp_path, name):
    result = done("build", GOLDEN / "models" / f"{name}.pth", "-o", tmp_path / "out.engine")
    assert result.stdout == ""
    channels, classes = MODELS[name]
    last = result.stderr.splitlines()[-1]
    for word in ["out.engine", "parameters", f"{channels} channel", f"{classes} class", "fp32"]:
        assert word in last
    info = json_of("inspect", tmp_path / "out.engine", "--json")
    assert (info["in_channels"], info["classes"]) == (channels, classes)
    assert info["bytes"] == (tmp_path / "out.engine").stat().st_size


def test_equal_inputs_give_equal_bytes(tmp_path):
    for n in "12":
        done("build", GOLDEN / "models" / "transposed.pth", "-o", tmp_path / n, "--size", "64x48",
             "--no-timing")
    assert digest(tmp_path / "1") == digest(tmp_path / "2")


def test_the_container_does_not_matter(tmp_path):
    """A zip, the older format, float64 and safetensors: one network, one engine. (.wts has no
    integers, so its counters of batches count as parameters.)"""
    engines = set()
    for name in ["zip.pth", "legacy.pth", "float64.pth", "in-order.safetensors"]:
        done("build", GOLDEN / "formats" / name, "-o", tmp_path / "out.engine", "--no-timing")
        engines.add(digest(tmp_path / "out.engine"))
    assert len(engines) == 1


def test_verbose_says_more(tmp_path):
    line = ["build", GOLDEN / "models" / "transposed.pth", "-o", tmp_path / "out.engine"]
    assert len(done(*line, "--verbose").stderr) > len(done(*line).stderr)


def test_defaults_that_differ_from_the_authors_are_told(tmp_path):
    out = ["-o", tmp_path / "out.engine"]
    assert "predict.py" in done("build", GOLDEN / "models" / "bilinear.pth", *out).stderr
    scaled = done("build", GOLDEN / "models" / "bilinear.pth", *out, "--scale", "1")
    assert "predict.py" not in scaled.stderr
    assert "volume" in done("build", GOLDEN / "models" / "brain.pth", *out).stderr


MEAN, STD = [0.125, 0.25, 0.375], [0.5, 0.625, 0.75]


@pytest.mark.parametrize("text, change, kept", [
    ("255", lambda x: x / 255, {"normalize": "255"}),
    ("zscore", lambda x: (x - x.mean()) / x.std(), {"normalize": "zscore"}),
    ("mean=0.5,std=0.25", lambda x: (x / 255 - 0.5) / 0.25,
     {"normalize": "mean_std", "mean": 3 * [0.5], "std": 3 * [0.25]}),
    ("mean=0.125,0.25,0.375,std=0.5,0.625,0.75", lambda x: (x / 255 - MEAN) / STD,
     {"normalize": "mean_std", "mean": MEAN, "std": STD}),
], ids=["255", "zscore", "one mean", "three means"])
def test_normalize_belongs_to_the_engine(tmp_path, logits_of, text, change, kept):
    image = random_image(3, 32, 48)
    path = save_png(tmp_path / "image.png", image)
    done("build", GOLDEN / "models" / "old-bilinear.pth", "-o", tmp_path / "out.engine",
         "--normalize", text)
    fed = change(image.astype(np.float64)).transpose(2, 0, 1).astype(np.float32)
    np.save(tmp_path / "fed.npy", fed)
    seen = logits_of(tmp_path / "out.engine", path)
    wanted = logits_of(tmp_path / "out.engine", tmp_path / "fed.npy")
    assert np.abs(seen - wanted).max() < 1e-4
    found = json_of("inspect", tmp_path / "out.engine", "--json")["preprocess"]
    assert found == kept | {"scale": 1.0}


def test_scale_belongs_to_the_engine(tmp_path, logits_of):
    path = save_png(tmp_path / "image.png", random_image(3, 40, 56))
    for scale in ["0.5", "1"]:
        done("build", GOLDEN / "models" / "old-bilinear.pth", "-o", tmp_path / scale, "--scale",
             scale, "--no-timing")
    half = logits_of(tmp_path / "0.5", path)
    assert np.array_equal(half, logits_of(tmp_path / "1", path, "--scale", "0.5"))
    assert not np.array_equal(half, logits_of(tmp_path / "1", path))
    assert json_of("inspect", tmp_path / "0.5", "--json")["preprocess"]["scale"] == 0.5


def test_size_is_kept(tmp_path):
    done("build", GOLDEN / "models" / "brain.pth", "-o", tmp_path / "e", "--size", "64x48")
    info = json_of("inspect", tmp_path / "e", "--json")
    assert (info["tuned_width"], info["tuned_height"]) == (64, 48)


def test_means_must_be_as_many_as_channels(tmp_path):
    fails(2, "build", GOLDEN / "models" / "old-bilinear.pth", "-o", tmp_path / "e", "--normalize",
          "mean=1,2,std=1,2", words=["--normalize", "3 channels", "2 means"])
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("name, word", BAD, ids=[row[0] for row in BAD])
def test_bad_models(tmp_path, name, word):
    fails(3, "build", GOLDEN / "bad" / name, "-o", tmp_path / "e", words=[name, word])
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(tmp_path, poison):
    tensors = read_wts(GOLDEN / "formats" / "expected.wts")
    tensors["down2.maxpool_conv.1.double_conv.3.weight"][5] = poison
    write_wts(tmp_path / "in.wts", tensors)
    fails(3, "build", tmp_path / "in.wts", "-o", tmp_path / "e",
          words=["down2.maxpool_conv.1.double_conv.3"])
    assert files_below(tmp_path) == ["in.wts"]


def test_the_model_is_not_overwritten(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes((GOLDEN / "models" / "brain.pth").read_bytes())
    fails(2, "build", path, "-o", path, words=["model.pth", "overwrite"])
    assert digest(path) == digest(GOLDEN / "models" / "brain.pth")


def test_an_engine_built_again_is_the_same(tmp_path):
    model = GOLDEN / "models" / "brain.pth"
    done("build", model, "-o", tmp_path / "a", "--no-timing", "--size", "48x32", "--scale", "1")
    done("build", tmp_path / "a", "-o", tmp_path / "b", "--no-timing")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    fails(3, "convert", tmp_path / "a", "-o", tmp_path / "c.wts", words=["is an engine"])


def test_what_cannot_be_written(tmp_path):
    model = GOLDEN / "models" / "transposed.pth"
    (tmp_path / "file").write_text("in the way")
    for path in [tmp_path / "missing" / "e", tmp_path / "file" / "e", tmp_path]:
        fails(5, "build", model, "-o", path, "--scale", "1", words=[path])
    assert files_below(tmp_path) == ["file"]


def small_files():
    """No file may grow beyond 16 KiB: what a full disk looks like."""
    default_signals()
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))


@pytest.mark.parametrize("verb, out", [("build", "out.engine"), ("convert", "out.wts"),
                                       ("convert", "out.safetensors")])
def test_a_full_disk(tmp_path, verb, out):
    (tmp_path / out).write_text("the old one")
    line = [verb, GOLDEN / "models" / "transposed.pth", "-o", tmp_path / out]
    done(*line[:3], tmp_path / f"fits-{out}")
    assert (tmp_path / f"fits-{out}").stat().st_size > 16384
    failed = unet(*line, before=small_files)
    assert failed.returncode == 5
    assert out in failed.stderr.splitlines()[-1]
    assert (tmp_path / out).read_text() == "the old one"
    assert files_below(tmp_path) == sorted([out, f"fits-{out}"])
