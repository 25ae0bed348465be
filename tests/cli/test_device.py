"""--device, with a back end in plain C in a GPU's place (tests/device)."""
import json
import re

import numpy as np
import pytest

from support import (GOLDEN, MODELS, PROGRAM, done, fails, files_below, json_of, pixels, random_image,
                     save_png, unet)

FAKE = PROGRAM.parent / "tests" / "libfake-device.so"
HERE = {"UNET_CUDA_LIBRARY": str(FAKE)}
NOT_HERE = {"UNET_CUDA_LIBRARY": "/nowhere/libunet-cuda.so"}

pytestmark = pytest.mark.skipif(not FAKE.is_file(), reason="tests/device has not been built")


@pytest.fixture
def images(tmp_path):
    for n in range(6):
        save_png(tmp_path / "images" / f"{n}.png", random_image(n, 32, 48, MODELS["transposed"][0]))
    return tmp_path / "images"


def model(name):
    return GOLDEN / "models" / f"{name}.pth"


@pytest.fixture
def built(engine):
    """built("transposed", "fp16"): the path of an engine for the device; read, never written."""
    def build(name="transposed", precision="fp16"):
        return engine(name, "models", "--device", "cuda", "--precision", precision, env=HERE)
    return build


def logits_of(folder, engine, array, *more, env=HERE):
    out = folder / "logits"
    done("predict", engine, array, "-o", out, "--save", "logits", *more, env=env)
    [name] = [f for f in files_below(out) if f.endswith(".logits.npy")]
    return np.load(out / name)


@pytest.mark.parametrize("precision, limit", [("fp32", 1e-4), ("tf32", 1e-4), ("fp16", 2e-2),
                                              ("bf16", 2e-1)])
@pytest.mark.parametrize("name", ["transposed", "old-bilinear", "brain"])
def test_logits_are_pytorchs(tmp_path, built, name, precision, limit):
    engine = built(name, precision)
    assert json_of("inspect", engine, "--json", env=HERE)["precision"] == precision
    case = GOLDEN / "cases" / f"{'z3' if name == 'brain' else 'c3'}-16x16.input.npy"
    expected = np.load(GOLDEN / "cases" / f"{name}-16x16.logits.npy")
    ours = logits_of(tmp_path, engine, case)
    assert np.abs(ours - expected.reshape(ours.shape)).max() < limit * np.abs(expected).max()


def test_masks_of_a_folder(tmp_path, built):
    for seed, (height, width) in enumerate([(37, 45), (20, 31), (37, 45), (16, 64), (37, 45)]):
        save_png(tmp_path / "in" / f"{seed}.png", random_image(seed, height, width))
    engine = built(precision="fp32")
    done("predict", engine, tmp_path / "in", "-o", tmp_path / "gpu", env=HERE)
    done("predict", engine, tmp_path / "in", "-o", tmp_path / "cpu", "--device", "cpu", env=HERE)
    for seed in range(5):
        gpu, cpu = (pixels(tmp_path / where / f"{seed}.png") for where in ("gpu", "cpu"))
        assert gpu.shape == cpu.shape and np.count_nonzero(gpu != cpu) <= 2


def test_a_model_on_a_device(tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 40, 33))
    done("predict", model("brain"), image, "-o", tmp_path / "gpu", "--device", "cuda:0", "--precision",
         "bf16", env=HERE)
    done("predict", model("brain"), image, "-o", tmp_path / "cpu", env=HERE)
    gpu, cpu = (pixels(tmp_path / where / "a.png") for where in ("gpu", "cpu"))
    assert np.mean(gpu != cpu) < 0.05


def test_networks_are_compared_across(tmp_path, built):
    image = save_png(tmp_path / "in" / "a.png", random_image(3, 32, 32))
    engine = built(precision="fp32")
    report = json_of("eval", engine, "--against", model("transposed"), "--images", image.parent,
                     "--json", env=HERE)
    assert report["flips"] <= 2


def test_without_a_device_it_runs_on_the_cpu(tmp_path, built):
    engine = built()
    case = GOLDEN / "cases" / "c3-16x16.input.npy"
    expected = np.load(GOLDEN / "cases" / "transposed-16x16.logits.npy")
    for env in (NOT_HERE, HERE | {"UNET_FAKE_DEVICES": "0"}):
        result = done("predict", engine, case, "-o", tmp_path / "x", "--save", "logits", env=env)
        assert "runs on the CPU" in result.stderr and "fp16" in result.stderr
        [name] = files_below(tmp_path / "x")
        ours = np.load(tmp_path / "x" / name)
        assert np.abs(ours - expected.reshape(ours.shape)).max() < 1e-3
        quiet = done("predict", engine, case, "-o", tmp_path / "y", "--device", "auto", env=env)
        assert "no GPU" not in quiet.stderr


@pytest.mark.parametrize("env, word", [(NOT_HERE, "libunet-cuda.so"),
                                       (HERE | {"UNET_FAKE_DEVICES": "0"}, "no GPU"),
                                       ({"UNET_CUDA_LIBRARY": "libm.so.6"}, "device_backend_table"),
                                       ({"UNET_CUDA_LIBRARY": str(FAKE.with_name("libbroken-device.so"))},
                                        "another version")])
def test_a_missing_device_is_exit_5(tmp_path, built, env, word):
    engine = built()
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    fails(5, "predict", engine, image, "-o", tmp_path / "out", "--device", "cuda", env=env, words=[word])
    fails(5, "build", model("transposed"), "-o", tmp_path / "b.engine", "--device", "cuda", env=env,
          words=[word])
    fails(5, "bench", engine, "--device", "cuda", env=env, words=[word])
    report = json_of("doctor", "--json", env=env)
    assert report["devices"] == [] and (word in report["no_device"] or "none" in report["no_device"])
    assert "device     none" in done("doctor", env=env).stdout


def test_another_device(tmp_path, built):
    engine = built()
    fails(5, "inspect", engine, "--device", "cuda:1", env=HERE, words=["only one"])
    two = HERE | {"UNET_FAKE_DEVICES": "2"}
    assert json_of("inspect", engine, "--json", "--device", "cuda:1", env=two)["device"] == "cuda:1"
    assert [d["id"] for d in json_of("doctor", "--json", env=two)["devices"]] == ["cuda:0", "cuda:1"]


def test_doctor(tmp_path):
    [device] = json_of("doctor", "--json", env=HERE)["devices"]
    assert device["precisions"] == "fp32, tf32, fp16, bf16, int8 and fp8"
    refused = [k["name"] for k in device["kernels"] if not k["runs"]]
    assert refused == ["conv.newer.fake"]
    text = done("doctor", env=HERE).stdout
    assert device["name"] in text and "needs sm_100, this is sm_90" in text


def test_bench(tmp_path, built):
    report = json_of("bench", built(), "--size", "16x16", "--batch", "2", "--seconds", "0.2",
                     "--format", "json", env=HERE)
    assert report["device"] == "cuda:0" and report["enqueued"] >= 1
    assert 0 < report["min_ms"] <= report["median_ms"] <= report["p90_ms"]
    assert report["latency_ms"] > 0 and report["upload_ms"] >= 0 and report["download_ms"] >= 0
    assert sum(layer["ms"] for layer in report["layers"]) > 0
    shares = [layer["gflops"] / layer["peak_gflops"] for layer in report["layers"]
              if layer["gflop"] > 0]
    assert len(shares) > 10 and all(0 < share < 1 for share in shares)
    assert report["gflop"] == pytest.approx(sum(layer["gflop"] for layer in report["layers"]))
    table = done("bench", built(), "--size", "16x16", "--seconds", "0.2", "--profile",
                 env=HERE).stdout
    assert "A device of the tests" in table and "conv.slow.fake" in table


def test_timing_chooses_the_faster(tmp_path):
    path, times = tmp_path / "timed.engine", tmp_path / "kernels.times"
    for _ in range(2):
        done("build", model("transposed"), "-o", path, "--device", "cuda", "--precision", "bf16",
             "--size", "24x24", "--batch", "2", "--timing-cache", times, env=HERE)
        first = path.read_bytes()
    assert path.read_bytes() == first
    kernels = {layer["kernel"] for layer in json_of("inspect", path, "--json", env=HERE)["layers"]}
    assert "conv.reference.fake" in kernels and "conv.slow.fake" not in kernels
    assert "A device of the tests\tfake sm_90" in times.read_text()


@pytest.mark.parametrize("precision", ["fp16", "int8", "fp8"])
def test_an_engine_is_timed_again(tmp_path, images, precision):
    """One that nobody timed, from the device and from the CPU; its types stay what they were."""
    engine = tmp_path / "e.engine"
    calibrated = [] if precision == "fp16" else ["--calib", images, "--max-flips", 50]
    done("build", model("old-bilinear" if precision == "fp8" else "transposed"), "-o", engine, "--device", "cuda", "--no-timing",
         "--precision", precision, *calibrated, env=HERE)
    done("build", engine, "-o", tmp_path / "timed.engine", "--device", "cuda", "--size", "24x24",
         env=HERE)
    before, after = (json_of("inspect", path, "--json", env=HERE)
                     for path in (engine, tmp_path / "timed.engine"))
    assert {layer["kernel"] for layer in before["layers"]} & {"conv.slow.fake"}
    assert not {layer["kernel"] for layer in after["layers"]} & {"conv.slow.fake"}
    assert [layer["type"] for layer in before["layers"]] == \
        [layer["type"] for layer in after["layers"]]
    assert after["precision"] == precision and after["tuned_width"] == 24
    case = GOLDEN / "cases" / "c3-16x16.input.npy"
    assert (logits_of(tmp_path, engine, case)
            == logits_of(tmp_path, tmp_path / "timed.engine", case)).all()


def test_an_engine_moves_to_a_device(tmp_path):
    done("build", model("old-bilinear"), "-o", tmp_path / "cpu.engine", "--no-timing")
    result = done("build", tmp_path / "cpu.engine", "-o", tmp_path / "gpu.engine", "--device",
                  "cuda", "--size", "24x24", env=HERE)
    described = json_of("inspect", tmp_path / "gpu.engine", "--json", env=HERE)
    assert described["device"] == "cuda:0" and "fake" in described["built_for"], result.stderr
    assert described["repacked"] is False
    case = GOLDEN / "cases" / "c3-16x16.input.npy"
    expected = np.load(GOLDEN / "cases" / "old-bilinear-16x16.logits.npy")
    ours = logits_of(tmp_path, tmp_path / "gpu.engine", case)
    assert np.abs(ours - expected.reshape(ours.shape)).max() < 1e-4 * np.abs(expected).max()


def test_an_engine_has_its_own_precision(tmp_path, built):
    engine = built()
    for given in (["--precision", "bf16"], ["--scale", "0.5"]):
        fails(2, "build", engine, "-o", tmp_path / "x", "--device", "cuda", *given, env=HERE,
              words=["an engine has its own"])
    fails(2, "build", engine, "-o", engine, env=HERE, words=["would overwrite"])


def test_little_memory(tmp_path, built):
    engine = built()
    image = save_png(tmp_path / "a.png", random_image(1, 64, 64))
    little = HERE | {"UNET_FAKE_MEMORY": "600000"}
    result = unet("predict", engine, image, "-o", tmp_path / "out", env=little)
    assert result.returncode == 5 and "left" in result.stderr, result.stderr


def test_what_cannot_be():
    fails(2, "predict", model("brain"), "a.png", "--device", "gpu", words=["--device", "not a device"])
    fails(2, "inspect", model("brain"), "--device", "cuda", env=HERE, words=["is for engines"])
    fails(5, "bench", model("brain"), "--precision", "fp16", words=["fp16", "GPU"])
    fails(2, "build", model("brain"), "-o", "x", "--precision", "fp17", words=["fp16", "tf32"])


# ---------------------------------------------------------------- a folder

def folder_of(tmp_path, count):
    """Images of a few sizes; every seventh is broken."""
    channels = MODELS["transposed"][0]
    for n in range(count):
        path = tmp_path / "in" / f"{n:02}.png"
        save_png(path, random_image(n, 16 + 4 * (n % 3), 24, channels))
        if n % 7 == 3:
            path.write_bytes(path.read_bytes()[:40])
    return tmp_path / "in"


@pytest.mark.parametrize("device", ["cuda", "cuda:all"])
def test_a_folder_is_spread(tmp_path, built, device):
    folder, engine = folder_of(tmp_path, 40), built(precision="fp32")
    env = HERE | {"UNET_FAKE_DEVICES": "2"}
    told = []
    for threads in ("1", "5"):
        result = unet("predict", engine, folder, "-o", tmp_path / threads, "--device", device,
                      "--threads", threads, env=env)
        assert result.returncode == 1
        *failures, summary = result.stderr.splitlines()
        assert [line.split("/")[-1][:2] for line in failures] == ["03", "10", "17", "24", "31", "38"]
        assert "34 segmented, 6 failed" in summary
        told.append(failures)
    assert told[0] == told[1]
    done_alone = unet("predict", engine, folder, "-o", tmp_path / "cpu", "--device", "cpu", env=env)
    assert done_alone.returncode == 1
    names = files_below(tmp_path / "5")
    assert names == files_below(tmp_path / "1") == files_below(tmp_path / "cpu")
    for name in names:
        ours, theirs = pixels(tmp_path / "5" / name), pixels(tmp_path / "cpu" / name)
        assert (ours == pixels(tmp_path / "1" / name)).all()
        assert np.count_nonzero(ours != theirs) <= 2


def test_a_full_disk_ends_the_work_of_all(tmp_path, built):
    folder, engine = folder_of(tmp_path, 30), built(precision="fp32")
    (tmp_path / "out").mkdir()
    for n in range(30):  # a folder where a mask belongs
        (tmp_path / "out" / f"{n:02}.png").mkdir()
    result = unet("predict", engine, folder, "-o", tmp_path / "out", "--threads", "1", env=HERE)
    lines = result.stderr.splitlines()
    assert result.returncode == 5 and "00.png" in lines[0] and len(lines) <= 3
    # one thread and a session's three write at once, and 03.png is passed over: none gets further
    failed, not_tried = map(int, re.search(r"(\d+) failed, (\d+) not tried", lines[-1]).groups())
    assert failed <= 5 and failed + not_tried == 30


def test_all_gpus_where_there_are_none(tmp_path, built):
    engine = built()
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    fails(5, "predict", engine, image, "-o", tmp_path / "x", "--device", "cuda:all",
          env=HERE | {"UNET_FAKE_DEVICES": "0"}, words=["no GPU"])
    fails(2, "bench", engine, "--device", "cuda:all", env=HERE, words=["--device", "not a device"])


# ---------------------------------------------------------------- what fp16 does not hold

def scaled(folder, factors):
    """The checkpoint with some tensors multiplied, as .wts."""
    path = folder / "scaled.wts"
    done("convert", model("transposed"), "-o", path)
    lines = path.read_text().splitlines()
    for i, line in enumerate(lines[1:], 1):
        name, count, *words = line.split()
        if name in factors:
            values = np.frombuffer(bytes.fromhex("".join(words)), ">f4") * np.float32(factors[name])
            words = [f"{bits:08x}" for bits in values.astype("=f4").view(np.uint32)]
            lines[i] = f"{name} {count}  " + " ".join(words)
    path.write_text("\n".join(lines) + "\n")
    return path


def far_reaching(folder):
    """The same function, with a first layer whose values reach 2^18 times as far."""
    return scaled(folder, {"inc.double_conv.1.weight": 2.0**18, "inc.double_conv.1.bias": 2.0**18,
                           "inc.double_conv.3.weight": 2.0**-18})


@pytest.mark.parametrize("with_images", [False, True])
def test_what_fp16_does_not_hold_stays_wider(tmp_path, images, with_images):
    engine, more = tmp_path / "e.engine", ["--calib", images] if with_images else []
    result = done("build", far_reaching(tmp_path), "-o", engine, "--device", "cuda", "--precision",
                  "fp16", "--no-timing", *more, env=HERE)
    told = [line for line in result.stderr.splitlines() if "stays in" in line]
    assert len(told) == 1 and "inc.double_conv.3 stays in bf16" in told[0]
    described = json_of("inspect", engine, "--json", env=HERE)
    assert described["precision"] == "fp16"
    types = {layer["name"]: layer["type"] for layer in described["layers"]}
    assert types["inc.double_conv.0"] == "bf16"  # which inc.double_conv.3 reads
    assert types["inc.double_conv.3"] == types["down1.maxpool_conv.1.double_conv.0"] == "fp16"
    case = GOLDEN / "cases" / "c3-16x16.input.npy"
    expected = np.load(GOLDEN / "cases" / "transposed-16x16.logits.npy")
    for env in (HERE, NOT_HERE):
        ours = logits_of(tmp_path, engine, case, env=env)
        assert np.abs(ours - expected.reshape(ours.shape)).max() < 5e-2 * np.abs(expected).max()


def test_what_fp16_holds_is_not_spoken_of(tmp_path, images):
    result = done("build", model("transposed"), "-o", tmp_path / "e", "--device", "cuda",
                  "--precision", "fp16", "--no-timing", "--calib", images, env=HERE)
    assert "stays in" not in result.stderr
    types = {layer["type"] for layer in json_of("inspect", tmp_path / "e", "--json", env=HERE)
             ["layers"]}
    assert types == {"fp32", "fp16"}
    fails(2, "build", model("transposed"), "-o", tmp_path / "e", "--device", "cuda", "--precision",
          "bf16", "--calib", images, env=HERE, words=["--calib"])
    fails(2, "build", model("transposed"), "-o", tmp_path / "e", "--device", "cuda", "--precision",
          "fp16", "--calib", images, "--calib-table", tmp_path / "t", env=HERE, words=["--calib"])


def test_bytes_compete_with_what_holds_the_values(tmp_path, images):
    report = tmp_path / "r.json"
    result = done("build", far_reaching(tmp_path), "-o", tmp_path / "e", "--device", "cuda",
                  "--precision", "int8", "--max-flips", 50, "--calib", images, "--size", "24x16",
                  "--report", report, env=HERE)
    assert "bytes compete with bf16" in result.stderr
    assert json.loads(report.read_text())["wider_precision"] == "bf16"


# ---------------------------------------------------------------- int8

def int8(engine, *more, env=HERE, model_name="transposed"):
    return done("build", model(model_name), "-o", engine, "--precision", "int8", "--max-flips", 50,
                *more, env=env)


def test_int8_says_what_the_device_runs(tmp_path, images):
    fails(5, "build", model("transposed"), "-o", tmp_path / "x.engine", "--device", "cuda",
          "--precision", "int8", "--calib", images, env=HERE | {"UNET_FAKE_NO_BYTES": "1"},
          words=["fp32, tf32, fp16, bf16 and fp8"])


@pytest.mark.parametrize("name", ["transposed", "old-bilinear"])
def test_int8_is_calibrated_alike(tmp_path, images, name):
    """The device's float32 network, and its histograms, are the CPU's."""
    ranges, reports = {}, {}
    for device in ["cpu", "cuda"]:
        table, report = tmp_path / f"{device}.table", tmp_path / f"{device}.json"
        int8(tmp_path / f"{device}.engine", "--device", device, "--calib", images, "--calib-table",
             table, "--calib-method", "minmax", "--no-timing", "--report", report, model_name=name)
        lines = [line.split(": ") for line in table.read_text().splitlines()[1:]]
        ranges[device] = {key: np.frombuffer(bytes.fromhex(bits), ">f4")[0]
                          for key, bits in lines if not key.startswith("unet/")}
        reports[device] = json.loads(report.read_text())
    assert ranges["cpu"].keys() == ranges["cuda"].keys() and len(ranges["cpu"]) > 10
    for key, expected in ranges["cpu"].items():
        assert ranges["cuda"][key] == pytest.approx(expected, rel=1e-4), key
    for report in reports.values():
        assert report["calibration_images"] == 4 and report["judged_images"] == 2
        assert report["flips_percent"] <= 50
    kinds = {layer["precision"] for layer in reports["cuda"]["layers"]}
    assert "int8" in kinds and "bf16" not in kinds


def test_an_int8_engine_runs_here_and_there(tmp_path, images):
    engine, report = tmp_path / "e.engine", tmp_path / "r.json"
    result = int8(engine, "--device", "cuda", "--calib", images, "--no-timing", "--report", report)
    assert "8-bit products: sm_90" in result.stderr
    described = json_of("inspect", engine, "--json", env=HERE)
    assert described["precision"] == "int8" and described["device"] == "cuda:0"
    measured = json.loads(report.read_text())["flips_percent"]
    for device, env in (("cuda", HERE), ("cpu", NOT_HERE)):
        flips = json_of("eval", engine, "--against", model("transposed"), "--images", images,
                        "--device", device, "--json", env=env)
        assert 100 * flips["flip_share"] <= measured + 15


def test_int8_by_table_and_by_time(tmp_path, images):
    table, times, report = tmp_path / "a.table", tmp_path / "a.times", tmp_path / "r.json"
    common = ["--device", "cuda", "--calib-table", table, "--size", "24x16", "--batch", "2",
              "--timing-cache", times, "--report", report]
    int8(tmp_path / "a.engine", "--calib", images, *common)
    timed = json.loads(report.read_text())
    assert timed["wider_precision"] == "fp16" and timed["wider_ms"] > 0 and timed["ms"] > 0
    assert timed["precision"] == "fp16" or timed["ms"] <= timed["wider_ms"]
    assert "\tnetwork\t" in times.read_text()
    first = (tmp_path / "a.engine").read_bytes()
    table.unlink()
    int8(tmp_path / "a.engine", "--calib", images, *common)
    assert (tmp_path / "a.engine").read_bytes() == first
    int8(tmp_path / "b.engine", *common)
    assert json.loads(report.read_text())["method"] == "table"


# ---------------------------------------------------------------- fp8

def fp8(engine, *more, env=HERE, model_name="old-bilinear"):
    """Of two classes: of 19 some are so small that few flips take them below the least IoU."""
    return done("build", model(model_name), "-o", engine, "--device", "cuda", "--precision", "fp8",
                "--max-flips", 50, *more, env=env)


@pytest.mark.parametrize("name", ["old-bilinear", "brain"])
def test_fp8_runs_on_its_device_and_wider_elsewhere(tmp_path, images, name):
    engine, report = tmp_path / "e.engine", tmp_path / "r.json"
    result = fp8(engine, "--calib", images, "--no-timing", "--report", report, model_name=name)
    assert "fp8 products: sm_90" in result.stderr
    made = json.loads(report.read_text())
    assert made["precision"] == "fp8" and made["calibration_images"] == 4
    assert "fp8" in {row["precision"] for row in made["layers"]}
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[1] for row in rows[1:]] == [row["precision"] for row in made["layers"]]
    described = json_of("inspect", engine, "--json", env=HERE)
    assert described["precision"] == "fp8" and described["device"] == "cuda:0"
    assert {"fp32", "fp8"} <= {layer["type"] for layer in described["layers"]}
    for device, env in (("cuda", HERE), ("cuda", HERE | {"UNET_FAKE_NO_FP8": "1"}), ("cpu", NOT_HERE)):
        result = unet("eval", engine, "--against", model(name), "--images", images, "--device",
                      device, "--json", env=env)
        assert result.returncode == 0, result.stderr
        flips = 100 * json.loads(result.stdout)["flip_share"]
        wider = env != HERE
        assert ("layers in fp8" in result.stderr) == wider
        assert flips <= (5 if wider else made["flips_percent"] + 15)


def test_fp8_by_table_and_by_time(tmp_path, images):
    table, times, report = tmp_path / "a.table", tmp_path / "a.times", tmp_path / "r.json"
    common = ["--calib-table", table, "--size", "24x16", "--batch", "2", "--timing-cache", times,
              "--report", report]
    fp8(tmp_path / "a.engine", "--calib", images, *common)
    timed = json.loads(report.read_text())
    assert timed["wider_precision"] == "fp16" and timed["wider_ms"] > 0 and timed["ms"] > 0
    assert "unet/fp8/bits/" in table.read_text() and "unet/bits/" not in table.read_text()
    assert " e4m3 to e4m3 " in times.read_text()
    fp8(tmp_path / "b.engine", *common)
    assert json.loads(report.read_text())["method"] == "table"


def test_a_table_of_int8_gives_fp8_its_ranges(tmp_path, images):
    """A network of transposed convolutions: what may be negative is as it is."""
    table, report, engine = tmp_path / "a.table", tmp_path / "r.json", tmp_path / "e.engine"
    int8(tmp_path / "int8.engine", "--calib", images, "--calib-table", table, "--no-timing")
    result = fp8(engine, "--calib-table", table, "--no-timing", "--report", report,
                 model_name="transposed")
    assert "flips not measured" in result.stderr
    assert json.loads(report.read_text())["flips_percent"] is None
    assert [row["precision"] for row in json.loads(report.read_text())["layers"]].count("fp8") > 15
    flips = json_of("eval", engine, "--against", model("transposed"), "--images", images, "--json",
                    env=HERE)
    assert 0 < flips["flip_share"] < 0.3


def test_layers_are_kept_in_fp8(tmp_path, images):
    report = tmp_path / "r.json"
    options = ["--calib", images, "--no-timing", "--report", report]
    fp8(tmp_path / "e", *options, "--keep", "up4.conv.double_conv.3=fp16", "--keep",
        "up3.conv.double_conv.0=fp8")
    kept = {row["name"]: row["precision"] for row in json.loads(report.read_text())["layers"]}
    assert kept["up4.conv.double_conv.3"] == "fp16" and kept["up3.conv.double_conv.0"] == "fp8"
    fails(2, "build", model("old-bilinear"), "-o", tmp_path / "e", "--device", "cuda", "--precision",
          "fp8", *options, "--keep", "up3.conv.double_conv.0=int8", env=HERE,
          words=["up3.conv.double_conv.0", "int8", "give fp8"])
    fails(2, "build", model("old-bilinear"), "-o", tmp_path / "e", "--device", "cuda", "--precision",
          "fp8", *options, "--max-flips", 0, env=HERE, words=["fp8 is not possible"])


def test_fp8_where_it_is_not(tmp_path, images):
    build = ["build", model("transposed"), "-o", tmp_path / "x.engine", "--precision", "fp8"]
    fails(5, *build, "--device", "cuda", "--calib", images, env=HERE | {"UNET_FAKE_NO_FP8": "1"},
          words=["precision fp8", "cuda:0 runs fp32, tf32, fp16, bf16 and int8"])
    fails(5, *build, "--calib", images, env=HERE, words=["precision fp8 runs on a GPU alone"])
    fails(2, *build, "--device", "cuda", env=HERE, words=["--precision fp8", "--calib DIR"])
    fails(2, *build, "--device", "cuda", "--calib-table", tmp_path / "none", env=HERE,
          words=["no table", "--calib DIR"])
    for verb in ["predict", "bench"]:
        fails(2, verb, model("transposed"), *([images] if verb == "predict" else []), "--precision",
              "fp8", "--device", "cuda", env=HERE, words=["--precision fp8", "unet build"])


def test_auto_stays_with_bytes(tmp_path, images):
    report = tmp_path / "r.json"
    done("build", model("transposed"), "-o", tmp_path / "e", "--device", "cuda", "--max-flips", 50,
         "--calib", images, "--no-timing", "--report", report, env=HERE)
    precisions = {row["precision"] for row in json.loads(report.read_text())["layers"]}
    assert "int8" in precisions and "fp8" not in precisions


def test_a_broken_image_is_named_while_a_device_calibrates(tmp_path, images):
    (images / "7.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    result = unet("build", model("transposed"), "-o", tmp_path / "e.engine", "--device", "cuda",
                  "--precision", "int8", "--max-flips", 50, "--calib", images, "--no-timing",
                  env=HERE)
    assert result.returncode == 1 and "7.png" in result.stderr
