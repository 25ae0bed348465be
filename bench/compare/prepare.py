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
import time

import numpy

BENCH = pathlib.Path(__file__).resolve().parents[1]
STEPS = {"openvino": "openvino", "ncnn": "ncnn", "mnn": "mnn", "onnxruntime": None, "torch": None,
         "torch-compile": None}
NEEDS = {"openvino": ["openvino"], "ncnn": ["ncnn", "pnnx"], "mnn": ["MNN"],
         "onnxruntime": ["onnxruntime"], "torch": [], "torch-compile": []}
LISTS = ("calibration", "evaluation")  # of paths: steps read the arrays that they became
NEEDS_INT8 = {"openvino": ["nncf"], "onnxruntime": ["onnx"]}


def files(folder, boundary, precision):
    """Which file each peer loads."""
    folder = pathlib.Path(folder)
    graph = "mask" if boundary == "mask" else "network"
    graph += "-int8" if precision == "int8" else ""
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
    logits = torch.zeros(place["batch"], place["classes"], place["height"], place["width"])
    for module, example, name, output in (
            (masking, images, "mask", "mask"), (networks.Pixels(), images, "pixels", "batch"),
            (networks.Classes(), logits, "classes", "mask")):
        torch.onnx.export(module, example, str(folder / f"{name}.onnx"), output_names=[output],
                          **export)
    with torch.inference_mode():
        torch.jit.trace(net, batch[:1], check_trace=False).save(str(folder / "network.pt"))
    save_reference(folder, masking)


def save_reference(folder, masking):
    """PyTorch's masks of the images that lower precisions are evaluated on."""
    if not (folder / "evaluation.npy").is_file():
        return
    import torch

    with torch.inference_mode():
        masks = [masking(torch.from_numpy(image[None])).numpy()
                 for image in numpy.load(folder / "evaluation.npy")]
    numpy.save(folder / "evaluation-reference.npy", numpy.concatenate(masks))


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


def run_step(step, place, minutes=10):
    """None, or why it failed."""
    place = {name: value for name, value in place.items() if name not in LISTS}
    command = [sys.executable, "-W", "ignore", "-m", "compare.prepare", step, json.dumps(place)]
    environment = dict(os.environ, OMP_NUM_THREADS=str(place["threads"]))
    try:
        done = subprocess.run(command, cwd=BENCH, env=environment, capture_output=True, text=True,
                              timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        return f"step {step}: took more than {minutes} minutes"
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
    if precision == "int8":
        command += ["--calib", calibration_folder(place), "--max-flips", str(place["max_flips"])]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[-1]
    seconds = round(time.monotonic() - began)
    facts = inspect(path, program)
    if precision == "int8":  # where bytes don't pay, such a build gives what does
        made = {"method": f"max-flips {place['max_flips']}", "seconds": seconds,
                "precision": facts["precision"]}
        (pathlib.Path(place["folder"]) / "libunet-int8.json").write_text(json.dumps(made))
    elif facts["precision"] != precision:
        return f"asked for {precision}, the engine is {facts['precision']}"
    return None


def calibration_folder(place):
    """The images that calibrate, and no others, in a folder of their own."""
    folder = pathlib.Path(place["folder"]) / "calibration"
    if not folder.is_dir():
        folder.mkdir()
        for index, path in enumerate(map(pathlib.Path, place["calibration"])):
            (folder / f"{index:05}{path.suffix}").symlink_to(path.resolve())
    return str(folder)


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


def save_images(place, name, paths, load_image):
    """Images by which models are calibrated or masks evaluated, at the place's size."""
    if paths:
        images = numpy.stack([fitted(load_image(path), place) for path in paths])
        numpy.save(pathlib.Path(place["folder"]) / f"{name}.npy", images)


def convert(place, peers):
    """Makes what the peers need; {peer: why it must be left out}."""
    left_out = {peer: lacking(peer) for peer in peers if lacking(peer)}
    waiting = [peer for peer in peers if peer not in left_out]
    if not waiting:
        return left_out
    failed = run_step("torch", place, minutes=30)  # also answers for all evaluated images
    for peer in waiting:
        problem = failed or (run_step(STEPS[peer], place) if STEPS[peer] else None)
        if problem:
            left_out[peer] = problem
    return left_out


def convert_int8(place, peers):
    """The same for int8, after convert; peers that have no int8 (cell.LACKS) are not asked."""
    left_out = {}
    for peer in [peer for peer in peers if peer in NEEDS_INT8]:
        absent = [name for name in NEEDS_INT8[peer] if missing(name)]
        problem = (f"not installed here: {', '.join(absent)}" if absent
                   else run_step(f"{peer}-int8", place, minutes=60))
        if problem:
            left_out[peer] = problem
    return left_out


def step_int8(peer):
    def step(place):
        from . import quantise

        quantise.step(peer, place)
    return step


if __name__ == "__main__":
    {"torch": step_torch, "openvino": step_openvino, "ncnn": step_ncnn, "mnn": step_mnn,
     **{f"{peer}-int8": step_int8(peer) for peer in NEEDS_INT8}
     }[sys.argv[1]](json.loads(sys.argv[2]))
