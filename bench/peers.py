#!/usr/bin/env python3
"""Times libunet beside its peers, interleaved, and prints the ratios.

    python3 bench/peers.py --model ../shared/models/membrane.pth --size 512x512
    python3 bench/peers.py --model ../shared/models/camvid-w32.pth --size 480x360 \\
        --precision int8 --calibration '../shared/data/camvid/calib/*.jpg' --max-flips 0.35 \\
        --evaluation '../shared/data/camvid/eval/image/*.jpg'
    python3 bench/peers.py --matrix            # all of bench/matrix.json; goes on where it ended
    python3 bench/report.py                    # results → README's tables, plots

Every peer lives in a process of its own that is stopped while another runs. A round runs each peer
once, in an order that is shuffled anew; a ratio is taken inside a round, and the median over the
rounds is reported. There are two boundaries: float32 in memory → float32 logits in memory, and
uint8 image in memory → mask in memory. `pip install -r bench/requirements.txt` brings the peers,
`make` brings libunet; peers that are not installed are left out and named.
"""
import argparse
import json
import os
import pathlib
import sys

from compare import cell, machine, places, tables

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent / "build"
AVX2 = {"UNET_CPU": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
HEED_AVX2 = ["torch", "torch-compile"]  # peers that all of their kernels obey these
QUICK = {"rounds": 3, "repetitions": 1, "cold_rounds": 1, "limit": 60}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(HERE.parent / "demo" / "cells.pth"))
    parser.add_argument("--images", help="pattern of images to run on; default: noise")
    parser.add_argument("--size", default="512x512", help="WxH")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", default="fp32", help="fp32, bf16, int8, with commas")
    parser.add_argument("--calibration", metavar="PATTERNS",
                        help="images that int8 is calibrated on, with commas")
    parser.add_argument("--evaluation", metavar="PATTERNS", help="images on which masks of lower "
                        "precisions are compared with those of fp32, with commas")
    parser.add_argument("--max-flips", type=float, default=places.MAX_FLIPS, metavar="PERCENT",
                        help="libunet's budget for int8; default %(default)s")
    parser.add_argument("--peers", help="which, with commas; default: all (one cell: all but "
                        "torch-compile, which compiles for a minute or more)")
    parser.add_argument("--threads", type=int, default=0, help="0: all that may be used")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repetitions", type=int, default=2, help="runs of a peer in a round")
    parser.add_argument("--cold-rounds", type=int, default=3, help="cold starts; 0: none")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS",
                        help="a boundary's rounds end then, but not before the third")
    parser.add_argument("--patience", type=float, default=600, metavar="SECONDS",
                        help="a peer that does not answer for so long is left out")
    parser.add_argument("--quick", action="store_true", help="three short rounds, one cold start")
    parser.add_argument("--avx2", action="store_true",
                        help="AVX2 alone, for libunet and the peers that can be held to it")
    parser.add_argument("--matrix", nargs="?", const=str(HERE / "matrix.json"), metavar="FILE",
                        help="all cells of a file; those that have a result are passed over")
    parser.add_argument("--again", action="store_true",
                        help="with --matrix: measure cells whose result is of another commit")
    parser.add_argument("--only", default="", help="with --matrix: cells whose name has this")
    parser.add_argument("--out", help="folder of results; --matrix: bench/results/MACHINE")
    parser.add_argument("--cache", default=str(BUILD / "peers-cache"), metavar="FOLDER",
                        help="keeps the peers' int8 models, which take minutes to make")
    parser.add_argument("--program", default=str(BUILD / "unet"))
    parser.add_argument("--library", default=str(BUILD / "libunet-runtime.so"))
    return parser.parse_args()


def built(path):
    if not pathlib.Path(path).exists():
        raise SystemExit(f"{path} is not there: build libunet with make, or name it")
    return str(pathlib.Path(path).resolve())


def settings_of(wanted):
    names = ("rounds", "repetitions", "cold_rounds", "limit", "patience")
    settings = {name: getattr(wanted, name) for name in names}
    if wanted.quick:
        settings.update({name: min(most, settings[name]) for name, most in QUICK.items()})
    return {**settings, "threads": machine.choose_threads(wanted.threads),
            "cache": str(pathlib.Path(wanted.cache).resolve()),
            "program": built(wanted.program), "library": built(wanted.library)}


def patterns(words):
    """Of the command line, so from the folder it was given in."""
    return [str(pathlib.Path(one).absolute()) for one in words.split(",")] if words else []


def wanted_places(wanted):
    if wanted.matrix:
        found = places.read_matrix(wanted.matrix)
    else:
        network = {"model": str(pathlib.Path(wanted.model).resolve()), "images": wanted.images,
                   "sizes": [wanted.size], "batches": [wanted.batch],
                   "precisions": wanted.precision.split(","), "max_flips": wanted.max_flips,
                   "calibration": patterns(wanted.calibration),
                   "evaluation": patterns(wanted.evaluation),
                   "peers": [name for name in places.PEERS if name != "torch-compile"]}
        found = list(places.places_of({"networks": [network]}))
    for place in found:
        if "int8" in place["precisions"] and not places.paths_of(place["calibration"]):
            raise SystemExit(f"{place['model']}: int8 needs images to calibrate on "
                             "(--calibration, or `calibration` in the matrix)")
        if wanted.peers is not None:
            place["peers"] = [name for name in wanted.peers.split(",") if name]
        if wanted.avx2:
            place["peers"] = [name for name in place["peers"] if name in HEED_AVX2]
    return found


def write(result, path):
    """Whole or not at all: a run that is cut off leaves no half cell for the next to pass over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    temporary.replace(path)


def is_done(path, again):
    """With --again, what another version of libunet has shown counts for nothing."""
    if not path.exists():
        return False
    return not again or json.loads(path.read_text())["machine"]["commit"] == machine.commit()


def waiting(place, wanted, folder):
    """The precisions of a place that are asked for and have no result yet."""
    for precision in place["precisions"]:
        name = places.cell_name(place, precision)
        done = wanted.matrix and is_done(folder / f"{name}.json", wanted.again)
        if wanted.only in name and not done:
            yield precision


def run_place(place, precisions, settings, folder):
    with places.prepared(place, settings) as place_cell:
        for precision in precisions:
            name = places.cell_name(place, precision)
            print(f"{name}:", file=sys.stderr)
            result = cell.measure(place_cell(precision))
            print(tables.text_of(name, result), flush=True)
            if folder:
                write(result, folder / f"{name}.json")


def main():
    wanted = arguments()
    if wanted.avx2:
        os.environ.update(AVX2)
    settings = settings_of(wanted)
    folder = pathlib.Path(wanted.out) if wanted.out else None
    if wanted.matrix and not folder:
        name = machine.label(settings["threads"]) + ("-avx2" if wanted.avx2 else "")
        folder = HERE / "results" / name
    for place in wanted_places(wanted):
        precisions = list(waiting(place, wanted, folder))
        if precisions:
            run_place(place, precisions, settings, folder)


if __name__ == "__main__":
    main()
