"""A zip writer that can lie: PyTorch's layout by default, each field open to forgery."""
import struct
import zlib
from dataclasses import dataclass

DESCRIPTOR = 0x0008  # the sizes follow the data; the local header has zeros, as PyTorch writes it
ENCRYPTED = 0x0001
UTF8 = 0x0800


@dataclass
class Entry:
    """Fields left None are told truthfully; the others say what the central directory says."""
    name: str
    data: bytes
    method: int = 0
    flags: int = DESCRIPTOR | UTF8
    crc: int | None = None
    size: int | None = None
    stored: int | None = None
    offset: int | None = None

    def packed(self):
        if self.method == 0:
            return self.data
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
        return squeeze.compress(self.data) + squeeze.flush()


def _crc(entry):
    return zlib.crc32(entry.data) if entry.crc is None else entry.crc


def local_entry(entry):
    """Local header, data, descriptor: truthful but for the CRC."""
    name, packed, crc = entry.name.encode(), entry.packed(), _crc(entry)
    told = (0, 0, 0) if entry.flags & DESCRIPTOR else (crc, len(packed), len(entry.data))
    header = struct.pack("<4s5H3I2H", b"PK\3\4", 20, entry.flags, entry.method, 0, 33, *told,
                         len(name), 0)
    tail = b""
    if entry.flags & DESCRIPTOR:
        tail = struct.pack("<4s3I", b"PK\7\10", crc, len(packed), len(entry.data))
    return header + name + packed + tail


def _central(entry, offset):
    name, crc = entry.name.encode(), _crc(entry)
    size = len(entry.data) if entry.size is None else entry.size
    stored = len(entry.packed()) if entry.stored is None else entry.stored
    offset = offset if entry.offset is None else entry.offset
    return struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, entry.flags, entry.method, 0, 33, crc,
                       stored, size, len(name), 0, 0, 0, 0, 0, offset) + name


def build_zip(entries):
    body, directory = b"", b""
    for entry in entries:
        directory += _central(entry, len(body))
        body += local_entry(entry)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(entries), len(entries), len(directory),
                      len(body), 0)
    return body + directory + end
