#!/usr/bin/env python3
"""Times libunet beside its peers, interleaved, and prints the ratios.

    python3 bench/peers.py --model ../shared/models/membrane.pth --size 512x512

Every peer lives in a process of its own (bench/worker.py) that is blocked while another runs, so
thread pools cannot disturb each other. A round runs each peer once, in an order that is shuffled
anew; a ratio is taken inside a round, and the median over the rounds is reported. The boundary is
float32 in memory to float32 logits in memory. `pip install -r bench/requirements.txt` brings the
peers; `make` brings build/libunet.so.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


class Peer:
    """A worker process and what it has measured."""

    def __init__(self, name, options):
        self.name, self.times = name, []
        command = [sys.executable, str(HERE / "worker.py"), name, json.dumps(options)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.about = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: its process ended; see its message above")
        return json.loads(line)

    def ask(self, **question):
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return self.answer()

    def run(self, repetitions):
        times = self.ask(verb="run", repetitions=repetitions)["milliseconds"]
        self.times.append(statistics.median(times))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def export(options):
    """The checkpoint as ONNX, which some peers read, and what only PyTorch's definition tells."""
    command = [sys.executable, "-W", "ignore", str(HERE / "worker.py"), "export",
               json.dumps(options)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def features():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
            return [flag for flag in wanted if flag in line.split()]
    return []


def measure(peers, rounds, repetitions):
    order = list(peers)
    for number in range(rounds + 1):
        random.shuffle(order)
        for peer in order:
            peer.run(repetitions)
            time.sleep(0.05)  # spinning threads of some peers come to rest
        print(f"\rround {number} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for peer in peers:
        peer.times = peer.times[1:]  # the first round warms caches and clocks


def agreement(peers, folder):
    """Each peer's logits against the first one's: largest difference, share of equal classes."""
    import numpy

    logits = {}
    for peer in peers:
        path = str(pathlib.Path(folder) / f"{peer.name}.npy")
        peer.ask(verb="save", path=path)
        logits[peer.name] = numpy.load(path)
    base = logits[peers[0].name]
    for peer in peers:
        mine = logits[peer.name]
        peer.about["max_logit_difference"] = float(numpy.abs(mine - base).max())
        peer.about["agreement"] = float((mine.argmax(1) == base.argmax(1)).mean())


def summary(peers):
    ours = peers[0].times
    rows = []
    for peer in peers:
        ratios = [a / b for a, b in zip(ours, peer.times)]
        rows.append({
            "peer": peer.name, **peer.about, "min_ms": min(peer.times),
            "median_ms": statistics.median(peer.times),
            "ratio": statistics.median(ratios), "rounds_ms": peer.times})
    return rows


def print_table(rows):
    print(f"{'peer':<14}{'version':<14}{'min ms':>10}{'median ms':>11}{'libunet / it':>14}"
          f"{'peak MiB':>10}{'agreement':>11}")
    for row in rows:
        print(f"{row['peer']:<14}{row['version'][:12]:<14}{row['min_ms']:>10.2f}"
              f"{row['median_ms']:>11.2f}{row['ratio']:>14.3f}{row['peak_mib']:>10.0f}"
              f"{row['agreement']:>11.6f}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(ROOT / "demo" / "cells.pth"))
    parser.add_argument("--size", default="512x512", help="WxH")
    parser.add_argument("--threads", type=int, default=0, help="0: all that may be used")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repetitions", type=int, default=2, help="runs of a peer in a round")
    parser.add_argument("--peers", default="openvino,onnxruntime,torch")
    parser.add_argument("--library", default=str(ROOT / "build" / "libunet.so"))
    parser.add_argument("--json", help="where to write everything that was measured")
    return parser.parse_args()


def main():
    wanted = arguments()
    width, height = (int(side) for side in wanted.size.split("x"))
    threads = wanted.threads or len(os.sched_getaffinity(0))
    options = {"model": wanted.model, "width": width, "height": height, "threads": threads,
               "library": wanted.library}
    with tempfile.TemporaryDirectory() as folder:
        options["onnx"] = str(pathlib.Path(folder) / "network.onnx")
        options.update(export(options))
        names = ["libunet"] + [name for name in wanted.peers.split(",") if name]
        peers = [Peer(name, options) for name in names]
        measure(peers, wanted.rounds, wanted.repetitions)
        agreement(peers, folder)
        for peer in peers:
            peer.about["peak_mib"] = peer.ask(verb="peak")["mib"]
        rows = summary(peers)
        for peer in peers:
            peer.close()
    print_table(rows)
    result = {"date": datetime.date.today().isoformat(), "processor": processor(),
              "features": features(), "threads": threads, "size": wanted.size,
              "model": pathlib.Path(wanted.model).name, "precision": "fp32",
              "rounds": wanted.rounds, "repetitions": wanted.repetitions, "peers": rows}
    if wanted.json:
        pathlib.Path(wanted.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
