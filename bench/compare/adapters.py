"""The peers, each behind the same two functions, each in its best mode.

An adapter is made from a spec (cell.py says what is in it), loads its own files, and has
    logits(batch)   float32 N×C×H×W → float32 N×classes×H×W
    mask(images)    uint8 N×H×W×C   → uint8 N×H×W
It is made for the one of them that spec["boundary"] names. Where a peer can, its graph itself
turns pixels into a tensor and logits into classes; the others are helped by numpy.
"""
import importlib.metadata
import json
import os
import pathlib

import numpy

from .libunet import LibUnet


def to_tensor(images):
    batch = numpy.empty(images.transpose(0, 3, 1, 2).shape, numpy.float32)
    return numpy.multiply(images.transpose(0, 3, 1, 2), numpy.float32(1 / 255), out=batch)


def to_classes(logits):
    """The class of the largest logit, plane by plane: several times as fast as numpy's argmax."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).view(numpy.uint8)
    classes = (logits[:, 1] > logits[:, 0]).view(numpy.uint8)
    best = numpy.maximum(logits[:, 0], logits[:, 1]) if logits.shape[1] > 2 else None
    for index in range(2, logits.shape[1]):
        numpy.copyto(classes, index, where=logits[:, index] > best)
        numpy.maximum(best, logits[:, index], out=best)
    return classes


def batches(images, size):
    """All images, `size` at a time; the last batch is filled up with the first images."""
    for start in range(0, len(images), size):
        some = images[start:start + size]
        if len(some) < size:
            some = numpy.concatenate([some, images[:1].repeat(size - len(some), 0)])
        yield some


def masks_of(run, images, size):
    """The mask of each image. What `run` returns may be overwritten by its next run."""
    found = [numpy.array(run(some), dtype=numpy.uint8) for some in batches(images, size)]
    return numpy.concatenate(found)[:len(images)]


def method_of(peer, spec):
    """The calibration that an int8 model comes from."""
    path = pathlib.Path(spec["folder"]) / f"{peer}-int8.json"
    return json.loads(path.read_text())["method"] if path.is_file() else "one of its methods"


class Helped:
    """For peers whose graphs take and give floats alone."""

    def mask(self, images):
        return to_classes(self.logits(to_tensor(images)))


class OpenVINO:
    def __init__(self, spec):
        import openvino

        self.version = openvino.__version__.split("-")[0]
        self.mode = f"IR, latency hint, inference precision {spec['precision']}, pinned"
        hints = {"INFERENCE_NUM_THREADS": spec["threads"], "PERFORMANCE_HINT": "LATENCY",
                 "ENABLE_CPU_PINNING": True}
        if spec["precision"] == "int8":  # what is not quantised runs in what it takes for best
            self.mode = f"IR, latency hint, NNCF's {method_of('openvino', spec)}, pinned"
        else:
            hints["INFERENCE_PRECISION_HINT"] = {"fp32": "f32"}.get(spec["precision"], "bf16")
        core = openvino.Core()
        compiled = core.compile_model(spec["files"]["openvino"], "CPU", hints)
        self.request = compiled.create_infer_request()

    def logits(self, batch):
        return self.request.infer([batch], share_inputs=True, share_outputs=True)[0]

    mask = logits  # its graph was saved with the steps around the network


class OnnxRuntime:
    def __init__(self, spec):
        import onnxruntime

        self.mode = "ONNX, all optimisations"
        if spec["precision"] == "int8":
            self.mode += f", static QDQ u8s8 a channel, {method_of('onnxruntime', spec)}"
        self.version = onnxruntime.__version__
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = spec["threads"]
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(spec["files"]["onnxruntime"], settings,
                                                    providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    def logits(self, batch):
        return self.session.run(None, {self.name: batch})[0]

    mask = logits  # as OpenVINO's


class Ncnn(Helped):
    """Images of a batch run in a row: a batched Mat was slower where it was tried."""

    def __init__(self, spec):
        import ncnn

        self.ncnn, self.version = ncnn, ncnn.__version__
        half = spec["precision"] == "bf16"
        self.mode = f"pnnx, Winograd, packing, {'bf16' if half else 'fp32'} storage"
        self.allocators = ncnn.UnlockedPoolAllocator(), ncnn.PoolAllocator()
        self.net = ncnn.Net()
        options = self.net.opt
        options.num_threads = spec["threads"]
        options.use_winograd_convolution = options.use_sgemm_convolution = True
        options.use_packing_layout = True
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_packed = options.use_bf16_storage = half
        options.blob_allocator, options.workspace_allocator = self.allocators
        if self.net.load_param(spec["files"]["ncnn"] + ".param") != 0 or \
                self.net.load_model(spec["files"]["ncnn"] + ".bin") != 0:
            raise RuntimeError("ncnn does not read what pnnx wrote")
        self.output = None
        self.shape = (spec["batch"], spec["classes"], spec["height"], spec["width"])

    def logits(self, batch):
        if self.output is None:
            self.output = numpy.empty(self.shape, numpy.float32)
        for tensor, output in zip(batch, self.output):
            extractor = self.net.create_extractor()
            extractor.input("in0", self.ncnn.Mat(tensor))
            status, logits = extractor.extract("out0")
            if status != 0:
                raise RuntimeError(f"ncnn's extract returned {status}")
            output[:] = logits
        return self.output


class Mnn(Helped):
    """`low` of precision is what MNN offers below fp32; the agreement tells what it did."""

    def __init__(self, spec):
        import MNN.expr
        import MNN.nn

        self.expr, self.version = MNN.expr, importlib.metadata.version("mnn")
        precision = {"fp32": "normal"}.get(spec["precision"], "low")
        self.mode = f"module, precision {precision}"
        settings = {"backend": "CPU", "numThread": spec["threads"], "precision": precision,
                    "memory": "high", "power": "high"}
        self.manager = MNN.nn.create_runtime_manager((settings,))
        self.net = MNN.nn.load_module_from_file(spec["files"]["mnn"], ["input"], ["logits"],
                                                runtime_manager=self.manager,
                                                shape_mutable=False)
        shape = [spec["batch"], spec["channels"], spec["height"], spec["width"]]
        self.input = self.expr.placeholder(shape, self.expr.NCHW)

    def logits(self, batch):
        self.input.write(batch)
        output = self.net.forward([self.input])[0]
        return self.expr.convert(output, self.expr.NCHW).read()


class Torch:
    """The checkpoint and its definition in Python; bf16 has weights and tensors in bfloat16."""

    def __init__(self, spec):
        import torch

        from . import networks

        torch.set_num_threads(spec["threads"])
        self.torch, self.version = torch, torch.__version__.split("+")[0]
        self.mode = f"eager, channels_last, {spec['precision']}"
        kind = torch.float32 if spec["precision"] == "fp32" else torch.bfloat16
        net = networks.load(spec["model"]).to(kind).to(memory_format=torch.channels_last)
        around = networks.Masking if spec["boundary"] == "mask" else networks.Casting
        self.net = around(net, kind).eval()

    def logits(self, batch):
        torch = self.torch
        with torch.inference_mode():
            tensor = torch.from_numpy(batch).to(memory_format=torch.channels_last)
            return self.net(tensor).contiguous().numpy()

    def mask(self, images):
        with self.torch.inference_mode():
            return self.net(self.torch.from_numpy(images)).numpy()


class TorchCompile(Torch):
    def __init__(self, spec):
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no pool of processes stays
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(pathlib.Path(spec["folder"]) / "inductor")
        super().__init__(spec)
        import torch._inductor.config

        torch._inductor.config.freezing = True
        self.mode = f"compile, freezing, channels_last, {spec['precision']}"
        self.net = self.torch.compile(self.net)

    def logits(self, batch):
        torch = self.torch
        with torch.no_grad():  # freezing looks for this, not for inference_mode
            tensor = torch.from_numpy(batch).to(memory_format=torch.channels_last)
            return self.net(tensor).contiguous().numpy()

    def mask(self, images):
        with self.torch.no_grad():
            return self.net(self.torch.from_numpy(images)).numpy()


ADAPTERS = {"libunet": LibUnet, "openvino": OpenVINO, "ncnn": Ncnn, "mnn": Mnn,
            "onnxruntime": OnnxRuntime, "torch": Torch, "torch-compile": TorchCompile}
