#!/usr/bin/env python3
"""Writes what bench/results/ says: the README's tables, a page and plots for each machine.

    python3 bench/report.py            # after bench/peers.py --matrix, bench/gpu.py --out
    python3 bench/report.py --check    # fails where a file does not say what the results say

A README's part stands between two comments; the first names the folder that it comes from. Needs
nothing but Python.
"""
import argparse
import json
import pathlib
import re
import sys
import textwrap

from compare import gpu_pages, plots, tables

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PART = re.compile(r"(<!-- bench/report.py: (bench/\S+) -->\n).*?(<!-- bench/report.py: end -->)",
                  re.DOTALL)
BOUNDARIES = {"logits": "float32 in memory → float32 logits in memory",
              "mask": "uint8 image in memory → mask in memory"}


def read(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def on_gpu(results):
    return "gpu" in results[0]["machine"]


def paragraph(words):
    return textwrap.wrap(words, 105, break_on_hyphens=False)


def chosen(results, precision, **wanted):
    return [result for result in results if result["precision"] == precision and
            all(result[key] == value for key, value in wanted.items())]


def precisions(results):
    return [name for name in gpu_pages.PRECISIONS if chosen(results, name)]


# ---------------------------------------------------------------- the README's part


def readme_part(results, folder):
    """Batch 1 and logits; all else is on the machine's own page."""
    lines = paragraph(f"{tables.conditions(results)}. Milliseconds from float32 in memory to "
                      "float32 logits in memory, batch 1; in brackets libunet's time over the "
                      "peer's inside a round.")
    for precision in precisions(results):
        some = chosen(results, precision, batch=1)
        lines += ["", f"**{precision}**", "", *tables.time_table(some, "logits")]
        lines += ["", *tables.doubts(some)] if tables.doubts(some) else []
        if precision == "int8" and tables.evaluated(some):
            lines += ["", "Share of pixels on which int8 masks agree with those of fp32:", "",
                      *tables.evaluation_table(some)]
    cold = [result for result in results if result["batch"] == 1 and
            (result["width"], result["height"]) == (512, 512) and
            tables.peers_of([result], "cold")]
    if cold:
        lines += ["", *paragraph("From the start of a process to its first mask, and its peak of "
                                 "memory (Python and numpy are part of it everywhere but in "
                                 "`unet predict`):"), "", *tables.cold_table(cold)]
    return "\n".join([*lines, "", f"[All sizes, batches, masks and plots]({folder}/README.md)."])


def new_part(match):
    results = read(ROOT / match[2])
    if not results:
        raise SystemExit(f"README.md names {match[2]}, which holds no results")
    part = gpu_pages.readme_part if on_gpu(results) else readme_part
    return match[1] + part(results, match[2]) + "\n" + match[3]


def new_readme(text):
    if not PART.search(text):
        raise SystemExit("README.md: the comments that mark bench/report.py's part are not there")
    return PART.sub(new_part, text)


# ---------------------------------------------------------------- a machine's page


def ratios(results, boundary):
    """Bars: a peer's time over libunet's, so that 2 is twice as slow."""
    for result in sorted(results, key=tables.order):
        ours = result["peers"].get("libunet", {}).get(boundary)
        rows = [(name, result["peers"].get(name, {}).get(boundary)) for name in tables.NAMES]
        yield tables.place_name(result), [(name, 1 / row["ratio"]) for name, row in rows
                                          if ours and row]


def colds(results, key):
    for result in sorted(results, key=tables.order):
        rows = [(name, result["peers"].get(name, {}).get("cold")) for name in tables.NAMES
                if name != "torch-compile"]  # a minute of compiling would flatten all others
        yield tables.place_name(result), [(name, row[key]) for name, row in rows if row]


def page_plots(results):
    """{file name: SVG} of what was measured."""
    found = {}
    for precision in precisions(results):
        some = chosen(results, precision, batch=1)
        for boundary, words in BOUNDARIES.items():
            where = words.replace("in memory", "on the GPU") if on_gpu(results) else words
            found[f"{boundary}-{precision}.svg"] = (
                f"Time over libunet's, {precision}", f"{where}; batch 1; shorter is better",
                list(ratios(some, boundary)), lambda value: f"{value:.2f}")
        found[f"cold-{precision}.svg"] = (
            f"New process → first mask, {precision}", "milliseconds; shorter is better",
            list(colds(some, "first_mask_ms")), tables.number)
        found[f"memory-{precision}.svg"] = (
            f"Peak memory of a process that makes one mask, {precision}",
            "MiB, Python included; shorter is better", list(colds(some, "peak_mib")),
            "{:.0f}".format)
    return {name: plots.bars(*words) for name, words in found.items()
            if any(values for _, values in words[2])}


def left_out(results):
    """Each reason once."""
    found = sorted({(tables.NAMES.get(name, name), result["precision"], why) for result in results
                    for name, why in result["left_out"].items()})
    return [f"- {name}, {precision}: {why}" for name, precision, why in found]


def modes(results, precision):
    """A peer's int8 may come of another method in each place, so it can have several lines."""
    found = {(name, about["mode"]) for result in chosen(results, precision)
             for name, about in result["peers"].items() if "mode" in about}
    return [f"- {tables.NAMES[name]}: {mode}" for name in tables.NAMES
            for other, mode in sorted(found) if other == name]


def precision_part(results, precision):
    lines = []
    for boundary, words in BOUNDARIES.items():
        if tables.peers_of(results, boundary):
            lines += ["", f"## {precision}, {words}", "", *tables.time_table(results, boundary)]
    lines += ["", *tables.doubts(results)] if tables.doubts(results) else []
    if any("agreement" in about.get("logits", {}) for result in results
           for about in result["peers"].values()):
        lines += ["", f"## {precision}, agreement", "", *paragraph(
            "Share of pixels whose class equals that of PyTorch's float32, and the largest "
            "difference of a logit."), "", *tables.agreement_table(results)]
    if tables.evaluated(results):
        lines += ["", f"## {precision}, masks", "", *paragraph(
            "Share of pixels whose class is that of fp32, over images that nothing was calibrated "
            "on, and in the image where it is least."), "", *tables.evaluation_table(results)]
    if tables.peers_of(results, "cold"):
        lines += ["", f"## {precision}, new process → first mask, peak memory", "",
                  *tables.cold_table(results)]
    return lines


def features(machine):
    """What the processor has, and what kept libunet and its peers from using all of it."""
    held = ", ".join(f"{name}={value}" for name, value in machine["switches"].items())
    return f"Features: {', '.join(machine['features'])}." + (f" Held by {held}." if held else "")


def page(results, names):
    """All that was measured on one machine, as Markdown."""
    machine = results[0]["machine"]
    lines = ["# libunet beside its peers", "", *paragraph(
        f"{tables.conditions(results)}. {features(machine)} Medians in "
        "milliseconds; in brackets libunet's time over the peer's inside a round. Written by "
        "bench/report.py from the JSON files beside it.")]
    for precision in ("fp32", "int8"):
        if modes(results, precision):
            lines += ["", f"Modes, for {precision}:", "", *modes(results, precision)]
    for precision in precisions(results):
        lines += precision_part(chosen(results, precision), precision)
    lines += ["", "## Left out", "", *left_out(results)] if left_out(results) else []
    lines += ["", "## Plots", "", *(f"![{name}]({name})\n" for name in names)] if names else []
    return "\n".join(lines).rstrip() + "\n"


# ---------------------------------------------------------------- files


def wanted_files():
    """{path: what it has to hold}."""
    files = {ROOT / "README.md": new_readme((ROOT / "README.md").read_text())}
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        results = read(folder)
        if results:
            drawn = page_plots(results)
            files.update({folder / name: svg for name, svg in drawn.items()})
            written = gpu_pages.page if on_gpu(results) else page
            files[folder / "README.md"] = written(results, drawn)
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file is old")
    check = parser.parse_args().check
    old = {path: words for path, words in wanted_files().items()
           if not path.is_file() or path.read_text() != words}
    for path, words in old.items():
        print(f"{path.relative_to(ROOT)}: {'is out of date' if check else 'written'}")
        if not check:
            path.write_text(words)
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
