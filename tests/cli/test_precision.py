"""--precision: engines in bf16, and machines that have no use for them."""
import numpy as np
import pytest

from support import GOLDEN, SHARED, digest, done, fails, files_below, json_of, random_image, \
    save_png

MODEL = GOLDEN / "models" / "transposed.pth"


def has_bf16():
    return "avx512_bf16" in json_of("doctor", "--json")["features"]


needs_bf16 = pytest.mark.skipif(not has_bf16(),
                                reason="not on this machine: it has no AVX512_BF16")


@pytest.mark.parametrize("level", ["c", "avx2", "avx512", "avx512_vnni"])
def test_a_machine_without_it_offers_fp32(tmp_path, level):
    image = save_png(tmp_path / "a.png", random_image(1, 32, 48))
    for line in [["build", MODEL, "-o", tmp_path / "e"],
                 ["predict", MODEL, image, "-o", tmp_path / "out"], ["bench", MODEL, "--size", "32x32"],
                 ["eval", MODEL, "--images", tmp_path, "--labels", tmp_path]]:
        fails(5, *line, "--precision", "bf16", env={"UNET_CPU": level},
              words=["bf16", "use fp32", "avx512"])
    assert files_below(tmp_path) == ["a.png"]


def test_fp32_is_the_default(tmp_path):
    done("build", MODEL, "-o", tmp_path / "default", "--no-timing")
    for precision in ["fp32", "auto"]:
        done("build", MODEL, "-o", tmp_path / precision, "--precision", precision, "--no-timing")
        assert digest(tmp_path / precision) == digest(tmp_path / "default")
    assert json_of("inspect", tmp_path / "default", "--json")["precision"] == "fp32"


@needs_bf16
def test_an_engine_in_bf16(tmp_path, logits_of):
    image = save_png(tmp_path / "a.png", random_image(1, 40, 56))
    for precision in ["bf16", "fp32"]:
        summary = done("build", MODEL, "-o", tmp_path / precision, "--precision", precision,
                       "--no-timing").stderr
        assert f", {precision} for" in summary
    info = json_of("inspect", tmp_path / "bf16", "--json", "--verify")
    assert (info["precision"], info["built_precision"]) == ("bf16", "bf16")
    assert {layer["type"] for layer in info["layers"]} == {"fp32", "bf16"}
    assert "precision    bf16" in done("inspect", tmp_path / "bf16").stdout
    near, exact = logits_of(tmp_path / "bf16", image), logits_of(tmp_path / "fp32", image)
    difference = np.abs(near - exact)
    assert 0 < difference.mean() < 0.05 * np.abs(exact).mean()
    assert difference.max() < 0.1 * np.abs(exact).max()  # Winograd's transforms are rounded too
    in_memory = logits_of(MODEL, image, "--precision", "bf16")
    assert np.array_equal(in_memory, near)
    report = json_of("bench", MODEL, "--precision", "bf16", "--size", "32x32", "--seconds", "0.1",
                     "--format", "json")
    assert report["precision"] == "bf16"


@needs_bf16
def test_equal_inputs_give_equal_bytes(tmp_path):
    for n in "12":
        done("build", MODEL, "-o", tmp_path / n, "--precision", "bf16")
    assert digest(tmp_path / "1") == digest(tmp_path / "2")


@needs_bf16
@pytest.mark.parametrize("level", ["c", "avx512"])
def test_an_engine_in_bf16_elsewhere(tmp_path, logits_of, level):
    """It runs in fp32 there, says so, and gives the bits of an fp32 engine."""
    image = save_png(tmp_path / "a.png", random_image(1, 40, 56))
    done("build", MODEL, "-o", tmp_path / "bf16", "--precision", "bf16", "--no-timing")
    there = {"UNET_CPU": level}
    done("build", MODEL, "-o", tmp_path / "fp32", "--no-timing", env=there)
    result = done("predict", tmp_path / "bf16", image, "-o", tmp_path / "out", "--save", "logits",
                  env=there)
    assert "layers in bf16" in result.stderr and "run in fp32" in result.stderr
    done("predict", tmp_path / "fp32", image, "-o", tmp_path / "native", "--save", "logits",
         env=there)
    assert np.array_equal(np.load(tmp_path / "out" / "a.logits.npy"),
                          np.load(tmp_path / "native" / "a.logits.npy"))
    shown = done("inspect", tmp_path / "bf16", env=there).stdout
    assert "fp32 here, built in bf16" in shown


def test_an_engine_has_its_own(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 32, 48))
    path = engine("transposed")
    for line in [["predict", path, image, "-o", tmp_path / "out"], ["bench", path],
                 ["eval", path, "--images", tmp_path, "--labels", tmp_path]]:
        fails(2, *line, "--precision", "fp32", words=["--precision", "engine"])


@needs_bf16
@pytest.mark.skipif(not (SHARED / "models").is_dir() or not (SHARED / "data").is_dir(),
                    reason="not run here: ../shared, with its checkpoints and images, is not there")
@pytest.mark.parametrize("name, images, least", [
    ("membrane", "membrane/image/2[4-9].png", 0.9990),
    ("membrane-w16", "membrane/image/2[4-9].png", 0.9990),
    ("camvid-w32", "camvid/eval/image/*[05].jpg", 0.9975),
])
def test_masks_agree_with_fp32(name, images, least):
    model = SHARED / "models" / f"{name}.pth"
    report = json_of("eval", model, "--precision", "bf16", "--against", model, "--images",
                     SHARED / "data" / images, "--json")
    assert least <= report["agreement"] < 1
