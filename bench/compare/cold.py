"""A new process → its first mask, and the memory that takes.

The model's file is in the page cache, as after a first use; dropping it needs root. The clock runs
from the start of the process, so Python and numpy are in every peer's time and memory alike
(`baseline_mib`); `unet predict`, which needs neither, is measured beside it.
"""
import pathlib
import statistics
import subprocess
import sys
import time

from . import processes

LAUNCHER = """
import os, sys, time
began = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - began, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
ONCE = {"torch-compile"}  # compiles into the place's folder: only the first start is cold


def once(name, spec):
    began = time.perf_counter()
    process = processes.start("cold", name, spec)
    try:
        found = processes.read_message(process, spec["patience"])
        found["first_mask_ms"] = 1000 * (time.perf_counter() - began)
        return found
    finally:
        processes.end(process)


def program_once(spec, program):
    """The program, whole: array on disk → mask on disk. A small process starts it and waits: a
    child's peak of memory, as wait4 tells it, begins with its parent's."""
    folder = pathlib.Path(spec["folder"])
    command = [sys.executable, "-S", "-c", LAUNCHER, program, "predict",
               spec["files"]["libunet"], str(folder / "image.npy"), "-o", str(folder),
               "--threads", str(spec["threads"])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise processes.Failed(done.stderr.strip().splitlines()[-1])
    seconds, kib = map(float, done.stdout.split())
    return {"first_mask_ms": 1000 * seconds, "peak_mib": kib / 1024}


def summary(runs):
    """Median times; the largest memory."""
    found = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    found["peak_mib"] = max(run["peak_mib"] for run in runs)
    return {**{key: round(value, 2) for key, value in found.items()}, "runs": len(runs)}


def measure(names, spec_of, program, rounds, left_out):
    """{peer: what a cold start took}; a peer that fails joins left_out."""
    found = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            runs, spec = found[name], spec_of(name, "mask")
            if name in left_out or (runs and name in ONCE):
                continue
            try:
                runs.append(program_once(spec, program) if name == "unet predict"
                            else once(name, spec))
            except processes.Failed as problem:
                left_out[name] = str(problem)
    return {name: summary(runs) for name, runs in found.items() if runs}
