"""One cell of the comparison: a network at one size, batch and precision.

Cold starts come first; their peaks of memory say which peers may be alive together. Then each
boundary (float32 → logits, uint8 → mask) is timed in rounds. A round runs each peer once, in an
order that is shuffled anew; a ratio is taken inside a round, and the median over the rounds counts.

A spec, the words to an adapter: model, width, height, batch, channels, classes, threads, precision,
boundary, folder, files (a peer's own), library, patience (seconds for an answer).
"""
import pathlib
import random
import statistics
import sys
import time

import numpy

from . import cold, judge, machine, prepare, processes, quantise

BOUNDARIES = ("logits", "mask")
LEAST_ROUNDS = 3
MEMORY_SHARE = 0.75  # of what is available, for workers that are alive together
TORCH_INT8 = "has its quantiser in another package, torchao, which is not compared"
LACKS = {"bf16": {"onnxruntime": "has no bf16 convolutions for CPUs"},
         "int8": {"ncnn": "its quantiser (ncnn2table, ncnn2int8) is not in the Python package",
                  "mnn": "its quantiser, mnnquant, aborts with std::length_error (MNN 3.6.1)",
                  "torch": TORCH_INT8, "torch-compile": TORCH_INT8}}


def note(text):
    print(text, end="", file=sys.stderr, flush=True)


# ---------------------------------------------------------------- rounds


def run_round(workers, repetitions, left_out):
    """A worker that fails is closed and leaves the list."""
    for worker in random.sample(workers, len(workers)):
        try:
            worker.run(repetitions)
        except processes.Failed as problem:
            left_out[worker.name] = str(problem)
            worker.close()
            workers.remove(worker)


def run_rounds(workers, cell, left_out):
    """Ends early, but not before LEAST_ROUNDS, where the time limit is reached."""
    began = time.monotonic()
    for number in range(cell["rounds"] + 1):
        if number > LEAST_ROUNDS and time.monotonic() - began > cell["limit"]:
            break
        run_round(workers, cell["repetitions"], left_out)
        note(f"\r  round {number} of {cell['rounds']} ")
    note("\n")
    for worker in workers:
        worker.times = worker.times[1:]  # the first round warms caches and clocks


def groups(names, peaks, available_mib):
    """Peers that may be alive together: each group begins with libunet and fits the memory."""
    base = peaks.get("libunet", 0)
    found, used = [[]], base
    for name in names:
        if name == "libunet":
            continue
        if found[-1] and used + peaks.get(name, 0) > available_mib:
            found.append([])
            used = base
        found[-1].append(name)
        used += peaks.get(name, 0)
    head = ["libunet"] if "libunet" in names else []
    return [head + group for group in found]


def start_workers(names, spec_of, boundary, left_out):
    workers = []
    for name in names:
        try:
            workers.append(processes.Worker(name, spec_of(name, boundary),
                                            spec_of(name, boundary)["patience"]))
        except processes.Failed as problem:
            left_out[name] = f"{boundary}: {problem}"
    return workers


# ---------------------------------------------------------------- what they answer


def compare_logits(mine, reference):
    return {"max_logit_difference": float(numpy.abs(mine - reference).max()),
            "agreement": float((classes_of(mine) == classes_of(reference)).mean())}


def classes_of(logits):
    return logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).astype(numpy.int64)


def agreement(worker, boundary, folder, reference):
    """Against PyTorch's float32 answer to the same input."""
    path = pathlib.Path(folder) / f"answer-{worker.name}.npy"
    worker.ask(verb="save", path=str(path))
    mine = numpy.load(path)
    path.unlink()
    if reference is None:
        return {}
    if boundary == "logits":
        return compare_logits(mine, reference)
    return {"agreement": float((mine == classes_of(reference)).mean())}


def doubt(precision, difference, reference):
    """float32 and the others err by amounts that are far apart: a wrong mode shows."""
    scale = float(numpy.abs(reference).max())
    if precision == "fp32" and difference > scale / 512:
        return "errs as a lower precision does"
    if precision != "fp32" and difference < scale / 1024:
        return "errs no more than fp32 does: it ran in fp32"
    return None


# ---------------------------------------------------------------- a cell


def rows(workers):
    ours = next((worker.times for worker in workers if worker.name == "libunet"), None)
    for worker in workers:
        times = worker.times
        row = {"min_ms": round(min(times), 3), "median_ms": round(statistics.median(times), 3)}
        if ours:
            ratio = statistics.median(a / b for a, b in zip(ours, times))
            row["ratio"] = round(ratio, 4)
        yield worker, {**row, "rounds_ms": [round(one, 3) for one in times]}


def merge(old, new):
    """libunet runs in every group: its row holds all of its rounds."""
    if not old:
        return new
    times = old["rounds_ms"] + new["rounds_ms"]
    return {**new, "min_ms": min(times), "median_ms": round(statistics.median(times), 3),
            "rounds_ms": times}


def time_group(names, boundary, cell, spec_of, reference, result):
    workers = start_workers(names, spec_of, boundary, result["left_out"])
    try:
        run_rounds(workers, cell, result["left_out"])
        for worker, row in rows(workers):
            about = result["peers"].setdefault(worker.name, {})
            about.update(worker.about)
            row.update(agreement(worker, boundary, cell["folder"], reference))
            if boundary == "logits" and reference is not None:
                problem = doubt(cell["precision"], row["max_logit_difference"], reference)
                about.update({"doubt": problem} if problem else {})
            about[boundary] = merge(about.get(boundary), row)
    finally:
        for worker in workers:
            worker.close()


def spec_maker(cell):
    def spec_of(name, boundary, precision=cell["precision"]):
        return {**{key: cell[key] for key in ("model", "width", "height", "batch", "channels",
                                              "classes", "threads", "folder", "library",
                                              "patience")},
                "precision": precision, "boundary": boundary,
                "files": prepare.files(cell["folder"], boundary, precision)}
    return spec_of


def choose(cell, left_out):
    """The peers that take part, libunet first."""
    left_out.update(cell["unprepared"])
    lacks = LACKS.get(cell["precision"], {})
    left_out.update({name: why for name, why in lacks.items() if name in cell["peers"]})
    return [name for name in ["libunet", *cell["peers"]] if name not in left_out]


def evaluate(cell, names, spec_of, result):
    """How far masks move from float32's, on the images that are kept for that."""
    folder = pathlib.Path(cell["folder"])
    if cell["precision"] == "fp32" or not (folder / "evaluation.npy").is_file():
        return
    result["evaluation"] = {"images": len(cell["evaluation"])}
    found = judge.evaluate(names, spec_of, judge.references(spec_of, folder), result["left_out"])
    for name, shares in found.items():
        result["peers"][name]["evaluation"] = shares


def int8_facts(cell, names, result):
    """How each int8 model came to be."""
    if cell["precision"] != "int8":
        return
    result["calibration"] = {"images": len(cell["calibration"]), "max_flips": cell["max_flips"]}
    for name in names:
        facts = quantise.facts(name, cell["folder"])
        result["peers"][name].update({"quantised": facts} if facts else {})


def measure(cell):
    """The result of a cell as it is written to JSON. `cell` comes from places.py."""
    left_out, spec_of = {}, spec_maker(cell)
    names = choose(cell, left_out)
    result = {"machine": machine.describe(cell["threads"]), "model": cell["model_name"],
              **{key: cell[key] for key in ("width", "height", "batch", "precision",
                                            "repetitions", "images", "network")},
              "left_out": left_out, "peers": {name: {} for name in names}}
    starts = names + (["unet predict"] if "libunet" in names and cell["batch"] == 1 else [])
    found = cold.measure(starts, spec_of, cell["program"], cell["cold_rounds"], left_out)
    for name, numbers in found.items():
        result["peers"].setdefault(name, {})["cold"] = numbers
    reference = pathlib.Path(cell["folder"]) / "reference.npy"
    reference = numpy.load(reference) if reference.is_file() else None
    peaks = {name: numbers["peak_mib"] for name, numbers in found.items()}
    names = [name for name in names if name not in left_out]
    available = MEMORY_SHARE * machine.memory_kib("MemAvailable") / 1024
    for boundary in BOUNDARIES:
        for group in groups(names, peaks, available):
            time_group(group, boundary, cell, spec_of, reference, result)
    names = [name for name in names if name not in left_out]
    int8_facts(cell, names, result)
    evaluate(cell, names, spec_of, result)
    result["peers"] = {name: about for name, about in result["peers"].items() if about}
    return result
