"""A checkpoint → the files that each peer is deployed with, the input, and PyTorch's answer.

A place is one network at one size and batch; its folder serves all precisions and boundaries. Each
step runs in a process of its own (`python -m compare.prepare STEP PLACE`, from bench/), so that a
peer that is missing or fails takes nothing else down with it.
"""
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy

BENCH = pathlib.Path(__file__).resolve().parents[1]
STEPS = {"openvino": "openvino", "ncnn": "ncnn", "mnn": "mnn", "onnxruntime": None, "torch": None,
         "torch-compile": None}
NEEDS = {"openvino": ["openvino"], "ncnn": ["ncnn", "pnnx"], "mnn": ["MNN"],
         "onnxruntime": ["onnxruntime"], "torch": [], "torch-compile": []}


def files(folder, boundary, precision):
    """Which file each peer loads."""
    folder = pathlib.Path(folder)
    graph = "mask" if boundary == "mask" else "network"
    return {"libunet": str(folder / f"{precision}.engine"),
            "openvino": str(folder / f"{graph}.xml"), "onnxruntime": str(folder / f"{graph}.onnx"),
            "ncnn": str(folder / "network.ncnn"), "mnn": str(folder / "network.mnn")}


# ---------------------------------------------------------------- steps, in a child


def shape_of(place):
    return (place["batch"], place["channels"], place["height"], place["width"])


def step_torch(place):
    import torch

    from . import networks

    folder = pathlib.Path(place["folder"])
    net = networks.load(place["model"])
    images = torch.from_numpy(numpy.load(folder / "images.npy"))
    batch = torch.from_numpy(numpy.load(folder / "batch.npy"))
    with torch.inference_mode():
        numpy.save(folder / "reference.npy", torch.cat([net(one[None]) for one in batch]).numpy())
    export = {"dynamo": False, "opset_version": 17, "input_names": ["input"]}
    torch.onnx.export(net, batch, str(folder / "network.onnx"), output_names=["logits"], **export)
    masking = networks.Masking(net, torch.float32).eval()
    torch.onnx.export(masking, images, str(folder / "mask.onnx"), output_names=["mask"], **export)
    with torch.inference_mode():
        torch.jit.trace(net, batch[:1], check_trace=False).save(str(folder / "network.pt"))


def step_openvino(place):
    import openvino

    for graph in ("network", "mask"):
        path = pathlib.Path(place["folder"]) / graph
        openvino.save_model(openvino.convert_model(f"{path}.onnx"), f"{path}.xml",
                            compress_to_fp16=False)


def step_ncnn(place):
    import pnnx

    batch, channels, height, width = shape_of(place)
    subprocess.run([pnnx.EXEC_PATH, "network.pt", f"inputshape=[1,{channels},{height},{width}]",
                    "fp16=0"], check=True, cwd=place["folder"], stdout=subprocess.PIPE)


def step_mnn(place):
    """MNN's own wrapper of this call installs a package and reports the use of it."""
    import _tools

    folder = pathlib.Path(place["folder"])
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", str(folder / "network.onnx"),
                       "--MNNModel", str(folder / "network.mnn"), "--bizCode", "bench"])


# ---------------------------------------------------------------- in the parent


def run_step(step, place):
    """None, or why it failed."""
    command = [sys.executable, "-W", "ignore", "-m", "compare.prepare", step, json.dumps(place)]
    environment = dict(os.environ, OMP_NUM_THREADS=str(place["threads"]))
    try:
        done = subprocess.run(command, cwd=BENCH, env=environment, capture_output=True, text=True,
                              timeout=600)
    except subprocess.TimeoutExpired:
        return f"step {step}: took more than ten minutes"
    lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
    return None if done.returncode == 0 else f"step {step}: {lines[-1][:300]}"


def missing(module):
    return importlib.util.find_spec(module) is None


def lacking(peer):
    """Why a peer cannot take part on this machine; None: it can. PyTorch converts for all."""
    absent = [name for name in ["torch", "onnx", *NEEDS[peer]] if missing(name)]
    return f"not installed here: {', '.join(absent)}" if absent else None


def build_engine(place, precision, program):
    """None, or why libunet has no engine of this precision."""
    path = files(place["folder"], "logits", precision)["libunet"]
    command = [program, "build", place["model"], "-o", path, "--size",
               f"{place['width']}x{place['height']}"]
    if precision != "fp32":  # fp32 is the default of every version
        command += ["--precision", precision]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[-1]
    facts = inspect(path, program)
    if facts["precision"] != precision:
        return f"asked for {precision}, the engine is {facts['precision']}"
    return None


def inspect(path, program):
    done = subprocess.run([program, "inspect", path, "--json"], check=True, capture_output=True)
    return json.loads(done.stdout)


def fitted(pixels, place):
    """Pixels at the place's size and channels: mirrored at the edges where the image is small."""
    height, width, channels = place["height"], place["width"], place["channels"]
    if pixels.shape[2] == 1:
        pixels = numpy.repeat(pixels, channels, 2)
    if pixels.shape[2] != channels:
        raise SystemExit(f"images have {pixels.shape[2]} channels, the network {channels}")
    grow = [(0, max(0, side - have)) for side, have in zip((height, width), pixels.shape)]
    return numpy.pad(pixels, [*grow, (0, 0)], mode="symmetric")[:height, :width]


def save_input(place, paths, load_image):
    """Real images where there are any, else noise (no peer's time depends on the values)."""
    shape = (place["batch"], place["height"], place["width"], place["channels"])
    images = numpy.random.default_rng(1).integers(0, 256, shape, dtype=numpy.uint8)
    for index in range(place["batch"] if paths else 0):
        images[index] = fitted(load_image(paths[index % len(paths)]), place)
    folder = pathlib.Path(place["folder"])
    numpy.save(folder / "images.npy", images)
    numpy.save(folder / "image.npy", images[0])
    batch = images.transpose(0, 3, 1, 2).astype(numpy.float32) / numpy.float32(255)
    numpy.save(folder / "batch.npy", numpy.ascontiguousarray(batch))


def convert(place, peers):
    """Makes what the peers need; {peer: why it must be left out}."""
    left_out = {peer: lacking(peer) for peer in peers if lacking(peer)}
    waiting = [peer for peer in peers if peer not in left_out]
    if not waiting:
        return left_out
    failed = run_step("torch", place)
    for peer in waiting:
        problem = failed or (run_step(STEPS[peer], place) if STEPS[peer] else None)
        if problem:
            left_out[peer] = problem
    return left_out


if __name__ == "__main__":
    {"torch": step_torch, "openvino": step_openvino, "ncnn": step_ncnn,
     "mnn": step_mnn}[sys.argv[1]](json.loads(sys.argv[2]))
