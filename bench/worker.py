"""One peer in a process of its own: worker.py serve|cold NAME SPEC. Speaks JSON, a line a message.

`serve` says what it is when it is ready, then answers {"verb": "run" | "save" | "masks"}. `cold`
makes one mask and says how long loading and running took and what memory that needed.
"""
import ctypes
import json
import os
import pathlib
import signal
import sys
import time

import numpy

from compare.adapters import ADAPTERS, masks_of

PR_SET_PDEATHSIG = 1


def peak_mib():
    """Of this program alone: getrusage's maximum begins with what its parent had at the fork."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("/proc/self/status has no VmHWM")


def confine(threads):
    """As many CPUs as threads, and no life after the parent's: a stopped process stays for ever."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def input_of(spec):
    name = "images.npy" if spec["boundary"] == "mask" else "batch.npy"
    return numpy.load(pathlib.Path(spec["folder"]) / name)


def timed(run, data, repetitions):
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        run(data)
        times.append(1000 * (time.perf_counter() - start))
    return times


def answer(run, data, question):
    if question["verb"] == "run":
        return {"milliseconds": timed(run, data, question["repetitions"])}
    if question["verb"] == "masks":
        images = numpy.load(question["images"], mmap_mode="r")
        numpy.save(question["path"], masks_of(run, images, len(data)))
        return {}
    numpy.save(question["path"], run(data))
    return {}


def serve(name, spec):
    adapter = ADAPTERS[name](spec)
    run, data = getattr(adapter, spec["boundary"]), input_of(spec)
    run(data)
    print(json.dumps({"version": adapter.version, "mode": adapter.mode}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(run, data, json.loads(line))), flush=True)


def cold(name, spec):
    baseline, data = peak_mib(), input_of(spec)
    start = time.perf_counter()
    adapter = ADAPTERS[name](spec)
    loaded = time.perf_counter()
    adapter.mask(data)
    print(json.dumps({"load_ms": 1000 * (loaded - start),
                      "first_run_ms": 1000 * (time.perf_counter() - loaded),
                      "peak_mib": peak_mib(), "baseline_mib": baseline}), flush=True)


def main():
    spec = json.loads(sys.argv[3])
    confine(spec["threads"])
    {"serve": serve, "cold": cold}[sys.argv[1]](sys.argv[2], spec)


if __name__ == "__main__":
    main()
