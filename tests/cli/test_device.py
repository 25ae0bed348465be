"""--device, with a back end in plain C in a GPU's place (tests/device)."""
import numpy as np
import pytest

from support import (GOLDEN, MODELS, PROGRAM, done, fails, files_below, json_of, pixels, random_image,
                     save_png, unet)

FAKE = PROGRAM.parent / "tests" / "libfake-device.so"
HERE = {"UNET_CUDA_LIBRARY": str(FAKE)}
NOT_HERE = {"UNET_CUDA_LIBRARY": "/nowhere/libunet-cuda.so"}

pytestmark = pytest.mark.skipif(not FAKE.is_file(), reason="tests/device has not been built")


def model(name):
    return GOLDEN / "models" / f"{name}.pth"


def built(folder, name="transposed", precision="fp16", *more):
    path = folder / f"{name}-{precision}.engine"
    done("build", model(name), "-o", path, "--device", "cuda", "--precision", precision,
         "--no-timing", *more, env=HERE)
    return path


def logits_of(folder, engine, array, *more, env=HERE):
    out = folder / "logits"
    done("predict", engine, array, "-o", out, "--save", "logits", *more, env=env)
    [name] = [f for f in files_below(out) if f.endswith(".logits.npy")]
    return np.load(out / name)


@pytest.mark.parametrize("precision, limit", [("fp32", 1e-4), ("tf32", 1e-4), ("fp16", 2e-2),
                                              ("bf16", 2e-1)])
@pytest.mark.parametrize("name", ["transposed", "old-bilinear", "brain"])
def test_logits_are_pytorchs(tmp_path, name, precision, limit):
    engine = built(tmp_path, name, precision)
    assert json_of("inspect", engine, "--json", env=HERE)["precision"] == precision
    case = GOLDEN / "cases" / f"{'z3' if name == 'brain' else 'c3'}-16x16.input.npy"
    expected = np.load(GOLDEN / "cases" / f"{name}-16x16.logits.npy")
    ours = logits_of(tmp_path, engine, case)
    assert np.abs(ours - expected.reshape(ours.shape)).max() < limit * np.abs(expected).max()


def test_masks_of_a_folder(tmp_path):
    for seed, (height, width) in enumerate([(37, 45), (20, 31), (37, 45), (16, 64), (37, 45)]):
        save_png(tmp_path / "in" / f"{seed}.png", random_image(seed, height, width))
    engine = built(tmp_path, precision="fp32")
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


def test_networks_are_compared_across(tmp_path):
    image = save_png(tmp_path / "in" / "a.png", random_image(3, 32, 32))
    engine = built(tmp_path, precision="fp32")
    report = json_of("eval", engine, "--against", model("transposed"), "--images", image.parent,
                     "--json", env=HERE)
    assert report["flips"] <= 2


def test_without_a_device_it_runs_on_the_cpu(tmp_path):
    engine = built(tmp_path)
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
def test_a_missing_device_is_exit_5(tmp_path, env, word):
    engine = built(tmp_path)
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    fails(5, "predict", engine, image, "-o", tmp_path / "out", "--device", "cuda", env=env, words=[word])
    fails(5, "build", model("transposed"), "-o", tmp_path / "b.engine", "--device", "cuda", env=env,
          words=[word])
    fails(5, "bench", engine, "--device", "cuda", env=env, words=[word])
    report = json_of("doctor", "--json", env=env)
    assert report["devices"] == [] and (word in report["no_device"] or "none" in report["no_device"])
    assert "device     none" in done("doctor", env=env).stdout


def test_another_device(tmp_path):
    engine = built(tmp_path)
    fails(5, "inspect", engine, "--device", "cuda:1", env=HERE, words=["only one"])
    two = HERE | {"UNET_FAKE_DEVICES": "2"}
    assert json_of("inspect", engine, "--json", "--device", "cuda:1", env=two)["device"] == "cuda:1"
    assert [d["id"] for d in json_of("doctor", "--json", env=two)["devices"]] == ["cuda:0", "cuda:1"]


def test_doctor(tmp_path):
    [device] = json_of("doctor", "--json", env=HERE)["devices"]
    assert device["precisions"] == "fp32, tf32, fp16 and bf16"
    refused = [k["name"] for k in device["kernels"] if not k["runs"]]
    assert refused == ["conv.newer.fake"]
    text = done("doctor", env=HERE).stdout
    assert device["name"] in text and "needs sm_100, this is sm_90" in text


def test_bench(tmp_path):
    report = json_of("bench", built(tmp_path), "--size", "16x16", "--batch", "2", "--seconds", "0.2",
                     "--format", "json", env=HERE)
    assert report["device"] == "cuda:0" and report["enqueued"] >= 1
    assert 0 < report["min_ms"] <= report["median_ms"] <= report["p90_ms"]
    assert report["latency_ms"] > 0 and report["upload_ms"] >= 0 and report["download_ms"] >= 0
    assert sum(layer["ms"] for layer in report["layers"]) > 0
    assert report["gflop"] == pytest.approx(sum(layer["gflop"] for layer in report["layers"]))
    table = done("bench", built(tmp_path), "--size", "16x16", "--seconds", "0.2", "--profile",
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


def test_little_memory(tmp_path):
    engine = built(tmp_path)
    image = save_png(tmp_path / "a.png", random_image(1, 64, 64))
    little = HERE | {"UNET_FAKE_MEMORY": "600000"}
    result = unet("predict", engine, image, "-o", tmp_path / "out", env=little)
    assert result.returncode == 5 and "left" in result.stderr, result.stderr


def test_what_cannot_be():
    fails(2, "predict", model("brain"), "a.png", "--device", "gpu", words=["--device", "not a device"])
    fails(2, "inspect", model("brain"), "--device", "cuda", env=HERE, words=["is for engines"])
    fails(5, "bench", model("brain"), "--precision", "fp16", words=["fp16", "GPU"])
    fails(2, "build", model("brain"), "-o", "x", "--precision", "fp17", words=["fp16", "tf32"])


def test_int8_says_what_the_device_runs(tmp_path):
    save_png(tmp_path / "in" / "a.png", random_image(1, 16, 16, MODELS["transposed"][0]))
    fails(5, "build", model("transposed"), "-o", tmp_path / "x.engine", "--device", "cuda",
          "--precision", "int8", "--calib", tmp_path / "in", env=HERE,
          words=["fp32, tf32, fp16 and bf16"])
