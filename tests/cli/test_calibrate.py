"""--precision int8 and what it is calibrated with: the options, and folders that give nothing.
This version reads them and says that it cannot build such an engine yet."""
import shutil

import pytest

from support import GOLDEN, done, fails, files_below, random_image, save_png, unet

MODEL = GOLDEN / "models" / "transposed.pth"
NOT_YET = ["int8", "yet", "fp32"]


@pytest.fixture
def images(tmp_path):
    for n in range(3):
        save_png(tmp_path / "images" / f"deep/{n}.png", random_image(n, 32, 48))
    return tmp_path / "images"


def build(tmp_path, *options):
    return ["build", MODEL, "-o", tmp_path / "e", "--precision", "int8", *options]


def test_it_is_not_built_yet(tmp_path, images):
    table = tmp_path / "a.table"
    table.write_text("TRT-8601-EntropyCalibration2\n")
    for options in [["--calib", images], ["--calib", images / "deep" / "0.png"],
                    ["--calib", images / "deep" / "[12].png", "--calib-method", "entropy"],
                    ["--calib", images, "--calib-all", "--calib-table", tmp_path / "new.table"],
                    ["--calib-table", table]]:
        fails(2, *build(tmp_path, *options), words=NOT_YET)
    assert files_below(tmp_path) == ["a.table"] + [f"images/deep/{n}.png" for n in range(3)]


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
    fails(2, "-s", "--precision", "int8", "--calib", images, cwd=tmp_path, words=NOT_YET)
    (tmp_path / "unet_int8calib.table").write_text("TRT-8601-EntropyCalibration2\n")
    fails(2, "-s", "--precision", "int8", cwd=tmp_path, words=NOT_YET)
    done("-s", "--no-timing", cwd=tmp_path)  # another precision leaves the table alone
    assert (tmp_path / "unet.engine").exists()


def test_help_names_them():
    for verb in ["build", "-s"]:
        text = unet(verb, "--help").stdout
        for option in ["--calib DIR", "--calib-table FILE", "--calib-method M", "--calib-all"]:
            assert option in text
