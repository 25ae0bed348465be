"""eval against a confusion matrix of numpy's."""
import json

import numpy as np
import pytest
from PIL import Image

from support import GOLDEN, done, fails, files_below, json_of, pixels, random_image, save_png, unet


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


def near_boundary(reference):
    """True where one of the 24 pixels around has another class; beyond the edge lies the same."""
    height, width = reference.shape
    padded = np.pad(reference, 2, mode="edge")
    around = [padded[y:y + height, x:x + width] for y in range(5) for x in range(5)]
    return np.any([view != reference for view in around], axis=0)


@pytest.fixture
def two(engine, pairs, tmp_path):
    """Two engines that differ, and their masks of three images: name → (reference, mask)."""
    masks = pairs("old-bilinear", 3, 2)
    done("build", GOLDEN / "models" / "old-bilinear.pth", "-o", tmp_path / "other", "--normalize",
         "mean=0.4,std=0.8")
    done("predict", tmp_path / "other", "image", "-o", "there", cwd=tmp_path)
    line = ["eval", engine("old-bilinear"), "--against", tmp_path / "other", "--images", "image"]
    return line, {name: (pixels(tmp_path / "there" / name), mask)
                  for name, (_, mask) in masks.items()}


def test_against_another(two, tmp_path):
    line, masks = two
    matrix = total(masks, 2)
    assert matrix[0, 1] + matrix[1, 0] > 0
    report = json_of(*line, "--json", cwd=tmp_path)
    classes, mean, agreement = scores(matrix)
    assert report["agreement"] == pytest.approx(agreement, abs=1e-12)
    assert report["mean_iou"] == pytest.approx(mean, abs=1e-12)
    assert [c["iou"] for c in report["classes"]] == [c["iou"] for c in classes]
    assert [c["dice"] for c in report["classes"]] == [c["dice"] for c in classes]
    assert f"{agreement:.6f}" in done(*line, cwd=tmp_path).stdout


def counts_of(pairs_of_masks):
    flips = sum(np.count_nonzero(a != b) for a, b in pairs_of_masks)
    near = sum(np.count_nonzero((a != b) & near_boundary(a)) for a, b in pairs_of_masks)
    count = sum(a.size for a, _ in pairs_of_masks)
    return {"pixels": count, "flips": flips, "flip_share": flips / count,
            "flips_near_boundary": near, "near_boundary_share": near / flips if flips else None}


def expected_flips(masks):
    """All images, the worst first."""
    rows = [{"image": name.rpartition(".")[0], **counts_of([pair])} for name, pair in masks.items()]
    return sorted(rows, key=lambda row: (-row["flip_share"], row["image"]))


def test_flips(two, tmp_path):
    line, masks = two
    report = json_of(*line, "--json", cwd=tmp_path)
    whole = counts_of(list(masks.values()))
    assert 0 < whole["flips_near_boundary"] < whole["flips"]
    assert {key: report[key] for key in whole} == whole
    assert report["flips_by_image"] == expected_flips(masks)
    assert "pixel_accuracy" not in report


def test_the_table_of_flips(two, tmp_path):
    line, masks = two
    whole = counts_of(list(masks.values()))
    text = done(*line, cwd=tmp_path).stdout
    assert f"({whole['flips']:,} of {whole['pixels']:,} pixels differ)" in text
    assert f"{whole['near_boundary_share']:.6f} ({whole['flips_near_boundary']:,} of those" in text
    rows = text.partition("worst images\n")[2].splitlines()
    assert len(rows) == 3
    for row, expected in zip(rows, expected_flips(masks)):
        flips, share, near, name = row.split()
        assert name == expected["image"]
        assert int(flips.replace(",", "")) == expected["flips"]
        assert share == f"{100 * expected['flip_share']:.4f}%"
        assert near == f"{expected['near_boundary_share']:.5f}"


def test_five_images_are_the_worst(two, tmp_path):
    line, _ = two
    for n in range(5):
        save_png(tmp_path / "image" / f"more{n}.png", random_image(40 + n, 33, 35))
    report = json_of(*line, "--json", cwd=tmp_path)
    rows = done(*line, cwd=tmp_path).stdout.partition("worst images\n")[2].splitlines()
    assert len(report["flips_by_image"]) == 8
    assert [row.split()[-1] for row in rows] == [
        row["image"] for row in report["flips_by_image"] if row["flips"]][:5]


def test_nothing_flips(engine, pairs, tmp_path):
    pairs("old-bilinear", 3, 2)
    line = ["eval", engine("old-bilinear"), "--against", engine("old-bilinear"), "--images",
            "image"]
    report = json_of(*line, "--json", "-o", "out", cwd=tmp_path)
    assert (report["flips"], report["near_boundary_share"]) == (0, None)
    text = done(*line, cwd=tmp_path).stdout
    assert "(0 of " in text and "worst" not in text and "boundary" not in text
    for place in ["a.png", "b/c.v1.png"]:
        grey = np.array(Image.open(tmp_path / "image" / place).convert("L"), float)
        drawn = pixels(tmp_path / "out" / place.replace(".png", ".flips.png"))
        assert np.abs(drawn - 0.55 * grey[:, :, None]).max() < 1.5


def distances(points, shape):
    """Of each pixel to the nearest of the points."""
    y, x = np.mgrid[:shape[0], :shape[1]]
    return np.min([np.hypot(y - v, x - u) for v, u in np.argwhere(points)]
                  or [np.full(shape, np.inf)], axis=0)


@pytest.mark.parametrize("options", [["-o", "new/flips"], ["--out", "new/flips", "--json"]])
def test_the_picture_of_flips(two, tmp_path, options):
    line, masks = two
    done(*line, *options, cwd=tmp_path)
    folder = tmp_path / "new" / "flips"
    assert files_below(folder) == ["a.flips.png", "b/c.v1.flips.png", "b/d.flips.png"]
    for name, (reference, mask) in masks.items():
        drawn = pixels(folder / name.replace(".png", ".flips.png"))
        flips, near = reference != mask, near_boundary(reference)
        assert (drawn[flips & near] == [255, 196, 0]).all()
        assert (drawn[flips & ~near] == [255, 32, 160]).all()
        clear = distances(flips, flips.shape) > 5.2
        assert (np.ptp(drawn[clear].astype(int), axis=1) == 0).all()
        halo = ~flips & (distances(flips, flips.shape) < 3.2)
        assert (np.ptp(drawn[halo].astype(int), axis=1) >= 60).all()


def test_pictures_stand_for_every_kind_of_input(two, tmp_path):
    line, _ = two
    (tmp_path / "kinds").mkdir()
    rng = np.random.default_rng(1)
    np.save(tmp_path / "kinds" / "planes.npy", rng.random((3, 20, 24), np.float32))
    np.save(tmp_path / "kinds" / "bytes.npy", random_image(5, 20, 24))
    save_png(tmp_path / "kinds" / "grey.png", random_image(6, 20, 24, 1))
    itself = ["eval", line[1], "--against", line[1], "--images", "kinds/*"]
    assert json_of(*itself, "-o", "out", "--json", cwd=tmp_path)["images"] == 3
    drawn = {name: pixels(tmp_path / "out" / f"{name}.flips.png")
             for name in ["bytes", "grey", "planes"]}
    for name, source in [("bytes", random_image(5, 20, 24)), ("grey", random_image(6, 20, 24, 1))]:
        grey = np.array(Image.fromarray(source).convert("L"), float)
        assert np.abs(drawn[name] - 0.55 * grey[:, :, None]).max() < 1.5
    assert drawn["planes"].shape == (20, 24, 3) and not drawn["planes"].any()


def test_pictures_are_not_images_of_the_next_run(two, tmp_path):
    line, _ = two
    for _ in range(2):
        assert json_of(*line, "-o", "image/flips", "--json", cwd=tmp_path)["images"] == 3


def test_pictures_that_cannot_be_written(two, tmp_path):
    line, _ = two
    (tmp_path / "file").write_text("here")
    fails(5, *line, "-o", "file", cwd=tmp_path, words=["file", "not a folder"])
    save_png(tmp_path / "image" / "b" / "d.png", random_image(6, 20, 24))
    fails(2, *line, "-o", "out", cwd=tmp_path, words=["b/d.jpg", "b/d.png", "d.flips.png"])
    assert not (tmp_path / "out").exists()


def test_a_picture_that_cannot_be_written_ends_the_run(two, tmp_path):
    line, _ = two
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.flips.png").mkdir()
    fails(5, *line, "-o", "out", cwd=tmp_path, words=["a.flips.png"])
    assert not (tmp_path / "out" / "b").exists()


def test_against_other_classes(engine, pairs, tmp_path):
    pairs("old-bilinear", 3, 2)
    fails(2, "eval", engine("old-bilinear"), "--against", engine("transposed"), "--images",
          "image", cwd=tmp_path, words=["2 classes", "19"])
