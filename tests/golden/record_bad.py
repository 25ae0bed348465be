"""bad/: files that must be refused, each for one reason, and a word of the error message.

Hand-made from a checkpoint that is right (formats/hand-made.pth); needs neither torch nor numpy.
"""
import json
import math
import struct

from common import fresh_folder, write_index
from pickle_writer import (PROTOCOL_2, STOP, call, checkpoint, dict_of, entries_of, floats,
                           legacy_checkpoint, legacy_storage, list_of, named, number, numbers,
                           rebuild, storage, tensor, text, tuple_of, unet_checkpoint, unet_shapes,
                           unet_tensors)
from raw_zip import DESCRIPTOR, ENCRYPTED, UTF8, Entry, build_zip, local_entry

ONE = tensor(storage("0", 4), (2, 2), (2, 1))


def raw(pickled):
    """A checkpoint around a pickle that brings its own protocol and end, or lacks them."""
    return build_zip(entries_of(pickled, {"0": floats(1, 2, 3, 4)}))


def calls():
    """name, word, bytes: what a pickle must not be able to do."""
    touch = text("touch /tmp/unet-was-here")
    yield "shell-1.pth", "posix.system", checkpoint(call("posix", "system", touch))
    yield "shell-2.pth", "os.system", checkpoint(call("os", "system", touch))
    yield "python-1.pth", "__builtin__.eval", checkpoint(call("__builtin__", "eval", text("1")))
    frame = text("builtins") + text("exec") + b"\x93" + text("1") + b"\x85R."
    frame = b"\x80\x04\x95" + struct.pack("<Q", len(frame)) + frame
    yield "python-2.pth", "builtins.exec", raw(frame)
    yield "attribute.pth", "builtins.getattr", checkpoint(
        call("builtins", "getattr", named("collections", "OrderedDict"), text("fromkeys")))
    yield "download.pth", "torch.hub.load", checkpoint(call("torch.hub", "load", text("a/b")))
    yield "dotted.pth", "collections.OrderedDict.fromkeys", raw(
        b"\x80\x04" + text("collections") + text("OrderedDict.fromkeys") + b"\x93)R.")
    process = call("subprocess", "Popen", list_of(text("touch"), text("/tmp/unet-was-here")))
    yield "beside-network.pth", "subprocess.Popen", unet_checkpoint(
        {**unet_tensors(unet_shapes()), "notes": process})
    yield "scalar.pth", "numpy.core.multiarray.scalar", checkpoint(
        dict_of({"loss": call("numpy.core.multiarray", "scalar", text("f8")), "net": ONE}))
    kind = call("numpy", "dtype", text("f8"), b"\x89", b"\x88")
    state = tuple_of(number(3), text("<"), *[b"N"] * 3, *[number(-1)] * 2, number(0))
    short = call("numpy.core.multiarray", "scalar", kind + state + b"b", b"C\x04\0\0\0\0")
    yield "scalar-short.pth", "numpy.core.multiarray.scalar", checkpoint(
        dict_of({"loss": short, "net": ONE}))
    kind = call("numpy", "dtype", text("O8"), b"\x89", b"\x88")
    yield "any-object.pth", "numpy.dtype", checkpoint(dict_of({"loss": kind, "net": ONE}))
    yield "rebuilt.pth", "numpy.core.multiarray._reconstruct", checkpoint(
        dict_of({"losses": call("numpy.core.multiarray", "_reconstruct", text("a")), "net": ONE}))
    yield "arguments.pth", "argparse.Namespace", checkpoint(
        dict_of({"args": named("argparse", "Namespace") + b")\x81", "net": ONE}))
    yield "whole-module.pth", "unet.unet_model.UNet", checkpoint(
        named("unet.unet_model", "UNet") + b")\x81" + dict_of({"training": b"\x89"}) + b"b")
    script = named("__torch__.unet", "UNet") + b")\x81" + dict_of({"inc": ONE}) + b"b"
    yield "script.pth", "__torch__", build_zip(
        [Entry("net/constants.pkl", b"\x80\x02).")]
        + entries_of(PROTOCOL_2 + script + STOP, {"0": floats(1, 2, 3, 4)}, "net"))


def pickles():
    """Broken or hostile pickles that call nothing."""
    yield "instance.pth", "opcode", raw(b"(S'touch /tmp/unet-was-here'\nios\nsystem\n.")
    yield "object.pth", "opcode", raw(PROTOCOL_2 + b"(" + named("os", "system") + text("a") + b"o.")
    yield "extension.pth", "opcode", raw(PROTOCOL_2 + b"\x82\x01.")
    yield "unknown.pth", "opcode", raw(PROTOCOL_2 + b"\xff.")
    yield "reduce-text.pth", "pickle", checkpoint(text("print") + b")R")
    yield "build-list.pth", "pickle", checkpoint(b"]" + dict_of({"a": number(1)}) + b"b")
    yield "append-to-text.pth", "pickle", checkpoint(text("a") + number(1) + b"a")
    yield "protocol-9.pth", "pickle", raw(b"\x80\x09N.")
    whole = PROTOCOL_2 + dict_of({"inc": ONE}) + STOP
    yield "half-a-pickle.pth", "truncated", raw(whole[:len(whole) // 2])
    yield "no-stop.pth", "truncated", raw(whole[:-1])
    yield "empty-pickle.pth", "truncated", raw(b"")
    yield "never-put.pth", "memo", checkpoint(b"h\x07")
    yield "put-far-away.pth", "memo", checkpoint(b"}r\xff\xff\xff\xff")
    yield "underflow-1.pth", "stack", checkpoint(b"R")
    yield "underflow-2.pth", "stack", checkpoint(b"\x87")
    yield "tuple-from-nowhere.pth", "mark", checkpoint(b"t")
    yield "nested-20000.pth", "deep", checkpoint(b")" + b"\x85" * 20000)
    doubled = text("ha") + b"".join(b"q%ch%c\x86" % (i, i) for i in range(64))
    yield "billion-laughs.pth", "deep", checkpoint(dict_of({"state_dict": doubled}))
    yield "long-text-1.pth", "truncated", raw(PROTOCOL_2 + b"X\xf0\xff\xff\xffabc.")
    yield "long-text-2.pth", "truncated", raw(b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7fabc.")
    yield "long-number.pth", "truncated", raw(PROTOCOL_2 + b"\x8b\xff\xff\xff\x7fabc.")
    yield "long-frame.pth", "truncated", raw(b"\x80\x04\x95" + b"\xff" * 8 + b"N.")


def tensors():
    """Well-formed pickles whose tensors do not hold together."""
    four = storage("0", 4)

    def alone(value, storages=None):
        return checkpoint(dict_of({"inc.weight": value}), storages)

    yield "too-small-1.pth", "storage", alone(tensor(four, (3, 3), (3, 1)))
    yield "too-small-2.pth", "storage", alone(tensor(four, (4,), (1,), offset=1))
    yield "too-small-3.pth", "storage", alone(tensor(storage("0", 9), (3, 3), (3, 1)))
    yield "too-small-4.pth", "storage", alone(tensor(four, (2,), (1 << 62,)))
    yield "too-small-5.pth", "storage", alone(tensor(four, (2,), (1,), offset=1 << 62))
    yield "not-there.pth", "data/7", alone(tensor(storage("7", 4), (4,), (1,)))
    yield "backwards.pth", "stride", alone(tensor(four, (4,), (-1,), offset=3))
    yield "before-start.pth", "offset", alone(tensor(four, (2,), (1,), offset=-1))
    yield "negative.pth", "shape", alone(tensor(four, (-2, 2), (2, 1)))
    yield "product.pth", "shape", alone(tensor(four, (1 << 31, 1 << 31, 4), (0, 0, 0)))
    yield "vast.pth", "shape", alone(tensor(four, (1 << 20, 1 << 20), (0, 0)))
    yield "rank-100.pth", "shape", alone(tensor(four, (1,) * 100, (1,) * 100))
    yield "too-few-steps.pth", "stride", alone(tensor(four, (2, 2), (2,)))
    yield "complex.pth", "ComplexFloatStorage", alone(
        tensor(storage("0", 2, "ComplexFloatStorage"), (2,), (1,)))
    yield "few-arguments.pth", "_rebuild_tensor_v2", alone(rebuild(four, number(0)))
    yield "wrong-arguments.pth", "_rebuild_tensor_v2", alone(
        rebuild(four, text("0"), text("4"), text("1"), b"\x89", b"}"))
    yield "no-values.pth", "_rebuild_tensor_v2", alone(
        rebuild(b"]", number(0), numbers((4,)), numbers((1,)), b"\x89", b"}"))
    yield "identity-1.pth", "persistent", alone(tensor(text("0") + b"Q", (4,), (1,)))
    yield "identity-2.pth", "persistent", alone(
        tensor(tuple_of(text("storage")) + b"Q", (4,), (1,)))
    yield "cycle.pth", "tensor", checkpoint(b"}q\0" + text("model") + b"h\0s")
    yield "only-numbers.pth", "tensor", checkpoint(dict_of({"epoch": number(3)}))
    yield "list.pth", "tensor", checkpoint(list_of(ONE))
    yield "bare-text.pth", "tensor", checkpoint(text("weights"))
    yield "nothing.pth", "tensor", checkpoint(b"}")


def zips():
    good = PROTOCOL_2 + dict_of({"inc.weight": ONE}) + STOP
    values = floats(1, 2, 3, 4)

    def with_values(**lies):
        """The second entry from the end holds the values."""
        entries = entries_of(good, {"0": values})
        entries[-2] = Entry(**{"name": "checkpoint/data/0", "data": values, **lies})
        return build_zip(entries)

    whole = with_values()
    yield "larger-than-file.pth", "zip", with_values(size=1 << 30, stored=1 << 30)
    yield "two-sizes.pth", "zip", with_values(size=64)
    yield "outside.pth", "zip", with_values(offset=1 << 24)
    yield "one-inside-another.pth", "overlap", with_values(offset=0)
    outer = Entry("checkpoint/outer", local_entry(Entry("checkpoint/data/0", values)))
    inner = Entry("checkpoint/data/0", values, offset=30 + len(outer.name))
    yield "quoted.pth", "overlap", build_zip(
        [outer, inner, Entry("checkpoint/data.pkl", good), Entry("checkpoint/version", b"3\n")])
    yield "squeezed.pth", "compressed", with_values(method=8)
    yield "odd-method.pth", "compressed", with_values(method=99)
    yield "secret.pth", "encrypted", with_values(flags=DESCRIPTOR | UTF8 | ENCRYPTED)
    yield "flipped-value.pth", "crc", whole.replace(values, floats(1, 2, 3, 5))
    yield "flipped-name.pth", "crc", whole.replace(b"inc.weight", b"inc.weighs")
    yield "half.pth", "zip", whole[:len(whole) // 2]
    yield "no-directory.pth", "zip", whole[:-30]
    yield "no-pickle.pth", "data.pkl", build_zip([Entry("checkpoint/data/0", values)])
    yield "no-entries.pth", "data.pkl", build_zip([])
    yield "byte-order.pth", "endian", build_zip(
        [Entry("checkpoint/byteorder", b"big") if entry.name.endswith("byteorder") else entry
         for entry in entries_of(good, {"0": values})])


def legacy():
    held = dict_of({"inc.weight": tensor(legacy_storage("0", 4), (2, 2), (2, 1))})
    whole = legacy_checkpoint(held)
    yield "old-half.pth", "truncated", whole[:len(whole) // 2]
    yield "old-cut.pth", "truncated", whole[:-1]
    yield "old-shell.pth", "posix.system", legacy_checkpoint(
        call("posix", "system", text("touch /tmp/unet-was-here")))
    yield "old-count.pth", "storage", legacy_checkpoint(held, blocks=((5, floats(1, 2, 3, 4, 5)),))
    yield "old-negative.pth", "storage", legacy_checkpoint(held, blocks=((-4, b""),))
    yield "old-key.pth", "storage", legacy_checkpoint(held, keys=("1",))
    yield "old-no-key.pth", "storage", legacy_checkpoint(held, keys=(), blocks=())
    yield "old-1002.pth", "version", legacy_checkpoint(held, version=1002)
    yield "old-order.pth", "endian", legacy_checkpoint(held, little_endian=False)
    yield "old-other.pth", "torch.save", legacy_checkpoint(held, magic=42)


def networks():
    """Checkpoints that read well, but whose network cannot run."""
    shapes = unet_shapes()

    def changed(name, value=None, storages=None):
        entries = unet_tensors(shapes)
        if value is None:
            del entries[name]
        else:
            entries[name] = value
        return unet_checkpoint(entries, storages)

    def one_wrong(name, value):
        """One value of a tensor is not as the others."""
        shape = shapes[name]
        count = math.prod(shape)
        stride = [math.prod(shape[axis + 1:]) for axis in range(len(shape))]
        held = tensor(storage("2", count), shape, stride)
        values = [0.5] * count
        values[count // 2] = value
        return changed(name, held, {"2": floats(*values)})

    lost = "down2.maxpool_conv.1.double_conv.1.running_var"
    yield "lost-entry-1.pth", lost, changed(lost)
    yield "lost-entry-2.pth", "outc.conv.bias", changed("outc.conv.bias")
    turned = "up2.conv.double_conv.0.weight"
    yield "wrong-shape-1.pth", turned, changed(
        turned, tensor(storage("0", 1), (8, 2, 3, 3), (0, 0, 0, 0)))
    yield "wrong-shape-2.pth", "inc.double_conv.4.bias", changed(
        "inc.double_conv.4.bias", tensor(storage("0", 1), (3,), (0,)))
    yield "wrong-shape-3.pth", "inc.double_conv.0.weight", changed(
        "inc.double_conv.0.weight", tensor(storage("0", 1), (), ()))
    kernel = "down3.maxpool_conv.1.double_conv.0.weight"
    yield "wrong-shape-4.pth", kernel, changed(
        kernel, tensor(storage("0", 1), (8, 4, 5, 5), (0, 0, 0, 0)))
    for number_of, name, value in (
            (1, "down1.maxpool_conv.1.double_conv.0.weight", math.nan),
            (2, "up4.conv.double_conv.3.weight", -math.inf),
            (3, "inc.double_conv.1.running_var", math.inf),
            (4, "up3.conv.double_conv.4.running_var", -1.0)):
        yield f"wrong-value-{number_of}.pth", name, one_wrong(name, value)
    yield "stranger.pth", "attention.weight", changed(
        "attention.weight", tensor(storage("2", 4), (2, 2), (2, 1)), {"2": floats(1, 2, 3, 4)})
    other = {f"layer{i}.conv.weight": tensor(storage("0", 1), (4, 4, 3, 3), (0,) * 4)
             for i in range(4)}
    yield "classifier.pth", "U-Net", unet_checkpoint(other)


def texts():
    yield "zero-bytes.pth", "empty", b""
    yield "prose.pth", "not a", b"These are not the weights that you are looking for.\n"
    yield "pointer.pth", "not a", (b"version https://git-lfs.github.com/spec/v1\n"
                                   b"oid sha256:" + b"0" * 64 + b"\nsize 13395329\n")
    yield "zero-bytes.wts", "empty", b""
    yield "zero-bytes.safetensors", "empty", b""
    lines = b"a 2  3f800000 40000000\nb 1  3f800000\n"
    yield "more-promised.wts", "entr", b"3\n" + lines
    yield "fewer-promised.wts", "entr", b"1\n" + lines
    yield "vast-promise.wts", "entr", b"99999999999999999999\n" + lines
    yield "letters.wts", "hex", b"2\n" + lines.replace(b"40000000", b"4000000g")
    yield "seven-digits.wts", "hex", b"2\n" + lines.replace(b"40000000", b"4000000")
    yield "nine-digits.wts", "hex", b"2\n" + lines.replace(b"40000000", b"400000000")
    yield "six-digits.wts", "hex", b"2\n" + lines[:-3]
    yield "cut-1.wts", "truncated", b"2\n" + lines[:-9]
    yield "cut-2.wts", "truncated", b"2\na 5  3f800000"
    yield "minus.wts", "values", b"2\n" + lines.replace(b"a 2", b"a -2")
    yield "vast-entry.wts", "values", b"2\n" + lines.replace(b"a 2", b"a 18446744073709551615")
    yield "twice.wts", "duplicate", b"2\n" + lines.replace(b"b 1", b"a 1")


def safetensors():
    def entry(start, end, shape=(2,), dtype="F32"):
        return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}

    def file(header, data=b"\0" * 16, length=None):
        if not isinstance(header, bytes):
            header = json.dumps(header, separators=(",", ":")).encode()
        return struct.pack("<Q", len(header) if length is None else length) + header + data

    two = {"a": entry(0, 8), "b": entry(8, 16)}
    yield "cut-1.safetensors", "truncated", file(two)[:5]
    yield "cut-2.safetensors", "truncated", file(two)[:-4]
    yield "length-1.safetensors", "header", file(two, length=1 << 20)
    yield "length-2.safetensors", "header", file(two, length=(1 << 64) - 1)
    yield "length-3.safetensors", "header", file(two, length=0)
    yield "not-closed.safetensors", "JSON", file(b'{"a":{"dtype":"F32","shape":[2]')
    yield "array.safetensors", "JSON", file(b'[1,2,3,4]')
    yield "nested.safetensors", "JSON", file(b"[" * 5000 + b"]" * 5000)
    yield "on-each-other.safetensors", "overlap", file({"a": entry(0, 8), "b": entry(4, 12)})
    yield "beyond.safetensors", "offset", file({"a": entry(0, 8), "b": entry(8, 24, (4,))})
    yield "reversed.safetensors", "offset", file({"a": entry(8, 0)}, b"\0" * 8)
    yield "fraction.safetensors", "offset", file({"a": entry(0.5, 8)}, b"\0" * 8)
    yield "left-over.safetensors", "offset", file(two, b"\0" * 24)
    yield "same-name.safetensors", "duplicate", file(
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        b'"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}')
    yield "strange-type.safetensors", "F8_E4M3", file({"a": entry(0, 2, dtype="F8_E4M3")}, b"\0\0")
    yield "no-type.safetensors", "dtype", file({"a": {"shape": [2], "data_offsets": [0, 8]}})
    yield "wrong-bytes.safetensors", "shape", file({"a": entry(0, 8, (3,))}, b"\0" * 8)
    yield "minus.safetensors", "shape", file({"a": entry(0, 8, (-2,))}, b"\0" * 8)
    yield "product.safetensors", "shape", file(
        {"a": entry(0, 8, (1 << 32, 1 << 32, 2))}, b"\0" * 8)


FAMILIES = (calls, pickles, tensors, zips, legacy, networks, texts, safetensors)


def record():
    folder = fresh_folder("bad")
    rows = []
    for family in FAMILIES:
        for name, word, data in family():
            # A message names its file: a word in the name would be found whatever it says.
            assert word.lower() not in name.lower(), name
            assert not (folder / name).exists(), name
            (folder / name).write_bytes(data)
            rows.append((name, word))
    write_index(folder, rows, separator="\t")
