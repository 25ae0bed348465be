"""--precision int8: what it is calibrated with, the budget of its masks, and what it reports."""
import json
import shutil

import pytest

from support import GOLDEN, digest, done, fails, random_image, save_png, unet

MODEL = GOLDEN / "models" / "transposed.pth"
METHODS = ["entropy", "mse", "percentile", "minmax"]


@pytest.fixture
def images(tmp_path):
    for n in range(3):
        save_png(tmp_path / "images" / f"deep/{n}.png", random_image(n, 32, 48))
    return tmp_path / "images"


def build(tmp_path, *options, model=MODEL):
    return ["build", model, "-o", tmp_path / "e", "--precision", "int8", *options]


def layers(report, precision):
    return [layer["name"] for layer in report["layers"] if layer["precision"] == precision]


def test_a_build_by_images_and_one_by_its_table(tmp_path, images):
    table, report = tmp_path / "a.table", tmp_path / "r.json"
    first = done(*build(tmp_path, "--calib", images, "--calib-table", table, "--max-flips", 50,
                        "--no-timing", "--report", report))
    made = json.loads(report.read_text())
    assert made["calibration_images"] == 2 and made["judged_images"] == 1
    assert made["max_flips_percent"] == 50 and made["flips_percent"] <= 50
    assert made["precision"] == "int8" and made["method"] in METHODS
    rows = [line.split() for line in first.stdout.splitlines()]
    assert rows[0][:3] == ["layer", "precision", "kernel"]
    assert [row[:3] for row in rows[1:]] == [[layer["name"], layer["precision"], layer["kernel"]]
                                             for layer in made["layers"]]
    assert made["layers"][0]["precision"] == "fp32"  # it reads the image
    assert table.read_bytes().startswith(b"TRT-")
    before = digest(tmp_path / "e")
    done(*build(tmp_path, "--calib-table", table, "--max-flips", 50, "--no-timing", "--report",
                report))
    again = json.loads(report.read_text())
    assert digest(tmp_path / "e") == before
    assert again["method"] == "table" and again["judged_images"] == 0
    assert abs(again["flips_percent"] - made["flips_percent"]) < 1e-5
    assert layers(again, "int8") == layers(made, "int8") != []


@pytest.mark.parametrize("method", METHODS)
def test_each_method_builds(tmp_path, images, method):
    report = tmp_path / "r.json"
    done(*build(tmp_path, "--calib", images, "--calib-method", method, "--max-flips", 90,
                "--no-timing", "--report", report, "--calib-all"))
    assert json.loads(report.read_text())["method"] == method


def test_a_budget_of_zero_is_refused_or_kept(tmp_path, images):
    options = ["--calib", images, "--max-flips", 0, "--no-timing"]
    fails(2, *build(tmp_path, *options), words=["max_flips", "int8 is not possible"])
    auto = ["build", MODEL, "-o", tmp_path / "auto", "--precision", "auto", *options]
    done(*auto)
    done("build", MODEL, "-o", tmp_path / "fp32", "--precision", "fp32", "--no-timing")
    left, right = (done("predict", tmp_path / name, images, "-o", tmp_path / (name + ".masks"))
                   and [digest(tmp_path / (name + ".masks") / "deep" / f"{n}.png")
                        for n in range(3)] for name in ["auto", "fp32"])
    assert left == right


def build_two(tmp_path, *options):
    """Of two classes: of 19 some have so few pixels that one flip takes them below an IoU of 0.90."""
    return build(tmp_path, *options, model=GOLDEN / "models" / "old-bilinear.pth")


def test_layers_are_kept(tmp_path, images):
    report = tmp_path / "r.json"
    options = ["--calib", images, "--no-timing"]
    done(*build_two(tmp_path, *options, "--max-flips", 90, "--report", report, "--keep",
                "up4.conv.double_conv.3=fp32", "--keep=up3.conv.double_conv.0=int8"))
    kept = {layer["name"]: layer["precision"] for layer in json.loads(report.read_text())["layers"]}
    assert kept["up4.conv.double_conv.3"] == "fp32" and kept["up3.conv.double_conv.0"] == "int8"
    fails(2, *build_two(tmp_path, *options, "--max-flips", 0, "--keep", "up3.conv.double_conv.0=int8"),
          words=["max_flips", "kept"])
    fails(2, *build_two(tmp_path, *options, "--keep", "up4.conv.doubel_conv.3=fp32"),
          words=["up4.conv.doubel_conv.3", "did you mean 'up4.conv.double_conv.3'"])
    fails(2, *build_two(tmp_path, *options, "--keep", "nonsense=fp32"), words=["nonsense", "layers are"])
    fails(2, *build_two(tmp_path, *options, "--keep", "inc.double_conv.0=int8"), words=["float32"])
    fails(2, *build_two(tmp_path, *options, "--keep", "up3.conv.double_conv.0"), words=["--keep", "LAYER=PRECISION"])
    fails(2, *build_two(tmp_path, *options, "--keep", "up3.conv.double_conv.0=int4"), words=["--keep", "precision"])


def test_a_broken_image_among_good_ones(tmp_path, images):
    (images / "deep" / "0.png").write_bytes(b"no image")
    (images / "deep" / "1.png").write_bytes(b"neither")
    result = unet(*build(tmp_path, "--calib", images, "--max-flips", 90, "--no-timing"))
    assert result.returncode == 1 and (tmp_path / "e").exists()
    assert "0.png" in result.stderr and "1.png" in result.stderr
    for n in range(3):
        (images / "deep" / f"{n}.png").write_bytes(b"no image")
    result = unet(*build(tmp_path, "--calib", images, "--no-timing"))
    assert result.returncode == 4 and "none of the images can be read" in result.stderr


def test_it_needs_images_or_a_table(tmp_path):
    fails(2, *build(tmp_path), words=["int8", "--calib DIR", "--calib-table FILE"])
    fails(2, *build(tmp_path, "--calib-table", tmp_path / "none.table"),
          words=["none.table", "--calib DIR"])


@pytest.mark.parametrize("verb", ["predict", "bench", "eval"])
def test_other_verbs_want_an_engine(images, verb):
    more = {"predict": [images], "bench": [],
            "eval": ["--images", images, "--labels", images]}[verb]
    fails(2, verb, MODEL, *more, "--precision", "int8",
          words=["--precision int8", "unet build", "--calib DIR"])


@pytest.mark.parametrize("precision", [[], ["--precision", "auto"], ["--precision", "fp32"]])
@pytest.mark.parametrize("option", [["--calib", "x"], ["--calib-table", "x"], ["--calib-all"],
                                    ["--calib-method", "mse"]])
def test_other_precisions_have_no_use_for_it(tmp_path, precision, option):
    if precision != ["--precision", "fp32"] and option[0] in ("--calib", "--calib-table"):
        return  # auto takes them
    fails(2, "build", MODEL, "-o", tmp_path / "e", *precision, *option,
          words=[option[0], "--precision int8"])


def test_folders_that_give_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    fails(4, *build(tmp_path, "--calib", tmp_path / "empty"), words=["empty", "no images"])
    fails(4, *build(tmp_path, "--calib", tmp_path / "none"), words=["cannot open", "none"])
    fails(4, *build(tmp_path, "--calib", tmp_path / "*.png"), words=["nothing matches"])
    fails(2, *build(tmp_path, "--calib", "-"), words=["--calib", "standard input"])


def test_the_ancestor_has_a_table_of_its_own(tmp_path, images):
    shutil.copy(MODEL, tmp_path / "unet.pth")
    fails(2, "-s", "--precision", "int8", cwd=tmp_path, words=["unet_int8calib.table", "--calib"])
    done("-s", "--precision", "int8", "--calib", images, "--max-flips", 90, "--no-timing",
         cwd=tmp_path)
    assert (tmp_path / "unet_int8calib.table").exists()
    done("-s", "--precision", "int8", "--max-flips", 90, "--no-timing", cwd=tmp_path)
    (tmp_path / "unet_int8calib.table").write_text("TRT-8601-EntropyCalibration2\n")
    fails(3, "-s", "--precision", "int8", cwd=tmp_path, words=["unet_int8calib.table"])
    done("-s", "--no-timing", cwd=tmp_path)  # another precision leaves the table alone
    assert (tmp_path / "unet.engine").exists()


def test_help_names_them():
    for verb in ["build", "-s"]:
        text = unet(verb, "--help").stdout
        for option in ["--max-flips P", "--keep LAYER=P", "--report FILE.json", "--calib DIR", "--calib-table FILE", "--calib-method M", "--calib-all"]:
            assert option in text
