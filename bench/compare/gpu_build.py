"""Engines for a GPU, and the images that they are built with."""
import glob
import json
import pathlib
import subprocess
import time

import numpy
import torch


def made_up_images(cell, folder, count=8):
    """Smooth noise, as PNG files. Needs Pillow."""
    from PIL import Image

    folder = folder / f"images-{cell['width']}x{cell['height']}"
    if not folder.is_dir():
        folder.mkdir()
        draw = numpy.random.default_rng(1)
        for index in range(count):
            coarse = draw.integers(0, 256, (cell["height"] // 8, cell["width"] // 8, 3))
            image = Image.fromarray(coarse.astype(numpy.uint8))
            image = image.resize((cell["width"], cell["height"]), Image.BICUBIC)
            if cell["network"]["in_channels"] == 1:
                image = image.convert("L")
            image.save(folder / f"{index}.png")
    return str(folder)


def build(wanted, cell, model, folder):
    """An engine file, and the seconds that it took."""
    engine = folder / f"{cell['name']}-{cell['precision']}.engine"
    command = [wanted.program, "build", model, "-o", str(engine), "--device", "cuda",
               "--precision", cell["precision"], "--batch", str(cell["batch"]),
               "--size", f"{cell['width']}x{cell['height']}"]
    if cell["precision"] in ("int8", "fp8"):
        command += ["--calib", wanted.images or made_up_images(cell, folder),
                    "--max-flips", wanted.max_flips]
    if wanted.timing_cache:
        command += ["--timing-cache", wanted.timing_cache]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return engine, time.perf_counter() - started


def batch_of(wanted, cell, device):
    """Images of --images cut to the size where they are large enough, else noise."""
    shape = (cell["batch"], cell["network"]["in_channels"], cell["height"], cell["width"])
    found = [picture for picture in pictures(wanted.images, shape)] if wanted.images else []
    if not found:
        return torch.rand(shape, generator=torch.Generator().manual_seed(2)).to(device)
    return torch.stack([found[index % len(found)] for index in range(shape[0])]).to(device)


def pictures(pattern, shape):
    from PIL import Image

    paths = sorted(pathlib.Path(pattern).iterdir()) if pathlib.Path(pattern).is_dir() \
        else sorted(map(pathlib.Path, glob.glob(pattern)))
    for path in paths[:shape[0]]:
        image = Image.open(path).convert("L" if shape[1] == 1 else "RGB")
        pixels = numpy.asarray(image, numpy.float32).reshape(image.height, image.width, -1) / 255
        if image.height >= shape[2] and image.width >= shape[3]:
            yield torch.from_numpy(pixels[:shape[2], :shape[3]]).permute(2, 0, 1).contiguous()


def evaluation(wanted, engine, exact):
    """How the masks of --evaluation agree with those of the fp32 engine."""
    command = [wanted.program, "eval", str(engine), "--against", str(exact), "--images",
               wanted.evaluation, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    found = json.loads(done.stdout)
    worst = max(image["flip_share"] for image in found["flips_by_image"])
    return {"images": found["images"]}, {"own": {"agreement": round(found["agreement"], 6),
                                                 "worst": round(1 - worst, 6)}}
