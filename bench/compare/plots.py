"""Results → SVG: horizontal bars in groups, one group a cell, one bar a peer.

Written for pages of either colour: nothing is painted behind, and text and lines are a grey that
is read on white and on black. A bar carries its number, so that colours are not needed to read it.
"""
from xml.sax.saxutils import escape

from .tables import NAMES

COLOURS = {"libunet": "#d9480f", "openvino": "#1c7ed6", "ncnn": "#2f9e44", "mnn": "#9c36b5",
           "onnxruntime": "#0c8599", "torch": "#e8a000", "torch-compile": "#a07a52",
           "unet predict": "#f08c5a", "libunet-fp16": "#f08c5a", "eager": "#e8a000",
           "graph": "#0c8599", "compile": "#a07a52", "max-autotune": "#9c36b5"}
INK, WIDTH, LEFT, RIGHT, BAR, GAP, TOP = "#7d8590", 920, 250, 120, 15, 14, 70


def text(x, y, words, anchor="start", weight="normal", size=12):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
            f'font-size="{size}" fill="{INK}">{escape(words)}</text>')


def bar(y, length, name, words):
    return (f'<rect x="{LEFT}" y="{y}" width="{max(length, 1):.1f}" height="{BAR - 3}" rx="2" '
            f'fill="{COLOURS[name]}"/>' + text(LEFT + length + 6, y + BAR - 5, words, size=11))


def nice_step(largest):
    """A step of 1, 2 or 5 times a power of ten that gives at most eight grid lines."""
    step = 10.0 ** -3
    while largest / step > 8:
        for factor in (2, 5, 10):
            if largest / (step * factor) <= 8:
                break
        step *= factor
    return step


def grid(largest, scale, bottom):
    step = nice_step(largest)
    lines, value = [], 0.0
    while value <= largest * 1.0001:
        x = LEFT + value * scale
        lines.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" '
                     f'stroke="{INK}" stroke-opacity="0.3"/>')
        lines.append(text(x, bottom + 15, f"{value:g}", "middle", size=11))
        value += step
    return lines


def group_of_bars(y, label, values, scale, form):
    parts = [text(LEFT - 10, y + BAR * len(values) / 2 + 4, label, "end")]
    for index, (name, value) in enumerate(values):
        parts.append(bar(y + index * BAR, value * scale, name,
                         f"{NAMES[name].strip('`')} {form(value)}"))
    return parts


def bars(title, subtitle, groups, form):
    """groups: [(label, [(peer, value), …]), …]. Longer is worse in all that is drawn here."""
    groups = [(label, values) for label, values in groups if values]
    largest = max(value for _, values in groups for _, value in values)
    scale = (WIDTH - LEFT - RIGHT) / largest
    body, y = [], TOP
    for label, values in groups:
        body += group_of_bars(y, label, values, scale, form)
        y += BAR * len(values) + GAP
    head = [text(12, 24, title, weight="bold", size=16), text(12, 44, subtitle)]
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 24}" '
           f'viewBox="0 0 {WIDTH} {y + 24}" font-family="sans-serif">')
    return "\n".join([svg, *head, *grid(largest, scale, y - GAP + 6), *body, "</svg>"]) + "\n"
