"""eval against a confusion matrix of numpy's."""
import json

import numpy as np
import pytest

from support import GOLDEN, done, fails, json_of, pixels, random_image, save_png, unet


def confusion(truth, predicted, classes):
    pairs = truth.astype(int).reshape(-1) * classes + predicted.astype(int).reshape(-1)
    return np.bincount(pairs, minlength=classes ** 2).reshape(classes, classes)


def ratio(above, below):
    return float(above / below) if below else None


def scores(matrix):
    hits, rows, columns = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    classes = [{"class": c, "iou": ratio(hits[c], rows[c] + columns[c] - hits[c]),
                "dice": ratio(2 * hits[c], rows[c] + columns[c]),
                "recall": ratio(hits[c], rows[c]), "pixels": int(rows[c])}
               for c in range(len(matrix))]
    seen = [c["iou"] for c in classes if c["iou"] is not None]
    return classes, float(np.mean(seen)), ratio(hits.sum(), matrix.sum())


def assert_scores(report, matrix):
    classes, mean, accuracy = scores(matrix)
    assert report["pixels"] == matrix.sum()
    assert report["mean_iou"] == pytest.approx(mean, abs=1e-12)
    assert report["pixel_accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert len(report["classes"]) == len(classes)
    for found, expected in zip(report["classes"], classes):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key] == (None if value is None else pytest.approx(value, abs=1e-12)), key


@pytest.fixture
def pairs(engine, tmp_path):
    """Images, a network's masks of them, and labels that are the masks with mistakes."""
    def make(name, channels, classes, label=lambda wrong: wrong):
        rng = np.random.default_rng(3)
        masks = {}
        for n, place in enumerate(["a.png", "b/c.v1.png", "b/d.jpg"]):
            save_png(tmp_path / "image" / place, random_image(n, 30 + n, 40, channels))
        done("predict", engine(name), tmp_path / "image", "-o", tmp_path / "mask")
        for place in ["a.png", "b/c.v1.png", "b/d.png"]:
            mask = pixels(tmp_path / "mask" / place)
            wrong = np.where(rng.random(mask.shape) < 0.3,
                             rng.integers(0, classes, mask.shape), mask).astype(np.uint8)
            save_png(tmp_path / "label" / place, label(wrong))
            masks[place] = (wrong, mask)
        return masks

    return make


def total(masks, classes, ignore=None):
    matrix = np.zeros((classes, classes), int)
    for truth, mask in masks.values():
        keep = np.full(truth.shape, True) if ignore is None else truth != ignore
        matrix += confusion(truth[keep], mask[keep], classes)
    return matrix


LABELLED = ["--images", "image", "--labels", "label"]


@pytest.mark.parametrize("name, channels, classes", [
    ("transposed", 3, 19), ("old-bilinear", 3, 2), ("bilinear", 1, 2)])
def test_scores(engine, pairs, tmp_path, name, channels, classes):
    masks = pairs(name, channels, classes)
    report = json_of("eval", engine(name), *LABELLED, "--json", cwd=tmp_path)
    assert (report["images"], report["failed"]) == (3, 0)
    assert_scores(report, total(masks, classes))


def test_the_table_says_the_same(engine, pairs, tmp_path):
    masks = pairs("transposed", 3, 19)
    classes, mean, accuracy = scores(total(masks, 19))
    result = done("eval", engine("transposed"), *LABELLED, cwd=tmp_path)
    lines = result.stdout.splitlines()
    for expected, line in zip(classes, lines[1:]):
        index, iou, dice, recall, count = line.split()
        assert int(index) == expected["class"]
        for text, key in [(iou, "iou"), (dice, "dice"), (recall, "recall")]:
            if expected[key] is None:
                assert text == "-"
            else:
                assert float(text) == pytest.approx(expected[key], abs=6e-6)
        assert int(count.replace(",", "")) == expected["pixels"]
    assert float(lines[20].split()[1]) == pytest.approx(mean, abs=6e-6)
    assert f"{accuracy:.5f}" in result.stdout


def test_ignore(engine, pairs, tmp_path):
    masks = pairs("transposed", 3, 19, lambda wrong: np.where(wrong == 4, 200, wrong).astype("u1"))
    line = ["eval", engine("transposed"), *LABELLED]
    report = json_of(*line, "--ignore", "200", "--json", cwd=tmp_path)
    assert_scores(report, total(masks, 19, ignore=4))
    result = unet(*line, cwd=tmp_path)
    assert result.returncode == 4 and result.stdout == ""
    for line in result.stderr.splitlines():
        assert "200" in line and "--ignore 200" in line


@pytest.mark.parametrize("name, channels", [("old-bilinear", 3), ("bilinear", 1)])
def test_black_and_white_labels(engine, pairs, tmp_path, name, channels):
    masks = pairs(name, channels, 2, lambda wrong: wrong * np.uint8(255))
    report = json_of("eval", engine(name), *LABELLED, "--json", cwd=tmp_path)
    assert_scores(report, total(masks, 2))


def test_white_beside_one_means_unknown(engine, pairs, tmp_path):
    masks = pairs("old-bilinear", 3, 3, lambda wrong: np.where(wrong == 2, 255, wrong).astype("u1"))
    line = ["eval", engine("old-bilinear"), *LABELLED]
    assert unet(*line, cwd=tmp_path).returncode == 4
    report = json_of(*line, "--ignore", "255", "--json", cwd=tmp_path)
    assert_scores(report, total(masks, 2, ignore=2))


def test_labels_with_a_palette(engine, pairs, tmp_path):
    masks = pairs("transposed", 3, 19)
    done("predict", engine("transposed"), "image", "-o", "color", "--save", "color", cwd=tmp_path)
    for path in list((tmp_path / "color").rglob("*.color.png")):
        path.rename(path.with_name(path.name.replace(".color", "")))
    report = json_of("eval", engine("transposed"), "--images", "image", "--labels", "color",
                     "--json", cwd=tmp_path)
    assert report["pixel_accuracy"] == 1 and report["mean_iou"] == 1
    assert report["pixels"] == sum(mask.size for _, mask in masks.values())


def test_a_pattern_chooses_images(engine, pairs, tmp_path):
    masks = pairs("transposed", 3, 19)
    report = json_of("eval", engine("transposed"), "--images", "image/*.png", "--labels", "label",
                     "--json", cwd=tmp_path)
    assert_scores(report, confusion(*masks["a.png"], 19))


def spoil_missing(folder):
    (folder / "label" / "b" / "c.v1.png").unlink()
    return ["b/c.v1.png", "label"]


def spoil_size(folder):
    save_png(folder / "label" / "b" / "c.v1.png", np.zeros((31, 39), np.uint8))
    return ["b/c.v1.png", "39x31", "40x31"]


def spoil_colour(folder):
    save_png(folder / "label" / "b" / "c.v1.png", random_image(1, 31, 40))
    return ["b/c.v1.png"]


def spoil_label(folder):
    (folder / "label" / "b" / "c.v1.png").write_text("not an image")
    return ["label/b/c.v1.png"]


def spoil_image(folder):
    (folder / "image" / "b" / "c.v1.png").write_text("not an image")
    return ["image/b/c.v1.png"]


@pytest.mark.parametrize("spoil", [spoil_missing, spoil_size, spoil_colour, spoil_label,
                                   spoil_image])
def test_one_bad_pair_is_named_and_the_others_count(engine, pairs, tmp_path, spoil):
    masks = pairs("transposed", 3, 19)
    words = spoil(tmp_path)
    result = unet("eval", engine("transposed"), *LABELLED, "--json", cwd=tmp_path)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]
    del masks["b/c.v1.png"]
    report = json.loads(result.stdout)
    assert (report["images"], report["failed"]) == (2, 1)
    assert_scores(report, total(masks, 19))


def test_no_label_fits(engine, pairs, tmp_path):
    pairs("transposed", 3, 19)
    save_png(tmp_path / "other" / "q.png", np.zeros((4, 4), np.uint8))
    result = unet("eval", engine("transposed"), "--images", "image", "--labels", "other",
                  cwd=tmp_path)
    assert result.returncode == 4 and result.stdout == ""
    assert len(result.stderr.splitlines()) == 3
    (tmp_path / "empty").mkdir()
    for name in ["missing", "empty"]:
        fails(4, "eval", engine("transposed"), "--images", "image", "--labels", name,
              cwd=tmp_path, words=[name])
        fails(4, "eval", engine("transposed"), "--images", name, "--labels", "label",
              cwd=tmp_path, words=[name])


def test_two_labels_of_one_image(engine, pairs, tmp_path):
    pairs("transposed", 3, 19)
    save_png(tmp_path / "label" / "a.tif", np.zeros((30, 40), np.uint8))
    fails(2, "eval", engine("transposed"), *LABELLED, cwd=tmp_path,
          words=["label/a.png", "label/a.tif"])


# ------------------------------------------------------------------ --against

def test_against_itself(engine, pairs, tmp_path):
    pairs("transposed", 3, 19)
    model = GOLDEN / "models" / "transposed.pth"
    report = json_of("eval", engine("transposed"), "--against", model, "--images", "image",
                     "--json", cwd=tmp_path)
    assert report["agreement"] == 1 and report["mean_iou"] == 1


def test_against_another(engine, pairs, tmp_path):
    masks = pairs("old-bilinear", 3, 2)
    done("build", GOLDEN / "models" / "old-bilinear.pth", "-o", tmp_path / "other", "--normalize",
         "mean=0.4,std=0.8")
    done("predict", tmp_path / "other", "image", "-o", "there", cwd=tmp_path)
    matrix = np.zeros((2, 2), int)
    for name, (_, mask) in masks.items():
        matrix += confusion(pixels(tmp_path / "there" / name), mask, 2)
    assert matrix[0, 1] + matrix[1, 0] > 0
    line = ["eval", engine("old-bilinear"), "--against", tmp_path / "other", "--images", "image"]
    report = json_of(*line, "--json", cwd=tmp_path)
    classes, mean, agreement = scores(matrix)
    assert report["agreement"] == pytest.approx(agreement, abs=1e-12)
    assert report["mean_iou"] == pytest.approx(mean, abs=1e-12)
    assert [c["iou"] for c in report["classes"]] == [c["iou"] for c in classes]
    assert f"{agreement:.6f}" in done(*line, cwd=tmp_path).stdout


def test_against_other_classes(engine, pairs, tmp_path):
    pairs("old-bilinear", 3, 2)
    fails(2, "eval", engine("old-bilinear"), "--against", engine("transposed"), "--images",
          "image", cwd=tmp_path, words=["2 classes", "19"])
