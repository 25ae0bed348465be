"""images/ and resize/: what Pillow makes of every kind of file, and of every size."""
import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image

from common import fresh_folder, generator, save_array, write_index
from image_writers import TiffWriter, write_png

SIZES = {  # of the source: width, height -> results
    "rgb": (47, 33, [(23, 16), (24, 17), (47, 33), (94, 66), (61, 20), (13, 50), (1, 1), (47, 7),
                     (100, 33), (1, 33)]),
    "grey": (40, 30, [(20, 15), (13, 7), (80, 60), (41, 29), (1, 30), (3, 1), (64, 15)]),
    "edges": (32, 24, [(16, 12), (50, 37), (31, 25), (5, 4)]),
    "dot": (1, 1, [(5, 3), (1, 1)]),
    "large": (150, 110, [(75, 55), (7, 5), (37, 110)]),
    "float": (31, 23, [(15, 11), (44, 40), (31, 5)]),
}


def picture(name, height, width, channels, top=255):
    """Waves with noise over the whole range of values, in the dtype that holds `top`."""
    rng = generator("picture", name)
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.sin(x / rng.uniform(3, 9) + y / rng.uniform(3, 9) + rng.uniform(0, 6))
              for _ in range(channels)]
    waves = 0.5 + 0.55 * np.stack(planes, axis=2) + 0.08 * rng.standard_normal(
        (height, width, channels))
    samples = np.round(np.clip(waves, 0, 1) * top)
    return samples.astype(np.uint16 if top > 255 else np.uint8)


def colours(name, count):
    return generator("palette", name).integers(0, 256, (count, 3)).astype(np.uint8)


def grey_to_rgb(samples, top):
    """A narrow grey sample fills eight bits by repeating itself."""
    wide = (samples.astype(int) * 255 // top).astype(np.uint8)
    return np.repeat(wide.reshape(*wide.shape[:2], 1), 3, axis=2)


class Recorder:
    """Writes an image, checks Pillow's reading of it where it is known, and lists both."""

    def __init__(self, folder):
        self.folder, self.rows = folder, []

    def add(self, name, known=None, grey=False):
        with Image.open(self.folder / name) as image:
            rgb = np.asarray(image.convert("RGB"))
            luma = np.asarray(image.convert("L"))
        assert known is None or np.array_equal(rgb, known), name
        self._save(name, "rgb", rgb)
        if grey:
            self._save(name, "grey", luma)

    def add_u16(self, name, samples):
        """16-bit samples are recorded as they are: v / 65535 is what they mean."""
        with Image.open(self.folder / name) as image:
            if image.mode.startswith("I;16"):
                assert np.array_equal(np.asarray(image), samples.squeeze()), name
            else:
                assert np.array_equal(np.asarray(image)[:, :, 0], samples[:, :, 0] >> 8), name
        self._save(name, "u16", samples.squeeze())

    def _save(self, name, kind, array):
        answer = f"{name.rsplit('.', 1)[0]}.{kind}.npy"
        save_array(self.folder / answer, array)
        self.rows.append((name, answer, kind))


def record_png_grey(out):
    for bits in (1, 2, 4, 8):
        top = (1 << bits) - 1
        for interlaced in (False, True):
            name = f"png-grey{bits}{'-interlaced' if interlaced else ''}.png"
            samples = picture(name, 19, 29, 1, top)
            write_png(out.folder / name, samples, 0, bits, interlaced=interlaced)
            out.add(name, grey_to_rgb(samples, top), grey=bits == 8)
    samples = picture("png-grey8-transparent", 11, 14, 1)
    key = struct.pack(">H", int(samples[3, 3, 0]))
    write_png(out.folder / "png-grey8-transparent.png", samples, 0, 8, transparency=key)
    out.add("png-grey8-transparent.png", grey_to_rgb(samples, 255))
    samples = picture("png-grey-alpha8", 19, 29, 2)
    write_png(out.folder / "png-grey-alpha8.png", samples, 4, 8)
    out.add("png-grey-alpha8.png", grey_to_rgb(samples[:, :, 0], 255), grey=True)


def record_png_colour(out):
    for name, colour, extra in (
            ("png-rgb8.png", 2, ()), ("png-rgb8-interlaced.png", 2, ()),
            ("png-rgb8-gamma.png", 2, ((b"gAMA", struct.pack(">I", 100000)),)),
            ("png-rgba8.png", 6, ()), ("png-rgba8-interlaced.png", 6, ())):
        samples = picture(name, 21, 30, 3 if colour == 2 else 4)
        write_png(out.folder / name, samples, colour, 8, interlaced="interlaced" in name,
                  extra=extra)
        out.add(name, samples[:, :, :3], grey=name in ("png-rgb8.png", "png-rgba8.png"))
    samples = picture("png-rgb8-transparent", 9, 9, 3)
    key = struct.pack(">3H", *map(int, samples[2, 2]))
    write_png(out.folder / "png-rgb8-transparent.png", samples, 2, 8, transparency=key)
    out.add("png-rgb8-transparent.png", samples)
    samples = picture("png-dot", 1, 1, 3)
    write_png(out.folder / "png-dot.png", samples, 2, 8)
    out.add("png-dot.png", samples)


def record_png_palette(out):
    for bits in (1, 2, 4, 8):
        for kind in ("", "-transparent", "-interlaced"):
            name = f"png-palette{bits}{kind}.png"
            count = 200 if bits == 8 else 1 << bits
            palette = colours(name, count)
            samples = picture(name, 18, 27, 1, count - 1)
            alpha = bytes(range(0, 250, 250 // count))[:count] if kind == "-transparent" else None
            write_png(out.folder / name, samples, 3, bits, palette, alpha,
                      interlaced=kind == "-interlaced")
            out.add(name, palette[samples[:, :, 0]], grey=bits == 8)


def record_png_16(out):
    for name, colour, channels in (
            ("png-grey16.png", 0, 1), ("png-grey16-interlaced.png", 0, 1),
            ("png-grey-alpha16.png", 4, 2), ("png-rgb16.png", 2, 3), ("png-rgba16.png", 6, 4)):
        samples = picture(name, 17, 23, channels, 65535)
        write_png(out.folder / name, samples, colour, 16, interlaced="interlaced" in name)
        out.add_u16(name, samples)


def record_jpeg(out):
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown after a quarter turn; nobody here turns it
    for name, size, options in (
            ("grey", (33, 47), {"quality": 85}),
            ("rgb-444", (33, 47), {"subsampling": "4:4:4", "quality": 90}),
            ("rgb-422", (33, 47), {"subsampling": "4:2:2", "quality": 90}),
            ("rgb-420", (33, 47), {"subsampling": "4:2:0", "quality": 75}),
            ("rgb-420-even", (48, 64), {"subsampling": "4:2:0", "quality": 95}),
            ("rgb-420-coarse", (40, 40), {"subsampling": "4:2:0", "quality": 10}),
            ("rgb-422-narrow", (5, 3), {"subsampling": "4:2:2", "quality": 80}),
            ("rgb-420-dot", (1, 1), {"subsampling": "4:2:0", "quality": 80}),
            ("rgb-restart", (33, 47), {"subsampling": "4:2:0", "restart_marker_blocks": 1}),
            ("rgb-optimised", (33, 47), {"subsampling": "4:2:0", "optimize": True}),
            ("progressive-420", (33, 47), {"subsampling": "4:2:0", "progressive": True}),
            ("progressive-444", (33, 47), {"subsampling": "4:4:4", "progressive": True}),
            ("progressive-grey", (33, 47), {"progressive": True}),
            ("adobe-rgb", (33, 47), {"keep_rgb": True, "quality": 90}),
            ("cmyk", (33, 47), {"quality": 90}),
            ("cmyk-progressive", (33, 47), {"quality": 90, "progressive": True}),
            ("orientation-6", (20, 30), {"exif": turned, "quality": 90})):
        channels = 1 if "grey" in name else 4 if "cmyk" in name else 3
        samples = picture(f"jpeg-{name}", *size, channels)
        mode = {1: "L", 3: "RGB", 4: "CMYK"}[channels]
        image = Image.frombytes(mode, size[::-1], samples.tobytes())
        image.save(out.folder / f"jpeg-{name}.jpg", **options)
        out.add(f"jpeg-{name}.jpg", grey=name in ("grey", "rgb-420", "cmyk"))


def record_tiff_pillow(out):
    """LZW, PackBits and Pillow's way of laying a file out."""
    for name, mode, options in (
            ("grey8", "L", {}), ("grey8-lzw", "L", {"compression": "tiff_lzw"}),
            ("grey8-packbits", "L", {"compression": "packbits"}),
            ("rgb8-lzw", "RGB", {"compression": "tiff_lzw"}),
            ("rgb8-deflate", "RGB", {"compression": "tiff_adobe_deflate"}),
            ("rgb8-packbits", "RGB", {"compression": "packbits"}),
            ("rgb8-lzw-predictor", "RGB", {"compression": "tiff_lzw", "tiffinfo": {317: 2}}),
            ("rgba8-lzw", "RGBA", {"compression": "tiff_lzw"}),
            ("bilevel-fax4", "1", {"compression": "group4"})):
        channels = {"L": 1, "RGB": 3, "RGBA": 4, "1": 1}[mode]
        samples = picture(f"tiff-{name}", 22, 31, channels)
        known = samples[:, :, :3] if channels > 1 else grey_to_rgb(samples, 255)
        image = Image.fromarray(samples.squeeze())
        if mode == "1":
            image = image.point(lambda value: 255 if value > 127 else 0).convert("1")
            known = np.where(known > 127, 255, 0)
        image.save(out.folder / f"tiff-{name}.tif", **options)
        out.add(f"tiff-{name}.tif", known, grey=name == "rgba8-lzw")
    palette = colours("tiff-palette8", 256)
    indices = picture("tiff-palette8", 22, 31, 1)
    image = Image.fromarray(indices.squeeze())
    image.putpalette(palette.tobytes())
    image.save(out.folder / "tiff-palette8.tif")
    out.add("tiff-palette8.tif", palette[indices[:, :, 0]], grey=True)


def record_tiff(out):
    """Strips, tiles, planes, both byte orders, both senses of grey."""
    def save(name, writer, samples, known, **layout):
        writer.write(out.folder / f"tiff-{name}.tif", samples, **layout)
        out.add(f"tiff-{name}.tif", known)

    for name, order, rows in (("rgb8-strips", "<", 5), ("rgb8-big-endian", ">", 7)):
        samples = picture(name, 22, 31, 3)
        save(name, TiffWriter(2, 8, order), samples, samples, rows=rows)
    samples = picture("rgb8-tiles", 40, 35, 3)
    save("rgb8-tiles", TiffWriter(2, 8), samples, samples, tile=(16, 16))
    save("rgb8-tiles-deflate", TiffWriter(2, 8, compression=8, predictor=2), samples, samples,
         tile=(32, 16))
    save("rgb8-planes", TiffWriter(2, 8, planar=2), samples, samples, rows=13)
    samples = picture("grey8-tiles", 40, 35, 1)
    save("grey8-tiles", TiffWriter(1, 8), samples, grey_to_rgb(samples, 255), tile=(16, 32))
    save("grey8-min-is-white", TiffWriter(0, 8), samples, 255 - grey_to_rgb(samples, 255))
    bits = picture("bilevel", 22, 31, 1, 1)
    save("bilevel", TiffWriter(1, 1), bits, grey_to_rgb(bits, 1))
    save("bilevel-min-is-white", TiffWriter(0, 1), bits, 255 - grey_to_rgb(bits, 1), rows=6)
    writer = TiffWriter(2, 8)
    writer.extra = {338: [2]}
    samples = picture("rgba8", 22, 31, 4)
    save("rgba8", writer, samples, samples[:, :, :3])
    writer = TiffWriter(2, 8)
    writer.extra = {274: [6]}
    samples = picture("orientation-6", 22, 31, 3)
    save("orientation-6", writer, samples, np.rot90(samples, -1))


def tiff_of(pages, kinds):
    """A page for each picture; a kind is the tag NewSubfileType, 1 for a smaller version."""
    images = [Image.fromarray(samples) for samples in pages]
    for image, kind in zip(images, kinds):
        image.encoderinfo = {"tiffinfo": {254: kind}}
    buffer = io.BytesIO()
    images[0].save(buffer, "TIFF", save_all=True, append_images=images[1:])
    return buffer.getvalue()


def record_tiff_thumbnails(out):
    """Smaller versions of a picture beside it are no pages of their own."""
    samples = picture("tiff-thumbnails", 22, 31, 3)
    data = tiff_of([samples, samples[::2, ::2], samples[::4, ::4]], [0, 1, 1])
    (out.folder / "tiff-thumbnails.tif").write_bytes(data)
    out.add("tiff-thumbnails.tif", samples)


def record_tiff_16(out):
    for name, writer, channels, layout in (
            ("grey16", TiffWriter(1, 16), 1, {"rows": 6}),
            ("grey16-big-endian", TiffWriter(1, 16, ">"), 1, {}),
            ("grey16-deflate", TiffWriter(1, 16, compression=8, predictor=2), 1, {"rows": 9}),
            ("grey16-tiles", TiffWriter(1, 16), 1, {"tile": (16, 16)}),
            ("rgb16", TiffWriter(2, 16), 3, {})):
        samples = picture(f"tiff-{name}", 20, 27, channels, 65535)
        writer.write(out.folder / f"tiff-{name}.tif", samples, **layout)
        out.add_u16(f"tiff-{name}.tif", samples)


def encoded(samples, form, **options):
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, form, **options)
    return buffer.getvalue()


def png_with_size(png, width, height):
    """The same file with another size, and the checksum that goes with it."""
    body = b"IHDR" + struct.pack(">2I", width, height) + png[24:29]
    return png[:12] + body + struct.pack(">I", zlib.crc32(body)) + png[33:]


def tiff_with_width(tiff, width):
    at = tiff.index(struct.pack("<HHI", 256, 4, 1))
    return tiff[:at + 8] + struct.pack("<I", width) + tiff[at + 12:]


def broken_images():
    """name, word of the message, bytes: images that must be refused, and named."""
    noise = generator("broken").integers(0, 256, (16, 16, 3)).astype(np.uint8)
    png, jpeg, tiff = (encoded(noise, form) for form in ("PNG", "JPEG", "TIFF"))
    middle = len(png) // 2
    yield "nothing.png", "empty", b""
    yield "prose.png", "not a", b"A picture is worth a thousand words; this is not one.\n"
    yield "half-1.png", "broken", png[:middle]
    yield "header-1.png", "broken", png[:20]
    yield "flipped.png", "broken", png[:middle] + bytes([png[middle] ^ 255]) + png[middle + 1:]
    yield "no-width.png", "broken", png_with_size(png, 0, 16)
    yield "vast.png", "large", png_with_size(png, 1 << 30, 1 << 30)
    yield "half-2.jpg", "broken", jpeg[:-200]
    yield "header-2.jpg", "broken", jpeg[:100]
    yield "half-3.tif", "broken", tiff[:-200]
    yield "header-3.tif", "broken", tiff[:20]
    yield "vast.tif", "large", tiff_with_width(tiff, 1 << 30)


def pages_of_a_tiff():
    """As broken_images, but Pillow reads the first page of these and says nothing."""
    noise = generator("pages").integers(0, 256, (3, 8, 8)).astype(np.uint8)
    yield "stack-2.tif", "pages", tiff_of(noise[:2], [0, 0])
    yield "stack-3.tif", "pages", tiff_of(noise, [0, 1, 2])  # the third is page by its own tag
    whole = tiff_of(noise[:2], [0, 0])
    yield "stack-cut.tif", "broken", whole[:-len(whole) // 4]


def pillow_refuses(path):
    try:
        with Image.open(path) as image:
            image.load()
    except Exception:  # its kinds of errors are many; that there is one is what counts
        return True
    return False


def record_broken():
    folder = fresh_folder("bad-images")
    rows = []
    for name, word, data in broken_images():
        path = folder / name
        path.write_bytes(data)
        assert word.lower() not in name.lower(), name
        assert pillow_refuses(path), name
        rows.append((name, word))
    for name, word, data in pages_of_a_tiff():
        (folder / name).write_bytes(data)
        assert word.lower() not in name.lower() and not pillow_refuses(folder / name), name
        rows.append((name, word))
    write_index(folder, rows, separator="\t")


def record_resize():
    folder = fresh_folder("resize")
    rows = []
    for name, (width, height, sizes) in SIZES.items():
        source = resize_source(name, height, width)
        save_array(folder / f"{name}.npy", source)
        image = Image.fromarray(source)
        for size in sizes:
            result = image.resize(size, Image.Resampling.BICUBIC)
            answer = f"{name}-{size[0]}x{size[1]}.npy"
            save_array(folder / answer, np.asarray(result))
            rows.append((f"{name}.npy", answer))
    write_index(folder, rows)


def resize_source(name, height, width):
    if name == "edges":  # black and white noise: overshoot clips at both ends
        return (generator(name).integers(0, 2, (height, width, 3)) * 255).astype(np.uint8)
    if name == "float":
        samples = picture(name, height, width, 1, 65535)[:, :, 0]
        return samples.astype(np.float32) / np.float32(65535)
    samples = picture(name, height, width, 3 if name == "rgb" else 1)
    return samples if name == "rgb" else samples[:, :, 0]


def record():
    warnings.simplefilter("ignore")  # Pillow's advice on palettes, and on broken files
    out = Recorder(fresh_folder("images"))
    for family in (record_png_grey, record_png_colour, record_png_palette, record_png_16,
                   record_jpeg, record_tiff_pillow, record_tiff, record_tiff_thumbnails,
                   record_tiff_16):
        family(out)
    write_index(out.folder, out.rows)
    record_broken()
    record_resize()
