"""predict's inputs: folders, links, patterns, and results that would fall on each other."""
import os

import pytest

from support import digest, done, fails, files_below, pixels, random_image, save_png, unet


@pytest.fixture
def tree(tmp_path):
    """in/ with images at three depths, and things that are none."""
    folder = tmp_path / "in"
    for n, name in enumerate(["a.png", "b/a.PNG", "b/c/d.jpg", "b/c/e.v2.tif", "b/f.jpeg"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = save_png(tmp_path / "plain.png", random_image(n, 20, 30))
        if name.endswith("PNG"):
            path.write_bytes(plain.read_bytes())
        else:
            save_png(path, random_image(n, 20, 30))
        plain.unlink()
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_text("not an image")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.png").write_text("not an image")
    return folder


MASKS = ["a.png", "b/a.png", "b/c/d.png", "b/c/e.v2.png", "b/f.png"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_tree_is_mirrored(engine, tree, tmp_path, slash):
    done("predict", engine("transposed"), f"{tree}{slash}", "-o", tmp_path / "out")
    assert files_below(tmp_path / "out") == MASKS
    done("predict", engine("transposed"), ".", "-o", tmp_path / "again", cwd=tree)
    for name in MASKS:
        one = digest(tmp_path / "out" / name)
        assert one == digest(tmp_path / "again" / name)


def test_links_are_followed_but_not_in_circles(engine, tree, tmp_path):
    outside = tmp_path / "outside"
    save_png(outside / "deep" / "g.png", random_image(9, 20, 30))
    os.symlink(outside, tree / "linked")
    os.symlink(outside / "deep" / "g.png", tree / "h.png")
    os.symlink(tree, tree / "b" / "c" / "circle")
    result = done("predict", engine("transposed"), tree, "-o", tmp_path / "out")
    assert files_below(tmp_path / "out") == sorted(MASKS + ["h.png", "linked/deep/g.png"])
    assert "circle" in result.stderr


def test_a_dangling_link_is_named(engine, tree, tmp_path):
    os.symlink(tmp_path / "nowhere.png", tree / "b" / "dangling.png")
    result = unet("predict", engine("transposed"), tree, "-o", tmp_path / "out")
    assert result.returncode == 1
    assert "dangling.png" in result.stderr
    assert files_below(tmp_path / "out") == MASKS


def test_quoted_patterns(engine, tree, tmp_path):
    done("predict", engine("transposed"), f"{tree}/b/*/*.{{jpg,tif}}", "-o", tmp_path / "out")
    assert files_below(tmp_path / "out") == ["d.png", "e.v2.png"]
    done("predict", engine("transposed"), "in/[ab]", "-o", "two", cwd=tmp_path)
    assert files_below(tmp_path / "two") == ["a.png", "c/d.png", "c/e.v2.png", "f.png"]


def test_a_name_with_brackets_is_a_name_first(engine, tmp_path):
    save_png(tmp_path / "in" / "[1].png", random_image(1, 16, 16))
    done("predict", engine("transposed"), "in/[1].png", "-o", "out", cwd=tmp_path)
    assert files_below(tmp_path / "out") == ["[1].png"]


def test_the_working_directory_is_the_default(engine, tree, tmp_path):
    done("predict", engine("transposed"), "in/b/c/d.jpg", cwd=tmp_path)
    assert (tmp_path / "d.png").exists()


@pytest.mark.parametrize("inputs, both", [
    (["in/x.png", "in/x.jpg"], ["in/x.png", "in/x.jpg", "out/x.png"]),
    (["in"], ["in/x.png", "in/x.jpg"]),
    (["in/x.png", "other"], ["in/x.png", "other/x.png"]),
    (["in/x.png", "in/x.png"], ["in/x.png is given twice"]),
    (["other", "./other/"], ["other/x.png"]),
    (["in/x.png", "./in/x.png"], ["are one file"]),
    (["-", "-"], ["standard input is given twice"]),
])
def test_results_that_would_fall_on_each_other(engine, tmp_path, inputs, both):
    for name in ["in/x.png", "in/x.jpg", "other/x.png"]:
        save_png(tmp_path / name, random_image(1, 16, 16))
    fails(2, "predict", engine("transposed"), *inputs, "-o", "out", cwd=tmp_path, words=both)
    assert not (tmp_path / "out").exists()


def test_results_of_two_kinds_that_would_fall_on_each_other(engine, tmp_path):
    for name in ["x.png", "x.color.png"]:
        save_png(tmp_path / "in" / name, random_image(1, 16, 16))
    done("predict", engine("transposed"), "in", "-o", "out", cwd=tmp_path)
    fails(2, "predict", engine("transposed"), "in", "-o", "two", "--save", "mask,color",
          cwd=tmp_path, words=["in/x.png", "in/x.color.png", "two/x.color.png"])


def test_no_input_is_overwritten(engine, tmp_path):
    image = random_image(1, 16, 16)
    path = save_png(tmp_path / "in" / "x.png", image)
    os.symlink(tmp_path / "in", tmp_path / "link")
    network = engine("transposed")
    for folder in [".", "../link", tmp_path / "in"]:
        fails(2, "predict", network, "x.png", "-o", folder, cwd=tmp_path / "in",
              words=["x.png", "overwrite"])
    fails(2, "predict", network, "x.png", cwd=tmp_path / "in", words=["overwrite"])
    assert (pixels(path) == image).all()
    done("predict", network, "x.png", "--save", "color", cwd=tmp_path / "in")


def test_earlier_results_are_not_inputs(engine, tree, tmp_path):
    for _ in range(2):
        done("predict", engine("transposed"), tree, "-o", tree / "masks")
    assert files_below(tree / "masks") == MASKS


def test_what_is_no_input_is_named_and_the_others_are_done(engine, tree, tmp_path):
    (tmp_path / "empty").mkdir()
    result = unet("predict", engine("transposed"), "in/a.png", "missing.png", "empty", "no*.png",
                  "-o", "out", cwd=tmp_path)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 4
    for line, word in zip(lines, ["missing.png", "empty", "no*.png", "1 segmented, 3 failed"]):
        assert word in line
    assert files_below(tmp_path / "out") == ["a.png"]


@pytest.mark.parametrize("name, words", [
    ("missing.png", ["missing.png"]), ("empty", ["empty", "no images"]), ("no*.png", ["no*.png"]),
    ("arrays", ["arrays", "*.npy"]),
])
def test_no_input_at_all(engine, tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays" / "a.npy").write_bytes(b"")
    fails(4, "predict", engine("transposed"), name, "-o", "out", cwd=tmp_path, words=words)
    assert not (tmp_path / "out").exists()
