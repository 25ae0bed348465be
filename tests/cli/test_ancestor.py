"""-s and -d: fixed names in the working directory."""
import numpy as np
import pytest

from support import GOLDEN, done, fails, files_below, json_of, pixels, random_image, save_png

MODELS = GOLDEN / "models"


@pytest.fixture
def folder(tmp_path):
    """A working directory with both models; they are told apart by their classes."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "unet.pth").write_bytes((MODELS / "transposed.pth").read_bytes())
    done("convert", MODELS / "old-bilinear.pth", "-o", work / "unet.wts")
    return work


def classes(folder):
    return json_of("inspect", folder / "unet.engine", "--json")["classes"]


def test_serialize_prefers_wts(folder):
    result = done("-s", cwd=folder)
    assert result.stdout == "" and "unet.engine" in result.stderr
    assert classes(folder) == 2
    (folder / "unet.wts").unlink()
    done("-s", cwd=folder)
    assert classes(folder) == 19
    done("-s", MODELS / "brain.pth", cwd=folder)
    assert classes(folder) == 1


def test_serialize_takes_builds_options(folder):
    done("-s", "--size", "64x32", "--scale", "0.5", cwd=folder)
    info = json_of("inspect", folder / "unet.engine", "--json")
    assert (info["tuned_width"], info["tuned_height"]) == (64, 32)
    assert info["preprocess"]["scale"] == 0.5


def test_serialize_without_a_model(tmp_path):
    fails(3, "-s", cwd=tmp_path, words=["unet.wts", "unet.pth", "unet -s MODEL"])
    (tmp_path / "unet.pth").write_text("no model")
    fails(3, "-s", cwd=tmp_path, words=["unet.pth"])
    assert files_below(tmp_path) == ["unet.pth"]


def test_deserialize(folder, tmp_path):
    image = save_png(tmp_path / "samples" / "a.png", random_image(1, 40, 56))
    save_png(tmp_path / "samples" / "b" / "c.jpg", random_image(2, 40, 56))
    done("-s", cwd=folder)
    done("-d", "../samples", cwd=folder)
    assert files_below(folder) == ["a.png", "b/c.png", "unet.engine", "unet.pth", "unet.wts"]
    done("predict", folder / "unet.engine", image, "-o", tmp_path / "out")
    assert np.array_equal(pixels(folder / "a.png"), pixels(tmp_path / "out" / "a.png"))


def test_deserialize_knows_an_engine_by_its_content(folder, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 40, 56))
    done("-s", cwd=folder)
    (tmp_path / "strange.png").write_bytes((folder / "unet.engine").read_bytes())
    done("-s", MODELS / "transposed.pth", cwd=folder)
    for line in [["../strange.png", image], [image, "../strange.png"]]:
        done("-d", *line, "--save", "logits", cwd=folder)
        assert np.load(folder / "a.logits.npy").shape[0] == 2
    done("-d", image, "--save", "logits", cwd=folder)
    assert np.load(folder / "a.logits.npy").shape[0] == 19
    fails(2, "-d", "../strange.png", "unet.engine", image, cwd=folder,
          words=["strange.png", "unet.engine"])
    fails(2, "-d", "unet.engine", cwd=folder, words=["image"])


def test_deserialize_without_an_engine(tmp_path):
    image = save_png(tmp_path / "a.jpg", random_image(1, 40, 56))
    fails(3, "-d", image, cwd=tmp_path, words=["unet.engine", "unet -s"])


def test_deserialize_does_not_overwrite(folder):
    image = random_image(1, 40, 56)
    save_png(folder / "a.png", image)
    done("-s", cwd=folder)
    fails(2, "-d", "a.png", cwd=folder, words=["a.png", "overwrite"])
    assert np.array_equal(pixels(folder / "a.png"), image)
