"""PyTorch on a GPU, in its ways of running a network, and TensorRT, each behind the same two
functions.

A peer has
    enqueue()   starts one run, from a float32 tensor on the GPU to float32 logits on the GPU
    logits()    what the last run wrote, on the GPU; finished() waits for it
"""
import contextlib
import ctypes
import importlib.util
import tempfile

import torch

TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16,
         "fp16": torch.float16}


def usual():
    """All that are there, but for max-autotune, which takes minutes."""
    found = ["eager", "graph", "compile"]
    return found + ["tensorrt"] if importlib.util.find_spec("tensorrt") else found


@contextlib.contextmanager
def products(precision):
    """What float32 products may be rounded to, while a network is prepared."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


class Converted(torch.nn.Module):
    """float32 planes → float32 logits around a network of another type in channels-last."""

    def __init__(self, net, kind):
        super().__init__()
        self.net = net.to(device="cuda", dtype=kind, memory_format=torch.channels_last)
        self.kind = kind

    def forward(self, batch):
        batch = batch.to(dtype=self.kind, memory_format=torch.channels_last)
        return self.net(batch).float()


class Eager:
    """Layer by layer, cuDNN's algorithms by trial."""
    mode = "eager, channels_last, cudnn.benchmark"
    version = torch.__version__

    def __init__(self, net, precision, batch):
        self.precision, self.batch, self.last = precision, batch, None
        self.function = self.prepared(Converted(net, TYPES[precision]).eval())
        with products(precision), torch.inference_mode():
            for _ in range(3):
                self.last = self.function(batch)
        torch.cuda.synchronize()

    def prepared(self, module):
        return module

    def enqueue(self):
        with products(self.precision), torch.inference_mode():
            self.last = self.function(self.batch)

    def finish(self):
        torch.cuda.synchronize()

    def logits(self):
        return self.last


class Graph(Eager):
    """The same kernels, recorded once and replayed."""
    mode = "CUDA graph of eager"

    def __init__(self, net, precision, batch):
        super().__init__(net, precision, batch)
        self.graph = torch.cuda.CUDAGraph()
        with products(precision), torch.inference_mode(), torch.cuda.graph(self.graph):
            self.last = self.function(batch)

    def enqueue(self):
        self.graph.replay()


class Compiled(Eager):
    """Inductor with frozen weights and its own CUDA graphs."""
    mode = "torch.compile, freezing, CUDA graphs"
    settings = {"triton.cudagraphs": True}

    def prepared(self, module):
        import torch._inductor.config as inductor

        inductor.freezing = True
        torch._dynamo.reset()
        return torch.compile(module, options=dict(self.settings))


class Autotuned(Compiled):
    mode = "torch.compile, freezing, max-autotune"
    settings = {"triton.cudagraphs": True, "max_autotune": True, "epilogue_fusion": True}


class TensorRT:
    """An engine of a strongly typed network: since TensorRT 11 there are no others, and a tensor's
    type is what the ONNX file says."""
    mode = "from ONNX, strongly typed, CUDA graph"

    def __init__(self, net, precision, batch):
        import tensorrt

        self.tensorrt, self.version = tensorrt, tensorrt.__version__
        self.logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/network.onnx"
            torch.onnx.export(Converted(net, TYPES[precision]).eval(), (batch,), path,
                              input_names=["image"], output_names=["logits"])
            plan = self.plan(path, precision)
        self.engine = tensorrt.Runtime(self.logger).deserialize_cuda_engine(plan)
        self.context = self.engine.create_execution_context()
        shape = tuple(self.context.get_tensor_shape("logits"))
        self.batch, self.last = batch, torch.empty(shape, device="cuda")
        self.context.set_tensor_address("image", batch.data_ptr())
        self.context.set_tensor_address("logits", self.last.data_ptr())
        self.record()

    def plan(self, path, precision):
        trt = self.tensorrt
        builder = trt.Builder(self.logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self.logger)
        if not parser.parse_from_file(path):
            raise RuntimeError("; ".join(str(parser.get_error(i))
                                         for i in range(parser.num_errors)))
        config = builder.create_builder_config()
        (config.set_flag if precision == "tf32" else config.clear_flag)(trt.BuilderFlag.TF32)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise RuntimeError("TensorRT builds no engine of it")
        return plan

    def record(self):
        """After two runs of its own, in which it may allocate."""
        stream, self.graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        for _ in range(2):
            self.context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        with torch.cuda.graph(self.graph, stream=stream):
            self.context.execute_async_v3(stream.cuda_stream)

    def enqueue(self):
        self.graph.replay()

    def finish(self):
        torch.cuda.synchronize()

    def logits(self):
        return self.last


class LibUnet:
    """An engine file. Its stream is its own; its tensors are PyTorch's."""
    mode = "engine file, libunet-runtime"

    def __init__(self, library, engine, batch, classes):
        self.library, self.version = library, library.version
        self.engine, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        library.call("unet_engine_open", str(engine).encode(), None, ctypes.byref(self.engine))
        library.call("unet_session_create", self.engine, None, ctypes.byref(self.session))
        self.batch = batch
        count, _, height, width = batch.shape
        self.last = torch.full((count, classes, height, width), float("nan"), device="cuda")
        torch.cuda.synchronize()
        self.arguments = (self.session, ctypes.c_void_p(batch.data_ptr()), count, height, width,
                          ctypes.c_void_p(self.last.data_ptr()))
        self.enqueue()
        self.finish()

    def enqueue(self):
        self.library.call("unet_session_enqueue", *self.arguments)

    def finish(self):
        self.library.call("unet_session_wait", self.session)

    def logits(self):
        return self.last

    def close(self):
        self.library.functions.unet_session_close(ctypes.byref(self.session))
        self.library.functions.unet_engine_close(ctypes.byref(self.engine))


PEERS = {"eager": Eager, "graph": Graph, "compile": Compiled, "max-autotune": Autotuned,
         "tensorrt": TensorRT}
