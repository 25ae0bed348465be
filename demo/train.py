#!/usr/bin/env python3
"""Trains the demo's network: a Pytorch-UNet of width 16 on pictures that make_images.py draws.

The network has the structure and the tensor names of today's Pytorch-UNet in its bilinear form, so
its checkpoint stands for the ones that people have. It is saved as a plain state_dict in float16.
All IoU printed here belongs to those rounded weights, computed in float32.

Training never sees the pictures it is judged on: a picture is a function of (seed, index, size),
training draws from TRAINING_SEED, the held-out pictures come from HELD_OUT_SEED and the ones in
demo/images from SHIPPED_SEED. Equal seeds are refused.
"""
import argparse
import json
import multiprocessing
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from make_images import SHIPPED_SEED, draw, parse_seed

HERE = pathlib.Path(__file__).resolve().parent
CLASSES = ("background", "cytoplasm", "nucleus")
TRAINING_SEED, HELD_OUT_SEED = 1, 2
SIDE = 512


# ------------------------------------------------------------------------------- the network

class DoubleConv(nn.Module):
    """Twice: 3x3 convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs, outputs, middle=None):
        super().__init__()
        middle = middle or outputs
        self.double_conv = nn.Sequential(
            nn.Conv2d(inputs, middle, 3, padding=1, bias=False), nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True))

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    """Halves the size, then convolves."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(inputs, outputs))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    """Doubles the size, pads to the skip connection's, concatenates, convolves."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.conv = DoubleConv(inputs, outputs, inputs // 2)

    def forward(self, low, skip):
        low = self.up(low)
        rows, cols = skip.shape[2] - low.shape[2], skip.shape[3] - low.shape[3]
        low = F.pad(low, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2))
        return self.conv(torch.cat((skip, low), 1))


class OutConv(nn.Module):
    """The classifier of each pixel."""

    def __init__(self, inputs, classes):
        super().__init__()
        self.conv = nn.Conv2d(inputs, classes, 1)

    def forward(self, x):
        return self.conv(x)


class UNet(nn.Module):
    """Four levels down and up; the bottom has half of the usual channels, as bilinear ones do."""

    def __init__(self, channels=3, classes=len(CLASSES), width=16):
        super().__init__()
        self.inc = DoubleConv(channels, width)
        self.down1 = Down(width, 2 * width)
        self.down2 = Down(2 * width, 4 * width)
        self.down3 = Down(4 * width, 8 * width)
        self.down4 = Down(8 * width, 8 * width)
        self.up1 = Up(16 * width, 4 * width)
        self.up2 = Up(8 * width, 2 * width)
        self.up3 = Up(4 * width, width)
        self.up4 = Up(2 * width, width)
        self.outc = OutConv(width, classes)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x = self.up1(self.down4(x4), x4)
        x = self.up2(x, x3)
        x = self.up3(x, x2)
        return self.outc(self.up4(x, x1))


# ------------------------------------------------------------------------------- training

def draw_one(job):
    """For worker processes: one picture by (seed, index)."""
    return draw(SIDE, SIDE, *job)


def draw_pool(seed, count):
    """Many pictures, drawn once by two processes and kept in memory."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pictures = pool.map(draw_one, [(seed, index) for index in range(count)], chunksize=4)
    return [np.stack(part) for part in zip(*pictures)]


def random_crop(rng, images, labels, side):
    """One square of the pool, turned and mirrored at random, its stains re-balanced a little."""
    which = rng.integers(len(images))
    y, x = rng.integers(0, SIDE - side + 1, 2)
    image = images[which, y:y + side, x:x + side] / np.float32(255)
    label = labels[which, y:y + side, x:x + side]
    turns = rng.integers(4)
    image, label = np.rot90(image, turns), np.rot90(label, turns)
    if rng.random() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    gain = rng.uniform(0.8, 1.2, 3).astype(np.float32)
    return np.clip(image * gain, 0, 1).transpose(2, 0, 1), label.astype(np.int64)


def make_batch(rng, pool, size, side):
    """Tensors of `size` random crops and their labels."""
    crops = [random_crop(rng, *pool, side) for _ in range(size)]
    images, labels = (np.stack(part) for part in zip(*crops))
    return (torch.from_numpy(images).contiguous(memory_format=torch.channels_last),
            torch.from_numpy(labels))


def train(network, pool, args):
    """AdamW with a one-cycle learning rate on cross-entropy."""
    rng = np.random.default_rng(args.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, total_steps=args.steps)
    network.train().to(memory_format=torch.channels_last)
    start, recent = time.time(), []
    for step in range(1, args.steps + 1):
        images, labels = make_batch(rng, pool, args.batch, args.crop)
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % 100 == 0:
            print(f"step {step}/{args.steps}  loss {np.mean(recent):.4f}  "
                  f"{time.time() - start:.0f} s", flush=True)
            recent = []


def save_half(network, path):
    """A plain state_dict, its floating-point tensors in float16, contiguous."""
    state = {name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
             for name, tensor in network.state_dict().items()}
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise SystemExit(f"{name} does not fit float16")
    torch.save(state, path)


def load_half(path):
    """The network with the weights of a float16 checkpoint, for arithmetic in float32."""
    network = UNet()
    network.load_state_dict(torch.load(path, weights_only=True))  # copies into float32
    return network.eval()


# ------------------------------------------------------------------------------- judging

def confusion(network, image, label):
    """Counts of pixels: rows are true classes, columns are predicted ones."""
    pixels = torch.from_numpy(image / np.float32(255)).permute(2, 0, 1)[None].contiguous()
    with torch.inference_mode():
        guess = network(pixels).argmax(1)[0].numpy()
    count = len(CLASSES)
    return np.bincount(count * label.ravel().astype(int) + guess.ravel(),
                       minlength=count * count).reshape(count, count)


def scores(matrix):
    """IoU of each class, their mean, and the share of right pixels."""
    hit = np.diag(matrix)
    iou = hit / (matrix.sum(0) + matrix.sum(1) - hit)
    return {"iou": [round(float(v), 6) for v in iou], "miou": round(float(iou.mean()), 6),
            "accuracy": round(float(hit.sum() / matrix.sum()), 6)}


def report(title, result):
    """One line for people."""
    classes = "  ".join(f"{name} {iou:.4f}" for name, iou in zip(CLASSES, result["iou"]))
    print(f"{title}: {classes}  mean {result['miou']:.4f}  accuracy {result['accuracy']:.4f}")


def judge_shipped(network):
    """Scores of demo/images, each alone and all together, for the demo to compare with."""
    matrices = {}
    for path in sorted((HERE / "images").glob("*.png")):
        image = np.asarray(Image.open(path).convert("RGB"))
        label = np.asarray(Image.open(HERE / "labels" / path.name))
        matrices[path.name] = confusion(network, image, label)
    if not matrices:
        raise SystemExit(f"no pictures in {HERE / 'images'}: run make_images.py first")
    total = sum(matrices.values())
    return {"model": "cells.pth", "arithmetic": "float32", "torch": torch.__version__,
            "classes": list(CLASSES), **scores(total), "confusion": total.tolist(),
            "images": {name: scores(matrix) for name, matrix in matrices.items()}}


def judge(path, held_out):
    """Scores the saved checkpoint on both sets and writes expected.json beside it."""
    network = load_half(path)
    pool = draw_pool(HELD_OUT_SEED, held_out)
    report(f"{held_out} held-out pictures",
           scores(sum(confusion(network, *pair) for pair in zip(*pool))))
    expected = judge_shipped(network)
    for name, result in expected["images"].items():
        report(name, result)
    report("shipped pictures", expected)
    path.with_name("expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "cells.pth",
                        help="checkpoint to write (default: cells.pth beside this script)")
    parser.add_argument("--seed", type=parse_seed, default=TRAINING_SEED)
    parser.add_argument("--pictures", type=int, default=160, help="size of the training pool")
    parser.add_argument("--held-out", type=int, default=24, help="pictures to judge by")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=160, help="side of a training crop")
    parser.add_argument("--rate", type=float, default=4e-3, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--evaluate", action="store_true", help="judge OUT, do not train")
    args = parser.parse_args()
    if args.seed in (HELD_OUT_SEED, SHIPPED_SEED):
        parser.error(f"seed {args.seed} belongs to the pictures that judge the network")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if not args.evaluate:
        network, start = UNet(), time.time()
        train(network, draw_pool(args.seed, args.pictures), args)
        save_half(network, args.out)
        print(f"{args.out}: {args.out.stat().st_size} bytes, {time.time() - start:.0f} s")
    judge(args.out, args.held_out)


if __name__ == "__main__":
    main()
