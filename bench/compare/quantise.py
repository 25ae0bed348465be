"""A peer's float32 model → its int8 model, the best that its own tools make of it.

Each tool has a few methods. All are tried, and the one counts whose masks agree best with the
peer's own float32 on the images that are evaluated, so that the choice errs in the peer's favour.
That takes minutes, so results stay in a cache whose keys hold everything that they depend on:
the checkpoint, the images, the tools' versions and this file.
"""
import hashlib
import importlib.metadata
import json
import os
import pathlib
import shutil
import tempfile
import time

import numpy

from . import machine
from .adapters import ADAPTERS, batches, masks_of, to_classes, to_tensor

TOOLS = {"openvino": ["openvino", "nncf"], "onnxruntime": ["onnxruntime"]}
SUFFIX = {"openvino": ".xml", "onnxruntime": ".onnx"}


# ---------------------------------------------------------------- OpenVINO's way: NNCF


def tensors(place):
    images = numpy.load(pathlib.Path(place["folder"]) / "calibration.npy", mmap_mode="r")
    return [to_tensor(some) for some in batches(images, place["batch"])]


def nncf_model(preset, place, source, target):
    import nncf
    import openvino

    model = nncf.quantize(openvino.Core().read_model(source), nncf.Dataset(tensors(place)),
                          preset=nncf.QuantizationPreset(preset),
                          target_device=nncf.TargetDevice.CPU)
    openvino.save_model(model, target, compress_to_fp16=False)


# ---------------------------------------------------------------- ONNX Runtime's way


def reader_of(batches_of_place):
    """Lets the calibrator take one batch at a time: it holds every tensor of what it takes."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.next, self.end = 0, len(batches_of_place)

        def __len__(self):
            return len(batches_of_place)

        def set_range(self, start_index, end_index):
            self.next, self.end = start_index, end_index

        def get_next(self):
            if self.next == self.end:
                return None
            self.next += 1
            return {"input": batches_of_place[self.next - 1]}

    return Reader()


def onnx_model(method, place, source, target):
    """QDQ, activations u8, weights s8 a channel; 7 bits of weight where u8×s8 would saturate."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = pathlib.Path(target).with_suffix(".float.onnx")
    quant_pre_process(source, str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared), target, reader_of(tensors(place)), per_channel=True,
        reduce_range="vnni" not in machine.cpu_line("flags"),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=quantization.CalibrationMethod[method],
        extra_options={"CalibStridedMinMax": 1})  # of every method, despite its name
    prepared.unlink()


MAKERS = {"openvino": (nncf_model, ["performance", "mixed"]),
          "onnxruntime": (onnx_model, ["Entropy", "MinMax", "Percentile"])}


# ---------------------------------------------------------------- the best of them


def peer_masks(peer, place, path, precision, images):
    spec = {**place, "precision": precision, "boundary": "logits", "files": {peer: str(path)}}
    adapter = ADAPTERS[peer](spec)
    return masks_of(lambda some: to_classes(adapter.logits(to_tensor(some))), images,
                    place["batch"])


def judged_images(place):
    """Those that are evaluated, else those that calibrate."""
    folder = pathlib.Path(place["folder"])
    path = folder / "evaluation.npy"
    return numpy.load(path if path.is_file() else folder / "calibration.npy", mmap_mode="r")


def make_best(peer, place, source, folder):
    """Writes folder/network.*, and in folder/facts.json which method that is and what all gave."""
    make, methods = MAKERS[peer]
    images, suffix, began = judged_images(place), SUFFIX[peer], time.monotonic()
    float32, agreements = peer_masks(peer, place, source, "fp32", images), {}
    for method in methods:
        path = folder / f"{method}{suffix}"
        make(method, place, str(source), str(path))
        mine = peer_masks(peer, place, path, "int8", images)
        agreements[method] = round(float((mine == float32).mean()), 6)
    best = max(methods, key=agreements.get)  # the first of equals
    for path in list(folder.iterdir()):
        if path.stem == best:
            path.rename(folder / f"network{path.suffix}")
    facts = {"method": best.lower(), "agreement_by_method": agreements,
             "tools": {name: importlib.metadata.version(name) for name in TOOLS[peer]},
             "seconds": round(time.monotonic() - began)}
    (folder / "facts.json").write_text(json.dumps(facts) + "\n")


# ---------------------------------------------------------------- the cache


def key(peer, place):
    digest = hashlib.sha256(pathlib.Path(__file__).read_bytes())
    folder = pathlib.Path(place["folder"])
    for path in (pathlib.Path(place["model"]), folder / "calibration.npy",
                 folder / "evaluation.npy"):
        digest.update(path.read_bytes() if path.is_file() else b"none")
    for name in [*TOOLS[peer], "torch"]:
        digest.update(importlib.metadata.version(name).encode())
    digest.update(machine.cpu_line("flags").encode())
    return (f"{pathlib.Path(place['model']).stem}-{place['width']}x{place['height']}-"
            f"b{place['batch']}-{peer}-{digest.hexdigest()[:12]}")


def cached(peer, place):
    """The folder with the int8 model of a place; it comes into being whole or not at all."""
    folder = pathlib.Path(place["cache"]) / key(peer, place)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="part-") as part:
            inside = pathlib.Path(part) / "made"
            inside.mkdir()
            make_best(peer, place, pathlib.Path(place["folder"]) / f"network{SUFFIX[peer]}",
                      inside)
            for path in list(inside.iterdir()):
                if path.stem not in ("network", "facts"):
                    path.unlink()
            os.rename(inside, folder)
    return folder


# ---------------------------------------------------------------- int8 files of a place


def openvino_around(folder):
    """network-int8 between the steps of the mask's graph: images → input, logits → mask."""
    import openvino

    core = openvino.Core()
    network = core.read_model(folder / "network-int8.xml")
    before, after = (openvino.convert_model(folder / f"{name}.onnx")
                     for name in ("pixels", "classes"))
    for one, other in ((before, network), (network, after)):
        ends = one.get_results()[0].input_value(0)
        for reader in other.get_parameters()[0].output(0).get_target_inputs():
            reader.replace_source_output(ends)
    whole = openvino.Model(after.get_results(), before.get_parameters(), "mask")
    openvino.save_model(whole, folder / "mask-int8.xml", compress_to_fp16=False)


def onnx_around(folder):
    import onnx

    network, before, after = (onnx.load(folder / f"{name}.onnx")
                              for name in ("network-int8", "pixels", "classes"))
    before.ir_version = after.ir_version = network.ir_version
    whole = onnx.compose.merge_models(onnx.compose.add_prefix(before, "before_"), network,
                                      [("before_batch", "input")])
    whole = onnx.compose.merge_models(whole, onnx.compose.add_prefix(after, "after_"),
                                      [("logits", "after_input")])
    onnx.save(whole, str(folder / "mask-int8.onnx"))


def step(peer, place):
    """In a process of its own: network-int8 and mask-int8 in the place's folder."""
    kept, folder = cached(peer, place), pathlib.Path(place["folder"])
    for path in kept.iterdir():
        name = f"{peer}-int8.json" if path.stem == "facts" else f"network-int8{path.suffix}"
        shutil.copy(path, folder / name)
    {"openvino": openvino_around, "onnxruntime": onnx_around}[peer](folder)


def facts(peer, folder):
    """How a peer's int8 model was made; {}: it has none."""
    path = pathlib.Path(folder) / f"{peer}-int8.json"
    return json.loads(path.read_text()) if path.is_file() else {}
