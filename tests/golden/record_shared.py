"""shared/: what PyTorch makes of the trained networks and real images of ../shared.

Neither is part of the project; where they are missing, what was recorded stays as it is.
The procedure is that of github.com/milesial/Pytorch-UNet, predict.py and utils/data_loading.py.
"""
import json

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from common import GOLDEN, SHARED, fresh_folder, save_array, write_index
from networks import PytorchUNet

GRID = 16  # logits are kept at every 16th row and column
MEMBRANES = ["24", "25", "26", "27", "28", "29"]
# checkpoint: variant, convolution bias, data, images whose masks are kept
CHECKPOINTS = {
    "membrane": ("old-bilinear", True, "membrane", ["24", "29"]),
    "membrane-w16": ("old-bilinear", True, "membrane", ["24", "29"]),
    "camvid-w32": ("transposed", False, "camvid", ["0016E5_07959", "0016E5_08107"]),
}
IGNORED = {"membrane": None, "camvid": 11}


def load_network(name, variant, bias):
    state = torch.load(SHARED / "models" / f"{name}.pth", "cpu", weights_only=True)
    first, last = state["inc.double_conv.0.weight"], state["outc.conv.weight"]
    net = PytorchUNet(variant, first.shape[0], first.shape[1], last.shape[0], bias)
    net.load_state_dict(state)
    return net.eval()


def load_pair(data, stem):
    """An image as RGB (grey becomes three equal channels) and its labels as classes."""
    folder = SHARED / "data" / data / ("eval" if data == "camvid" else "")
    [path] = (folder / "image").glob(f"{stem}.*")
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    with Image.open(folder / "label" / f"{stem}.png") as image:
        label = np.asarray(image)
    return path, rgb, (label == 255).astype(int) if data == "membrane" else label.astype(int)


def preprocess(image, scale):
    size = (int(scale * image.width), int(scale * image.height))
    x = np.asarray(image.resize(size, resample=Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    if (x > 1).any():
        x = x / 255.0
    return torch.as_tensor(x.copy()).float().contiguous()[None]


def predict(net, image, scale):
    """Logits at the image's own size."""
    with torch.no_grad():
        logits = net(preprocess(image, scale))
    return functional.interpolate(logits, (image.height, image.width), mode="bilinear")[0]


def record_images(folder, name, net, data, stems):
    rows = []
    for stem in stems:
        path, image, _ = load_pair(data, stem)
        for scale in (1, 0.5):
            logits = predict(net, image, scale)
            mask = f"{name}-{stem}-scale{scale}.png"
            classes = logits.argmax(dim=0).numpy().astype(np.uint8)
            Image.fromarray(classes).save(folder / mask, optimize=True)
            grid = "-"
            if scale == 1:
                grid = f"{name}-{stem}.grid.npy"
                save_array(folder / grid, logits[:, ::GRID, ::GRID].numpy())
            source = path.relative_to(SHARED).as_posix()
            rows.append((f"models/{name}.pth", source, scale, mask, grid))
    return rows


def confusion_matrix(net, data, stems, classes):
    """Rows are labels, columns predictions; one matrix over all images."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    for stem in stems:
        _, image, label = load_pair(data, stem)
        mask = predict(net, image, 1).argmax(dim=0).numpy()
        if IGNORED[data] is not None:
            mask, label = mask[label != IGNORED[data]], label[label != IGNORED[data]]
        pairs = label.reshape(-1) * classes + mask.reshape(-1)
        matrix += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    return matrix


def scores(matrix):
    hits = np.diag(matrix)
    iou = hits / (matrix.sum(axis=0) + matrix.sum(axis=1) - hits)
    return {"miou": round(float(iou.mean()), 9), "iou": [round(float(v), 9) for v in iou],
            "accuracy": round(float(hits.sum() / matrix.sum()), 9),
            "confusion": matrix.tolist()}


def check_against_training(name, data, result):
    """The membrane networks were measured on these images when they were trained."""
    if data == "membrane":
        text = (SHARED / "models" / f"{name}.json").read_text(encoding="utf-8")
        assert abs(json.loads(text)["miou"] - result["miou"]) < 1e-4, name


def record():
    missing = [path for path in (SHARED / "models", SHARED / "data") if not path.is_dir()]
    if missing:
        print(f"  no {missing[0]}: shared/ stays as it is")
        return
    frames = sorted(path.stem for path in (SHARED / "data/camvid/eval/image").glob("*.jpg"))
    assert len(frames) == 101
    folder = fresh_folder("shared")
    rows, miou = [], {}
    for name, (variant, bias, data, stems) in CHECKPOINTS.items():
        net = load_network(name, variant, bias)
        rows += record_images(folder, name, net, data, stems)
        counted = MEMBRANES if data == "membrane" else frames
        matrix = confusion_matrix(net, data, counted, net.outc.conv.out_channels)
        miou[name] = {"images": len(counted), "ignore": IGNORED[data], **scores(matrix)}
        check_against_training(name, data, miou[name])
    write_index(folder, rows)
    text = json.dumps(miou, indent=1)
    (folder / "miou.json").write_text(text + "\n", encoding="ascii")
    assert folder.parent == GOLDEN
