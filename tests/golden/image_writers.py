"""PNG and TIFF files of kinds that Pillow reads but does not write."""
import struct
import zlib

import numpy as np

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2)]  # x, y, step in x, step in y of each pass
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type


def pack_rows(samples, bits):
    """Rows of H x W x C samples as bytes: big-endian, narrow samples packed from the left."""
    height = samples.shape[0]
    flat = samples.reshape(height, -1)
    if bits == 16:
        return [row.astype(">u2").tobytes() for row in flat]
    if bits == 8:
        return [row.astype(np.uint8).tobytes() for row in flat]
    spread = (flat[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    packed = np.packbits(spread.reshape(height, -1).astype(np.uint8), axis=1)
    return [row.tobytes() for row in packed]


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(
        ">I", zlib.crc32(kind + data))


def _filtered(rows, distance):
    """Each row with another of the five filters; decoders must undo them all."""
    out, before = b"", b""
    for index, row in enumerate(rows):
        kind = index % 5
        left = np.frombuffer(b"\0" * distance + row, np.uint8)[:len(row)].astype(int)
        above = np.frombuffer(before or b"\0" * len(row), np.uint8).astype(int)
        corner = np.concatenate([np.zeros(distance, int), above])[:len(row)]
        guess = left + above - corner
        near = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
        paeth = np.choose(near.argmin(axis=0), [left, above, corner])
        predicted = [0, left, above, (left + above) // 2, paeth][kind]
        values = (np.frombuffer(row, np.uint8).astype(int) - predicted) & 255
        out += bytes([kind]) + values.astype(np.uint8).tobytes()
        before = row
    return out


def write_png(path, samples, colour, bits, palette=None, transparency=None, interlaced=False,
              extra=()):
    """`samples` is H x W or H x W x C; `palette` N x 3; `extra` other chunks before the data."""
    samples = samples.reshape(*samples.shape[:2], -1)
    height, width, channels = samples.shape
    assert channels == PNG_CHANNELS[colour]
    distance = max(1, channels * bits // 8)
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    data = b""
    for x, y, step_x, step_y in passes:
        part = samples[y::step_y, x::step_x]
        if part.size:
            data += _filtered(pack_rows(part, bits), distance)
    header = struct.pack(">2I5B", width, height, bits, colour, 0, 0, int(interlaced))
    chunks = [(b"IHDR", header), *extra]
    if palette is not None:
        chunks.append((b"PLTE", np.asarray(palette, np.uint8).tobytes()))
    if transparency is not None:
        chunks.append((b"tRNS", transparency))
    chunks += [(b"IDAT", zlib.compress(data, 9)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks))


class TiffWriter:
    """One page, uncompressed or deflated, in strips or tiles, in either byte order."""

    SHORT, LONG = 3, 4

    def __init__(self, photometric, bits, order="<", compression=1, planar=1, predictor=1):
        self.photometric, self.bits, self.order = photometric, bits, order
        self.compression, self.planar, self.predictor = compression, planar, predictor
        self.extra = {}

    def _bytes(self, block):
        if self.predictor == 2:
            before = np.zeros_like(block)
            before[:, 1:] = block[:, :-1]
            block = block - before  # wraps round, as the format wants
        rows = pack_rows(block, self.bits)
        if self.bits == 16 and self.order == "<":
            rows = [np.frombuffer(row, ">u2").astype("<u2").tobytes() for row in rows]
        data = b"".join(rows)
        return zlib.compress(data, 9) if self.compression == 8 else data

    def _blocks(self, samples, tile, rows):
        height, width, _ = samples.shape
        if tile is None:
            return [samples[y:y + rows] for y in range(0, height, rows)]
        across, down = tile
        padded = np.pad(samples, ((0, -height % down), (0, -width % across), (0, 0)),
                        mode="edge")
        return [padded[y:y + down, x:x + across] for y in range(0, height, down)
                for x in range(0, width, across)]

    def _directory(self, tags, blocks):
        """Header, data, values too long for their entry, and the entries themselves."""
        body, offsets = b"", []
        for block in blocks:
            offsets.append(8 + len(body))
            body += block + b"\0" * (len(block) % 2)
        tags[self.offset_tag] = (self.LONG, offsets)
        tags[self.offset_tag + (6 if self.offset_tag == 273 else 1)] = (
            self.LONG, [len(block) for block in blocks])
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            form = "H" if kind == self.SHORT else "I"
            value = struct.pack(f"{self.order}{len(values)}{form}", *values)
            if len(value) > 4:
                place, body = 8 + len(body), body + value + b"\0" * (len(value) % 2)
                value = struct.pack(self.order + "I", place)
            entries += struct.pack(self.order + "HHI", tag, kind, len(values))
            entries += value.ljust(4, b"\0")
        mark = b"II*\0" if self.order == "<" else b"MM\0*"
        head = mark + struct.pack(self.order + "I", 8 + len(body))
        count = struct.pack(self.order + "H", len(tags))
        return head + body + count + entries + b"\0" * 4

    def write(self, path, samples, tile=None, rows=1 << 16):
        samples = samples.reshape(*samples.shape[:2], -1)
        height, width, channels = samples.shape
        planes = [samples] if self.planar == 1 else np.split(samples, channels, axis=2)
        blocks = [self._bytes(block) for plane in planes
                  for block in self._blocks(plane, tile, rows)]
        short = {256: [width], 257: [height], 258: [self.bits] * channels,
                 259: [self.compression], 262: [self.photometric], 277: [channels],
                 284: [self.planar]}
        if self.compression == 8:
            short[317] = [self.predictor]
        if tile is None:
            short[278] = [min(rows, height)]
        else:
            short[322], short[323] = [tile[0]], [tile[1]]
        self.offset_tag = 273 if tile is None else 324
        tags = {tag: (self.SHORT, values) for tag, values in (short | self.extra).items()}
        path.write_bytes(self._directory(tags, blocks))
