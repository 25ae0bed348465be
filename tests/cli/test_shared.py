"""Trained networks on real images beside this repository, where they are: the masks and scores
that PyTorch gave are recorded in tests/golden/shared."""
import json

import numpy as np
import pytest

from support import GOLDEN, SHARED, done, index_rows, json_of, pixels

pytestmark = pytest.mark.skipif(
    not (SHARED / "models").is_dir() or not (SHARED / "data").is_dir(),
    reason="not run here: ../shared, with its checkpoints and images, is not there")

ROWS = index_rows("shared")
GRID = 16
EVALUATED = {  # network: images, labels, the label to ignore
    "membrane": ("data/membrane/image/2[4-9].png", "data/membrane/label", []),
    "membrane-w16": ("data/membrane/image/2[4-9].png", "data/membrane/label", []),
    "camvid-w32": ("data/camvid/eval/image", "data/camvid/eval/label", ["--ignore", "11"]),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")

    def build(name):
        path = folder / f"{name}.engine"
        if not path.exists():
            done("build", SHARED / "models" / f"{name}.pth", "-o", path)
        return path

    return build


@pytest.mark.parametrize("model, image, scale, mask, grid", ROWS, ids=[row[3] for row in ROWS])
def test_masks_and_logits(trained, tmp_path, model, image, scale, mask, grid):
    name = model.split("/")[1][:-4]
    done("predict", trained(name), SHARED / image, "-o", tmp_path, "--scale", scale, "--save",
         "mask,logits")
    stem = image.split("/")[-1][:-4]
    ours, theirs = pixels(tmp_path / f"{stem}.png"), pixels(GOLDEN / "shared" / mask)
    assert np.mean(ours == theirs) >= 0.99999
    if grid != "-":
        logits = np.load(tmp_path / f"{stem}.logits.npy")[:, ::GRID, ::GRID]
        assert np.abs(logits - np.load(GOLDEN / "shared" / grid)).max() < 1e-3


@pytest.mark.parametrize("name", EVALUATED)
def test_scores(trained, name):
    images, labels, ignore = EVALUATED[name]
    expected = json.loads((GOLDEN / "shared" / "miou.json").read_text())[name]
    report = json_of("eval", trained(name), "--images", SHARED / images, "--labels",
                     SHARED / labels, *ignore, "--json")
    assert report["images"] == expected["images"]
    assert report["mean_iou"] == pytest.approx(expected["miou"], abs=5e-5)
    assert report["pixel_accuracy"] == pytest.approx(expected["accuracy"], abs=5e-5)
    for found, iou in zip(report["classes"], expected["iou"]):
        assert found["iou"] == pytest.approx(iou, abs=5e-5)
