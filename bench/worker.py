"""One peer in a process of its own: worker.py NAME OPTIONS. Speaks JSON, a line a message.

It says its version when it is ready, then answers {"verb": "run" | "save" | "peak"}. NAME may also
be "export": then it writes the checkpoint as ONNX for the others and ends.
"""
import ctypes
import json
import pathlib
import resource
import sys
import time

import numpy

ROOT = pathlib.Path(__file__).resolve().parent.parent


def random_input(options):
    rng = numpy.random.default_rng(1)
    shape = (1, options["channels"], options["height"], options["width"])
    return rng.random(shape, dtype=numpy.float32)


def torch_network(options):
    """The checkpoint in PyTorch, in the definition that the goldens were recorded from."""
    sys.path.insert(0, str(ROOT / "tests" / "golden"))
    import networks
    import torch

    state = torch.load(options["model"], weights_only=True)
    state = {name: tensor.float() for name, tensor in state.items() if name != "mask_values"}
    width, channels = state["inc.double_conv.0.weight"].shape[:2]
    transposed = "up1.up.weight" in state
    middle = state["up1.conv.double_conv.0.weight"].shape[0]
    old = not transposed and middle == 4 * width
    variant = "transposed" if transposed else "old-bilinear" if old else "bilinear"
    net = networks.PytorchUNet(variant, width, channels, state["outc.conv.bias"].shape[0],
                               "inc.double_conv.0.bias" in state)
    net.load_state_dict(state)
    options["channels"] = channels
    return net.eval()


def export(options):
    """Writes the network as ONNX; a step of its own, so that no peer's memory holds PyTorch's."""
    import torch

    net = torch_network(options)
    example = torch.zeros(1, options["channels"], options["height"], options["width"])
    torch.onnx.export(net, example, options["onnx"], dynamo=False, opset_version=17)
    print(json.dumps({"channels": options["channels"]}))


class Torch:
    def __init__(self, options):
        import torch

        torch.set_num_threads(options["threads"])
        self.torch, self.version = torch, torch.__version__
        self.net = torch_network(options).to(memory_format=torch.channels_last)
        self.input = torch.from_numpy(random_input(options)).contiguous(
            memory_format=torch.channels_last)

    def run(self):
        with self.torch.inference_mode():
            return self.net(self.input).contiguous().numpy()


class OpenVINO:
    def __init__(self, options):
        import openvino

        self.version = openvino.__version__.split("-")[0]
        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": options["threads"],
                 "PERFORMANCE_HINT": "LATENCY"}
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(options["onnx"]), "CPU", hints)
        self.request = compiled.create_infer_request()
        self.input = random_input(options)

    def run(self):
        return self.request.infer([self.input], share_inputs=True, share_outputs=True)[0]


class OnnxRuntime:
    def __init__(self, options):
        import onnxruntime

        self.version = onnxruntime.__version__
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options["threads"]
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(options["onnx"], settings,
                                                    providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name
        self.input = random_input(options)

    def run(self):
        return self.session.run(None, {self.name: self.input})[0]


class UnetError(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 1024)]


class UnetNetworkInfo(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("architecture", ctypes.c_char_p),
                ("in_channels", ctypes.c_int), ("classes", ctypes.c_int), ("width", ctypes.c_int),
                ("conv_bias", ctypes.c_bool)]


class UnetSessionOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("threads", ctypes.c_int), ("profile", ctypes.c_bool)]


class LibUnet:
    """The public functions of unet.h, through ctypes."""

    def __init__(self, options):
        self.library = ctypes.CDLL(options["library"])
        self.library.unet_version.restype = ctypes.c_char_p
        self.version = self.library.unet_version().decode()
        self.error = UnetError()
        model, self.engine, self.session = (ctypes.c_void_p() for _ in range(3))
        self.call("unet_model_open", options["model"].encode(), ctypes.byref(model))
        info = UnetNetworkInfo(size=ctypes.sizeof(UnetNetworkInfo))
        self.call("unet_model_recognize", model, ctypes.byref(info))
        self.call("unet_build", model, None, ctypes.byref(self.engine))
        self.library.unet_model_close(ctypes.byref(model))
        settings = UnetSessionOptions(size=ctypes.sizeof(UnetSessionOptions),
                                      threads=options["threads"])
        self.call("unet_session_create", self.engine, ctypes.byref(settings),
                  ctypes.byref(self.session))
        options["channels"] = info.in_channels
        self.input = random_input(options)
        self.height, self.width = options["height"], options["width"]
        self.output = numpy.empty((1, info.classes, self.height, self.width), numpy.float32)

    def call(self, name, *arguments):
        if getattr(self.library, name)(*arguments, ctypes.byref(self.error)) != 0:
            raise SystemExit(f"{name}: {self.error.message.decode()}")

    def run(self):
        self.call("unet_session_run", self.session, ctypes.c_void_p(self.input.ctypes.data), 1,
                  self.height, self.width, ctypes.c_void_p(self.output.ctypes.data))
        return self.output


PEERS = {"libunet": LibUnet, "torch": Torch, "openvino": OpenVINO, "onnxruntime": OnnxRuntime}


def timed(peer, repetitions):
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        peer.run()
        times.append(1000 * (time.perf_counter() - start))
    return times


def answer(peer, question):
    verb = question["verb"]
    if verb == "run":
        return {"milliseconds": timed(peer, question["repetitions"])}
    if verb == "save":
        numpy.save(question["path"], peer.run())
        return {}
    return {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main():
    if sys.argv[1] == "export":
        return export(json.loads(sys.argv[2]))
    peer = PEERS[sys.argv[1]](json.loads(sys.argv[2]))
    peer.run()
    print(json.dumps({"version": peer.version}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(peer, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
