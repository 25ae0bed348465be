"""Writes pickles opcode by opcode, the impossible ones too, and checkpoints around them."""
import struct

from raw_zip import Entry, build_zip

PROTOCOL_2 = b"\x80\x02"
STOP = b"."
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C  # torch/serialization.py
LEGACY_VERSION = 1001


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -1 << 31 <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def numbers(values):
    return tuple_of(*(number(value) for value in values))


def list_of(*items):
    return b"](" + b"".join(items) + b"e"


def dict_of(items):
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def call(module, name, *arguments):
    return named(module, name) + tuple_of(*arguments) + b"R"


def storage(key, count, kind="FloatStorage"):
    return tuple_of(text("storage"), named("torch", kind), text(key), text("cpu"),
                    number(count)) + b"Q"


def legacy_storage(key, count):
    return tuple_of(text("storage"), named("torch", "FloatStorage"), text(key), text("cpu"),
                    number(count), b"N") + b"Q"


def rebuild(*arguments):
    return call("torch._utils", "_rebuild_tensor_v2", *arguments)


def tensor(held, shape, stride, offset=0):
    """`held` is a pickled storage."""
    hooks = call("collections", "OrderedDict")
    return rebuild(held, number(offset), numbers(shape), numbers(stride), b"\x89", hooks)


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def entries_of(pickled, storages, folder="checkpoint"):
    """The zip entries of a checkpoint; `storages` is key -> bytes."""
    entries = [Entry(f"{folder}/data.pkl", pickled), Entry(f"{folder}/byteorder", b"little")]
    entries += [Entry(f"{folder}/data/{key}", data) for key, data in storages.items()]
    return entries + [Entry(f"{folder}/version", b"3\n")]


def checkpoint(value, storages=None):
    """A zip checkpoint that holds one pickled value."""
    pickled = PROTOCOL_2 + value + STOP
    return build_zip(entries_of(pickled, {"0": floats(1, 2, 3, 4)} if storages is None
                                else storages))


def legacy_checkpoint(value, keys=("0",), blocks=((4, floats(1, 2, 3, 4)),),
                      magic=MAGIC_NUMBER, version=LEGACY_VERSION, little_endian=True):
    """Five pickles, then for each key a count and the values."""
    sizes = dict_of({"short": number(2), "int": number(4), "long": number(4)})
    system = dict_of({"protocol_version": number(version),
                      "little_endian": b"\x88" if little_endian else b"\x89",
                      "type_sizes": sizes})
    parts = [number(magic), number(version), system, value, list_of(*map(text, keys))]
    pickles = b"".join(PROTOCOL_2 + part + STOP for part in parts)
    return pickles + b"".join(struct.pack("<q", count) + data for count, data in blocks)


def double_conv_shapes(prefix, channels, out):
    shapes = {}
    for index, fed in ((0, channels), (3, out)):
        shapes[f"{prefix}.double_conv.{index}.weight"] = (out, fed, 3, 3)
        shapes[f"{prefix}.double_conv.{index}.bias"] = (out,)
        norm = f"{prefix}.double_conv.{index + 1}"
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{name}"] = (out,)
        shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes


def unet_shapes(width=1, channels=3, classes=2):
    """The older bilinear Pytorch-UNet: names and shapes in the checkpoint's order."""
    w = width
    shapes = double_conv_shapes("inc", channels, w)
    for level, (fed, out) in enumerate([(w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w),
                                        (8 * w, 8 * w)], start=1):
        shapes |= double_conv_shapes(f"down{level}.maxpool_conv.1", fed, out)
    for level, (fed, out) in enumerate([(16 * w, 4 * w), (8 * w, 2 * w), (4 * w, w),
                                        (2 * w, w)], start=1):
        shapes |= double_conv_shapes(f"up{level}.conv", fed, out)
    shapes["outc.conv.weight"] = (classes, w, 1, 1)
    shapes["outc.conv.bias"] = (classes,)
    return shapes


def unet_tensors(shapes):
    """A value for each name: stride 0, so that a whole network fits one storage of one number."""
    tensors = {}
    for name, shape in shapes.items():
        held = storage("1", 1, "LongStorage") if name.endswith("tracked") else storage("0", 1)
        tensors[name] = tensor(held, shape, (0,) * len(shape))
    return tensors


UNET_STORAGES = {"0": floats(0.5), "1": struct.pack("<q", 7)}


def remember(pickled, *parts):
    """Put each part in the memo where it first stands and get it wherever it stands again."""
    for index, part in enumerate(parts):
        before, found, after = pickled.partition(part)
        if not found:
            continue
        after = after.replace(part, b"h" + bytes([index]))
        pickled = before + part + b"q" + bytes([index]) + after
    return pickled


def unet_checkpoint(values, storages=None):
    """A network's checkpoint; `storages` adds to the two that `unet_tensors` refers to."""
    repeated = [call("collections", "OrderedDict"), named("torch._utils", "_rebuild_tensor_v2"),
                storage("0", 1), storage("1", 1, "LongStorage")]
    return checkpoint(remember(dict_of(values), *repeated), UNET_STORAGES | (storages or {}))


def hand_made_checkpoint():
    """What is wrong in bad/ is changed from this one, which is right."""
    return unet_checkpoint(unet_tensors(unet_shapes()))
