"""Edits pickles that torch.save wrote: other strings, and storage keys that never change."""
import io
import pickle
import pickletools
import struct
from collections import OrderedDict

ELEMENT_SIZES = {"HalfStorage": 2, "BFloat16Storage": 2, "FloatStorage": 4, "DoubleStorage": 8,
                 "LongStorage": 8}


def replace_strings(data, mapping):
    """Rewrite BINUNICODE strings. Protocols 2 and 3 only: a later one counts bytes in frames."""
    pieces, done = [], 0
    for opcode, argument, position in pickletools.genops(data):
        assert opcode.name != "FRAME"
        if opcode.name == "BINUNICODE" and argument in mapping:
            length = struct.unpack_from("<I", data, position + 1)[0]
            text = mapping[argument].encode()
            pieces += [data[done:position], b"X", struct.pack("<I", len(text)), text]
            done = position + 5 + length
    return b"".join(pieces + [data[done:]])


class StorageLister(pickle.Unpickler):
    """Collects the storages that a pickle refers to, building no tensors."""

    def __init__(self, stream):
        super().__init__(stream)
        self.storages = OrderedDict()

    def persistent_load(self, pid):
        _, kind, key, _, count = pid[:5]
        self.storages[key] = (ELEMENT_SIZES[kind], count)

    def find_class(self, module, name):
        if name == "OrderedDict":
            return OrderedDict
        return name if name.endswith("Storage") else lambda *arguments: None


def stable_keys(count):
    """Keys like the addresses that torch.save takes, in an order unlike that of first use."""
    return [str(94_211_000_000_000 + 96 * (index * 7919 % 10007)) for index in range(count)]


def stabilise_legacy(data):
    """The older format names storages after their addresses: name and sort them anew."""
    stream = io.BytesIO(data)
    for _ in range(3):  # magic number, format version, system information
        pickle.load(stream)
    start = stream.tell()
    lister = StorageLister(stream)
    lister.load()
    middle = stream.tell()
    blocks = {}
    for key in pickle.load(stream):
        element, count = lister.storages[key]
        blocks[key] = stream.read(8 + element * count)
        assert struct.unpack("<q", blocks[key][:8])[0] == count
    assert not stream.read()
    names = dict(zip(lister.storages, stable_keys(len(blocks))))
    assert set(blocks) == set(names)
    in_order = sorted(blocks, key=names.get)
    return b"".join([data[:start], replace_strings(data[start:middle], names),
                     pickle.dumps([names[key] for key in in_order], protocol=2),
                     *(blocks[key] for key in in_order)])
