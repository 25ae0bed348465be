#!/usr/bin/env python3
"""Draws synthetic fluorescence microscopy with its exact segmentation.

Each picture is a three-channel composite of adherent cells: DNA (blue), microtubules (green) and
mitochondria (a faint red). Its label image holds the class of every pixel: 0 background,
1 cytoplasm (the cell's body), 2 nucleus. Labels follow the drawn geometry and not the brightness,
so a thin, dim or defocused rim is still cytoplasm: what is there counts, not what shows.

The picture is made in the order in which nature makes it: geometry, then the stained structures,
then the optics (defocus, point spread, haze, uneven light), then the camera (shot and read noise),
then the contrast stretch of a viewer. Picture `index` of seed `seed` depends on nothing but
(seed, index, size), so any picture can be drawn again alone.
"""
import argparse
import pathlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

BACKGROUND, CYTOPLASM, NUCLEUS = 0, 1, 2
SHIPPED_SEED = 2026  # of demo/images; train.py draws from other seeds and refuses this one
MARGIN = 64  # drawn around the picture and cut off: cells cross the border, FFT blur may wrap
DEFOCUS = (0.0, 2.0, 4.0)  # blur of the focal layers, in pixels
INTERPHASE, METAPHASE, ANAPHASE = range(3)


@dataclass
class Cell:
    """One cell: a wavy ellipse, its nucleus or chromosomes, and how it is stained."""
    y: float
    x: float
    radius: float
    elongation: float
    angle: float
    waves: np.ndarray  # rows of (amplitude, phase) for 2, 3, ... lobes
    phase: int
    nuclei: list       # tuples (y, x, radius, elongation, angle)
    tubulin: float
    dna: float
    mitochondria: float
    layer: int


# ------------------------------------------------------------------------------- fields

def blur(field, sigma):
    """Gaussian blur through the FFT; wraps at the canvas border, which is cut off later."""
    if sigma <= 0:
        return field
    fy = np.fft.fftfreq(field.shape[0])[:, None]
    fx = np.fft.rfftfreq(field.shape[1])[None, :]
    response = np.exp(-2 * (np.pi * sigma) ** 2 * (fy * fy + fx * fx))
    return np.fft.irfft2(np.fft.rfft2(field) * response, s=field.shape)


def smooth_noise(rng, shape, sigma):
    """Random field of mean 0 and deviation 1 whose grain is about `sigma` pixels."""
    field = blur(rng.standard_normal(shape), sigma)
    return (field - field.mean()) / field.std()


def elliptic(y, x, centre_y, centre_x, elongation, angle):
    """Distance and direction from a centre, in the frame where the ellipse is a circle."""
    dy, dx = y - centre_y, x - centre_x
    along = (dx * np.cos(angle) + dy * np.sin(angle)) / np.sqrt(elongation)
    across = (dy * np.cos(angle) - dx * np.sin(angle)) * np.sqrt(elongation)
    return np.hypot(along, across), np.arctan2(across, along)


def window(shape, y, x, reach):
    """Slices of the canvas within `reach` of a point, and the coordinates in them."""
    rows = slice(max(0, int(y - reach)), max(0, min(shape[0], int(y + reach) + 1)))
    cols = slice(max(0, int(x - reach)), max(0, min(shape[1], int(x + reach) + 1)))
    return (rows, cols), np.mgrid[rows, cols].astype(float)


def splat(shape, y, x, weight):
    """Adds weighted points to an empty canvas, each shared by its four nearest pixels."""
    total = np.zeros(shape[0] * shape[1])
    row, col = np.floor(y).astype(int), np.floor(x).astype(int)
    fy, fx = y - row, x - col
    for dy, dx, part in ((0, 0, (1 - fy) * (1 - fx)), (0, 1, (1 - fy) * fx),
                         (1, 0, fy * (1 - fx)), (1, 1, fy * fx)):
        r, c = row + dy, col + dx
        inside = (r >= 0) & (r < shape[0]) & (c >= 0) & (c < shape[1])
        total += np.bincount((r * shape[1] + c)[inside], (weight * part)[inside], total.size)
    return total.reshape(shape)


# ------------------------------------------------------------------------------- the culture

def place_centres(rng, shape, radius, crowding):
    """Seeds cells at random where there is room; crowded ones settle near each other."""
    lawn = smooth_noise(rng, shape, 70)
    crowded = lawn > np.quantile(lawn, 1 - crowding)
    centres = []
    for _ in range(6000):
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        size = radius * np.clip(rng.lognormal(0, 0.2), 0.65, 1.5)
        if not crowded[int(y), int(x)] and rng.random() > 0.012:
            continue
        if all((y - b) ** 2 + (x - a) ** 2 > (0.66 * (size + s)) ** 2 for b, a, s in centres):
            centres.append((y, x, size))
    return centres


def make_nuclei(rng, y, x, radius, elongation, angle, phase):
    """The nucleus beside the cell's centre, or condensed chromosomes of a dividing cell."""
    if phase == METAPHASE:
        return [(y, x, 0.34 * radius, rng.uniform(2.2, 3.2), angle)]
    if phase == ANAPHASE:
        gap = radius * rng.uniform(0.28, 0.4)
        dy, dx = gap * np.cos(angle), -gap * np.sin(angle)
        return [(y + s * dy, x + s * dx, 0.27 * radius, 2.4, angle) for s in (-1, 1)]
    off = rng.normal(0, 0.07 * radius, 2)
    size = radius * rng.uniform(0.33, 0.44)
    stretch = 1 + 0.45 * (elongation - 1) * rng.uniform(0.5, 1) + rng.uniform(0, 0.25)
    if rng.random() < 0.03:  # a binucleate cell
        dy, dx = 0.75 * size * np.sin(angle), 0.75 * size * np.cos(angle)
        return [(y + off[0] + s * dy, x + off[1] + s * dx, 0.72 * size, 1.15, angle)
                for s in (-1, 1)]
    return [(y + off[0], x + off[1], size, stretch, angle + rng.normal(0, 0.25))]


def make_cell(rng, y, x, radius, spindle):
    """A cell at a given place: dividing ones are round and bright, others flat and irregular."""
    phase = rng.choice([INTERPHASE, METAPHASE, ANAPHASE], p=[0.965, 0.02, 0.015])
    angle = rng.uniform(0, np.pi)
    dividing = phase != INTERPHASE
    elongation = rng.uniform(1, 1.15) if dividing else rng.uniform(1, spindle)
    lobes = np.array([0.07, 0.10, 0.07, 0.04, 0.03]) * (0.15 if dividing else 1)
    waves = np.stack([lobes * rng.normal(0, 1, 5), rng.uniform(0, 2 * np.pi, 5)], 1)
    radius = radius * (0.62 if dividing else 1)
    gain = 1.7 if dividing else 1.0
    faint = 0.35 if rng.random() < 0.1 else 1.0  # cells differ in how much tubulin they show
    return Cell(y, x, radius, elongation, angle, waves, phase,
                make_nuclei(rng, y, x, radius, elongation, angle, phase),
                tubulin=faint * gain * rng.lognormal(0, 0.42), dna=gain * rng.lognormal(0, 0.36),
                mitochondria=rng.lognormal(0, 0.5),
                layer=int(rng.choice(3, p=[0.72, 0.19, 0.09])))


def make_culture(rng, shape):
    """All cells of one picture: how large, crowded and elongated they are is drawn first."""
    radius = rng.uniform(33, 50)
    crowding = rng.uniform(0.15, 0.8)
    spindle = rng.choice([1.5, 1.9, 2.8], p=[0.4, 0.35, 0.25])
    return [make_cell(rng, y, x, size, spindle)
            for y, x, size in place_centres(rng, shape, radius, crowding)]


def outline(cell, y, x, warp_y, warp_x):
    """Distance from the cell's centre in units of its radius: 1 on its rim.

    The warp frays the rim, less so of a cell that rounds up to divide. A nucleus counts as deep
    inside, so that a neighbour cannot cut a piece out of it.
    """
    slack = 1.0 if cell.phase == INTERPHASE else 0.2
    distance, direction = elliptic(y + slack * warp_y, x + slack * warp_x,
                                   cell.y, cell.x, cell.elongation, cell.angle)
    rim = np.ones_like(distance)
    for lobes, (amplitude, phase) in enumerate(cell.waves, start=2):
        rim += amplitude * np.cos(lobes * direction + phase)
    distance = distance / (cell.radius * np.clip(rim, 0.5, 1.6))
    for nucleus in cell.nuclei:
        away, _ = elliptic(y, x, nucleus[0], nucleus[1], *nucleus[3:])
        distance = np.where(away < 1.15 * nucleus[2], np.minimum(distance, 0.3), distance)
    return distance


def draw_bodies(rng, shape, cells):
    """Who owns each pixel (-1: nobody), how deep inside it lies, and how near a neighbour is."""
    warp_y = 4.5 * smooth_noise(rng, shape, 11) + 1.1 * smooth_noise(rng, shape, 3)
    warp_x = 4.5 * smooth_noise(rng, shape, 11) + 1.1 * smooth_noise(rng, shape, 3)
    nearest, second = np.full(shape, 9.0), np.full(shape, 9.0)
    owner = np.full(shape, -1)
    for i, cell in enumerate(cells):
        reach = 1.7 * cell.radius * np.sqrt(cell.elongation)
        box, (y, x) = window(shape, cell.y, cell.x, reach)
        distance = outline(cell, y, x, warp_y[box], warp_x[box])
        closer = distance < nearest[box]
        second[box] = np.where(closer, nearest[box], np.minimum(second[box], distance))
        nearest[box] = np.where(closer, distance, nearest[box])
        owner[box] = np.where(closer & (distance < 1), i, owner[box])
    return owner, nearest, second - nearest


# ------------------------------------------------------------------------------- the stains

def paint_chromatin(rng, cell, nucleus, y, x, grain):
    """DNA stain of one nucleus: mottled, with bright spots and dark nucleoli."""
    centre_y, centre_x, radius, elongation, angle = nucleus
    distance, _ = elliptic(y, x, centre_y, centre_x, elongation, angle)
    distance = distance / radius * (1 + 0.035 * grain[1])
    inside = distance < 1
    if cell.phase != INTERPHASE:
        return inside, inside * 1.5 * (1 + 0.12 * grain[0])
    stain = (1 - 0.35 * np.clip(distance, 0, 1) ** 4) * (0.78 + 0.12 * grain[0] + 0.08 * grain[1])
    for depth, size, count in ((-0.5, 0.16, rng.integers(1, 5)), (0.45, 0.07, rng.poisson(5))):
        for _ in range(count):
            at, turn = radius * 0.7 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
            spot = np.hypot(y - centre_y - at * np.sin(turn), x - centre_x - at * np.cos(turn))
            stain *= 1 + depth * np.exp(-0.5 * (spot / (size * radius)) ** 2)
    return inside, inside * stain


def paint_dna(rng, shape, cells, owner):
    """The DNA channel, and the mask of nuclei."""
    stain, mask = np.zeros(shape), np.zeros(shape, bool)
    fine, coarse = smooth_noise(rng, shape, 1.6), smooth_noise(rng, shape, 7)
    for i, cell in enumerate(cells):
        for nucleus in cell.nuclei:
            box, (y, x) = window(shape, nucleus[0], nucleus[1], 2.2 * nucleus[2])
            if y.size == 0:
                continue
            inside, light = paint_chromatin(rng, cell, nucleus, y, x, (fine[box], coarse[box]))
            inside &= owner[box] == i
            mask[box] |= inside
            stain[box] = np.where(inside, cell.dna * light, stain[box])
    return stain, mask


def walk(rng, y, x, heading, steps, stride, bend, drift):
    """Paths of stiff filaments: arrays (filament, step) of rows and columns."""
    turns = bend * rng.standard_normal((len(y), steps)) + drift * rng.standard_normal((len(y), 1))
    heading = heading[:, None] + np.cumsum(turns, 1)
    return (y[:, None] + stride * np.cumsum(np.sin(heading), 1),
            x[:, None] + stride * np.cumsum(np.cos(heading), 1))


def within_cell(owner, i, y, x):
    """1 along each path until it first leaves the cell, 0 from there on."""
    row = np.clip(np.rint(y).astype(int), 0, owner.shape[0] - 1)
    col = np.clip(np.rint(x).astype(int), 0, owner.shape[1] - 1)
    return np.cumprod(owner[row, col] == i, 1)


def microtubules(rng, cell):
    """Filaments that grow from the centrosome beside the nucleus, or from two spindle poles."""
    y, x, radius, _, angle = cell.nuclei[0]
    count = int(rng.uniform(85, 125) * (cell.radius / 42) ** 1.2)
    turn = rng.uniform(0, 2 * np.pi)
    if cell.phase == INTERPHASE:
        poles = [(y + 0.9 * radius * np.sin(turn), x + 0.9 * radius * np.cos(turn))]
    else:
        reach = 0.55 * cell.radius
        poles = [(cell.y + s * reach * np.cos(angle), cell.x - s * reach * np.sin(angle))
                 for s in (-1, 1)]
    pole = np.array(poles)[rng.integers(0, len(poles), count)]
    start = pole + rng.normal(0, 0.28 * cell.radius, (count, 2)) * rng.random((count, 1))
    steps = int(2.4 * cell.radius * np.sqrt(cell.elongation) / 0.8)
    heading = rng.uniform(0, 2 * np.pi, count)
    paths = walk(rng, start[:, 0], start[:, 1], heading, steps, 0.8, 0.045, 0.008)
    length = rng.gamma(5, 0.2, count)[:, None] * 1.25 * cell.radius * np.sqrt(cell.elongation)
    return paths, (np.arange(steps)[None, :] * 0.8 < length)


def paint_filaments(rng, shape, cells, owner):
    """The microtubule network; crossings and the centrosome are brighter, as light adds."""
    rows, cols, weights = [], [], []
    for i, cell in enumerate(cells):
        (y, x), grown = microtubules(rng, cell)
        weight = within_cell(owner, i, y, x) * grown * rng.uniform(0.5, 1.4, (len(y), 1))
        keep = weight > 0
        rows.append(y[keep]), cols.append(x[keep]), weights.append(weight[keep])
    if not rows:
        return np.zeros(shape)
    return splat(shape, np.concatenate(rows), np.concatenate(cols), np.concatenate(weights))


def paint_mitochondria(rng, shape, cells, owner, nuclei):
    """Short bent threads that crowd around the nucleus."""
    rows, cols, weights = [np.empty(0)], [np.empty(0)], [np.empty(0)]
    for i, cell in enumerate(cells):
        y, x, radius = cell.nuclei[0][:3]
        count = int(rng.uniform(60, 120))
        away = radius * (0.9 + rng.gamma(1.6, 0.45, count))
        turn = rng.uniform(0, 2 * np.pi, count)
        path_y, path_x = walk(rng, y + away * np.sin(turn), x + away * np.cos(turn),
                              rng.uniform(0, 2 * np.pi, count), 18, 0.6, 0.16, 0.05)
        grown = np.arange(18)[None, :] < rng.integers(4, 18, count)[:, None]
        weight = within_cell(owner, i, path_y, path_x) * grown * cell.mitochondria
        keep = weight > 0
        rows.append(path_y[keep]), cols.append(path_x[keep]), weights.append(weight[keep])
    threads = splat(shape, *(np.concatenate(part) for part in (rows, cols, weights)))
    return threads * np.where(nuclei, 0.15, 1)


def paint_tubulin(rng, shape, cells, owner, depth, gap, nuclei):
    """The cell body's channel: free tubulin where the cell is thick, filaments, and its rim."""
    brightness = np.array([cell.tubulin for cell in cells] + [0.0])[owner]
    thickness = np.clip(1 - depth, 0, 1) ** 0.7 * np.clip(gap / 0.12, 0.55, 1)
    mottled = 1 + 0.16 * smooth_noise(rng, shape, 2.2) + 0.14 * smooth_noise(rng, shape, 8)
    ruffles = np.exp(-((1 - depth) / 0.05) ** 2) * np.clip(smooth_noise(rng, shape, 9), 0, 2)
    hollow = 1 - 0.55 * blur(nuclei.astype(float), 1.5)
    filaments = paint_filaments(rng, shape, cells, owner)
    body = 0.05 + 0.46 * thickness * mottled + 0.16 * ruffles
    vacuoles = np.clip(smooth_noise(rng, shape, 2.6) - 2.1, 0, 1) * 0.9
    return brightness * (body + 0.17 * filaments) * hollow * (1 - np.clip(vacuoles, 0, 0.7))


def paint_debris(rng, shape):
    """What else glows: dust, dead cells' crumbs and, seldom, lint. All of it is background."""
    layers = [np.zeros(shape) for _ in range(3)]
    for _ in range(rng.poisson(6)):
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        size, light = rng.uniform(1, 3.2), rng.uniform(0.5, 1.6)
        box, (rows, cols) = window(shape, y, x, 14)
        crumb = light * np.exp(-0.5 * (np.hypot(rows - y, cols - x) / size) ** 2)
        for layer, share in zip(layers, rng.dirichlet((0.5, 0.6, 0.9))):
            layer[box] += 1.5 * share * crumb
    if rng.random() < 0.15:
        at = rng.uniform(0.2, 0.8, 2) * shape
        path = walk(rng, at[:1], at[1:], rng.uniform(0, 6.28, 1), 360, 0.5, 0.06, 0.002)
        lint = blur(splat(shape, path[0].ravel(), path[1].ravel(), np.ones(360)), 1.4)
        layers[2] += rng.uniform(0.8, 1.6) * lint
        layers[1] += rng.uniform(0.1, 0.6) * lint
    return layers


def paint_ghosts(rng, shape):
    """Light of rounded cells that float far above the focal plane."""
    green, blue = np.zeros(shape), np.zeros(shape)
    for _ in range(rng.poisson(1.6)):
        y, x, size = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(13, 24)
        box, (rows, cols) = window(shape, y, x, 4 * size)
        distance = np.hypot(rows - y, cols - x) / size
        green[box] += rng.uniform(0.12, 0.36) * np.exp(-0.5 * distance ** 2)
        blue[box] += rng.uniform(0.12, 0.36) * np.exp(-0.5 * (distance / 0.7) ** 2)
    return np.zeros(shape), green, blue


# ------------------------------------------------------------------------------- the microscope

def focus(channel, cells, owner, sharpest):
    """Blurs each focal layer by its own amount and adds the haze of a wide-field microscope."""
    layer_of = np.array([cell.layer for cell in cells] + [0])[owner]
    seen = np.zeros_like(channel)
    for layer, defocus in enumerate(DEFOCUS):
        seen += blur(np.where(layer_of == layer, channel, 0), np.hypot(defocus, sharpest))
    return seen + 0.16 * blur(channel, 16)


def uneven_light(rng, shape):
    """Vignetting about an axis that is off centre, and a tilt of the lamp."""
    y, x = np.mgrid[-1:1:shape[0] * 1j, -1:1:shape[1] * 1j]
    y0, x0 = rng.normal(0, 0.25, 2)
    falloff = rng.uniform(0.12, 0.42)
    tilt = rng.normal(0, 0.08, 2)
    light = 1 - falloff * ((y - y0) ** 2 + (x - x0) ** 2) / 2 + tilt[0] * y + tilt[1] * x
    return np.clip(light, 0.2, None)


def expose(rng, light, photons, read_noise):
    """The camera: photon counting noise, read noise, back in units of the signal."""
    counts = rng.poisson(np.clip(light, 0, None) * photons)
    return (counts + rng.normal(0, read_noise, light.shape)) / photons


def stretch(channel, low, high, gamma):
    """A viewer's contrast: black just above the background, white near the brightest cells."""
    black, white = np.quantile(channel, (low, high))
    span = max(white - black, 0.25)
    return np.clip((channel - black) / span, 0, 1) ** gamma


def composite(red, green, blue):
    """Merges the stains; blue carries some green, for pure blue is nearly black to the eye."""
    rgb = np.stack([red + 0.05 * blue, green + 0.26 * blue + 0.1 * red, blue + 0.04 * green], 2)
    return np.rint(255 * np.clip(rgb, 0, 1)).astype(np.uint8)


def photograph(rng, channels, light, crop):
    """Three exposures, each with its own background glow and photon budget."""
    dim = rng.uniform(0.25, 1.0)
    budgets = (rng.uniform(80, 160), rng.uniform(90, 300) * dim, rng.uniform(90, 300) * dim)
    gains = (0.55, 1.0, 1.0)
    shown = []
    for channel, photons, gain in zip(channels, budgets, gains):
        glow = rng.uniform(0.03, 0.09) * (1 + 0.3 * smooth_noise(rng, channel.shape, 60))
        seen = expose(rng, ((channel + glow) * light)[crop], photons, rng.uniform(1.2, 2.4))
        shown.append(gain * stretch(seen, rng.uniform(0.1, 0.2), 0.997, rng.uniform(0.75, 0.95)))
    return composite(*shown)


def draw(height, width, seed, index):
    """Picture `index` of seed `seed`: RGB (height, width, 3), classes (height, width), uint8."""
    rng = np.random.default_rng([seed, index])
    shape = (height + 2 * MARGIN, width + 2 * MARGIN)
    cells = make_culture(rng, shape)
    owner, depth, gap = draw_bodies(rng, shape, cells)
    dna, nuclei = paint_dna(rng, shape, cells, owner)
    tubulin = paint_tubulin(rng, shape, cells, owner, depth, gap, nuclei)
    threads = 0.16 * paint_mitochondria(rng, shape, cells, owner, nuclei) + 0.12 * tubulin
    tubulin, dna = tubulin + 0.08 * dna, dna + 0.05 * tubulin  # filters leak
    psf = rng.uniform(0.7, 1.15)
    channels = [focus(stain, cells, owner, psf) + debris + ghost for stain, debris, ghost in
                zip((threads, tubulin, dna), paint_debris(rng, shape), paint_ghosts(rng, shape))]
    crop = (slice(MARGIN, MARGIN + height), slice(MARGIN, MARGIN + width))
    rgb = photograph(rng, channels, uneven_light(rng, shape), crop)
    label = np.where(nuclei, NUCLEUS, np.where(owner >= 0, CYTOPLASM, BACKGROUND))[crop]
    return rgb, label.astype(np.uint8)


# ------------------------------------------------------------------------------- the program

def parse_size(text):
    """'WIDTHxHEIGHT' as a pair of numbers."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no WIDTHxHEIGHT, such as 512x512") from None
    if min(width, height) < 16 or max(width, height) > 4096:
        raise argparse.ArgumentTypeError(f"'{text}': each side must be 16 to 4096 pixels")
    return width, height


def parse_seed(text):
    """A seed of one 32-bit word, so that two different seeds never share a random stream."""
    if not text.isdecimal() or int(text) >= 2 ** 32:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 0 to {2 ** 32 - 1}")
    return int(text)


def main():
    parser = argparse.ArgumentParser(
        description="Draw synthetic fluorescence microscopy: OUT/images/NAME.png and "
                    "OUT/labels/NAME.png, where a label's pixel is 0 background, 1 cytoplasm "
                    "or 2 nucleus.")
    parser.add_argument("--count", type=int, default=6, help="how many pictures (default 6)")
    parser.add_argument("--size", type=lambda text: [parse_size(s) for s in text.split(",")],
                        default=[(512, 512)], metavar="WxH[,WxH...]",
                        help="size of each picture; the last size given serves those that remain "
                             "(default 512x512)")
    parser.add_argument("--seed", type=parse_seed, default=SHIPPED_SEED,
                        help=f"which pictures (default {SHIPPED_SEED})")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."),
                        help="folder to write to (default: this one)")
    parser.add_argument("--name", default="cells", help="files are NAME-1.png, ... (default cells)")
    args = parser.parse_args()
    for folder in ("images", "labels"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    for index in range(args.count):
        width, height = args.size[min(index, len(args.size) - 1)]
        rgb, label = draw(height, width, args.seed, index)
        name = f"{args.name}-{index + 1}.png"
        Image.fromarray(rgb).save(args.out / "images" / name, optimize=True)
        Image.fromarray(label).save(args.out / "labels" / name, optimize=True)
        print(args.out / "images" / name)


if __name__ == "__main__":
    main()
