"""libunet through ctypes: the part of unet.h that runs an engine file."""
import ctypes

import numpy


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 1024)]


class SessionOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("threads", ctypes.c_int), ("profile", ctypes.c_bool)]


class Image(ctypes.Structure):
    _fields_ = [("width", ctypes.c_int), ("height", ctypes.c_int), ("channels", ctypes.c_int),
                ("bits", ctypes.c_int), ("pixels", ctypes.c_void_p)]


class Prediction(ctypes.Structure):
    _fields_ = [("width", ctypes.c_int), ("height", ctypes.c_int), ("classes", ctypes.c_int),
                ("mask", ctypes.c_void_p), ("logits", ctypes.c_void_p),
                ("prob", ctypes.c_void_p)]


class Library:
    def __init__(self, path):
        self.functions = ctypes.CDLL(path)
        self.functions.unet_version.restype = ctypes.c_char_p
        self.version = self.functions.unet_version().decode()
        self.error = Error()

    def call(self, name, *arguments):
        if getattr(self.functions, name)(*arguments, ctypes.byref(self.error)) != 0:
            raise RuntimeError(f"{name}: {self.error.message.decode()}")

    def load_image(self, path):
        """Pixels as uint8, height × width × channels."""
        image = Image()
        self.call("unet_image_load", str(path).encode(), ctypes.byref(image))
        count = image.height * image.width * image.channels
        pixels = numpy.frombuffer(ctypes.string_at(image.pixels, count), numpy.uint8)
        shape = (image.height, image.width, image.channels)
        if image.bits != 8:
            raise RuntimeError(f"{path}: {image.bits} bits a channel; the comparison takes 8")
        self.functions.unet_image_clear(ctypes.byref(image))
        return pixels.reshape(shape)


class LibUnet:
    """An engine file, opened by the library that holds what a deployed program needs."""
    mode = "engine file, libunet-runtime"

    def __init__(self, spec):
        self.library = Library(spec["library"])
        self.version = self.library.version
        self.engine, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        self.library.call("unet_engine_open", spec["files"]["libunet"].encode(), None,
                          ctypes.byref(self.engine))
        options = SessionOptions(size=ctypes.sizeof(SessionOptions), threads=spec["threads"])
        self.library.call("unet_session_create", self.engine, ctypes.byref(options),
                          ctypes.byref(self.session))
        self.output = None
        self.classes = spec["classes"]

    def logits(self, batch):
        count, _, height, width = batch.shape
        if self.output is None:
            self.output = numpy.empty((count, self.classes, height, width), numpy.float32)
        self.library.call("unet_session_run", self.session, ctypes.c_void_p(batch.ctypes.data),
                          count, height, width, ctypes.c_void_p(self.output.ctypes.data))
        return self.output

    def mask(self, images):
        """unet_predict takes one image, so a batch is images in a row."""
        count, height, width, _ = images.shape
        if self.output is None:
            self.output = numpy.empty((count, height, width), numpy.uint8)
        for image, mask in zip(images, self.output):
            self.predict(image, mask)
        return self.output

    def predict(self, pixels, mask):
        height, width, channels = pixels.shape
        image = Image(width, height, channels, 8, pixels.ctypes.data)
        prediction = Prediction()
        self.library.call("unet_predict", self.session, ctypes.byref(image), None,
                          ctypes.byref(prediction))
        ctypes.memmove(mask.ctypes.data, prediction.mask, mask.nbytes)
        self.library.functions.unet_prediction_clear(ctypes.byref(prediction))
