#!/usr/bin/env python3
"""Times libunet on a GPU beside PyTorch, interleaved in one process, and prints the ratios.

    python3 bench/gpu.py                                   # today's bilinear U-Net, random weights
    python3 bench/gpu.py --network transposed --size 512x512 --batch 1,8 --precision fp16,tf32
    python3 bench/gpu.py --network ../shared/models/membrane.pth --precision fp16,int8 \
        --images '../shared/data/membrane/image/*.png' --out bench/results/nvidia-h200

The boundary is float32 on the GPU → float32 logits on the GPU. A round lets each peer enqueue as many
runs as fill about --milliseconds and waits for them, in an order that is shuffled anew; a ratio is
taken inside a round, and the median over the rounds is reported. Latency is one run and its wait.
PyTorch has no 8-bit convolutions on GPUs: beside int8 and fp8 its peers run fp16, and so does libunet
a second time. --images calibrate int8; without them made-up ones do, and then only time is of use.
Needs PyTorch with CUDA, libunet and libunet-cuda.so (make). TensorRT is a peer where it is
installed.
"""
import argparse
import gc
import json
import pathlib
import random
import statistics
import sys
import tempfile
import time

import torch

from compare import gpu_build, gpu_peers, machine, networks
from compare.libunet import Library

BUILD = pathlib.Path(__file__).resolve().parent.parent / "build"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="bilinear",
                        help="bilinear, transposed (random weights), or a checkpoint")
    parser.add_argument("--width", type=int, default=64, help="of a network of random weights")
    parser.add_argument("--size", default="512x512", help="WxH, with commas")
    parser.add_argument("--batch", default="1,8", help="with commas")
    parser.add_argument("--precision", default="fp16",
                        help="fp32, tf32, bf16, fp16, int8, fp8, with commas")
    parser.add_argument("--peers", default=",".join(gpu_peers.usual()),
                        help="eager, graph, compile, max-autotune, tensorrt, with commas; none: "
                        "libunet alone; default %(default)s")
    parser.add_argument("--images", help="to calibrate with: a folder or a pattern")
    parser.add_argument("--evaluation", help="images whose masks are compared with fp32's, of a "
                        "checkpoint at batch 1")
    parser.add_argument("--max-flips", default="100", help="as unet build's, of int8 and fp8")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--milliseconds", type=float, default=40, help="of a peer in a round")
    parser.add_argument("--program", default=str(BUILD / "unet"))
    parser.add_argument("--library", default=str(BUILD / "libunet-runtime.so"))
    parser.add_argument("--timing-cache", help="as unet build's")
    parser.add_argument("--out", help="folder of results, a JSON file a cell")
    return parser.parse_args()


def checkpoint(wanted, folder):
    if wanted.network not in ("bilinear", "transposed"):
        return wanted.network
    torch.manual_seed(1)
    path = folder / f"{wanted.network}-w{wanted.width}.pth"
    torch.save(networks.random_unet(wanted.network, wanted.width).state_dict(), path)
    return str(path)


def cells_of(wanted, model):
    about = networks.describe(model)
    for precision in wanted.precision.split(","):
        for size in wanted.size.split(","):
            for batch in wanted.batch.split(","):
                width, height = (int(side) for side in size.split("x"))
                name = f"{pathlib.Path(model).stem}-{size}-b{batch}-{precision}"
                yield {"name": name, "model": pathlib.Path(model).stem, "network": about,
                       "width": width, "height": height, "batch": int(batch),
                       "precision": precision}


# ---------------------------------------------------------------- time


def seconds_of(peer, runs):
    started = time.perf_counter()
    for _ in range(runs):
        peer.enqueue()
    peer.finish()
    return (time.perf_counter() - started) / runs


def runs_for(peer, milliseconds):
    seconds_of(peer, 3)
    return max(3, int(1e-3 * milliseconds / seconds_of(peer, 3)))


def measure(peers, rounds, milliseconds):
    """{name: [milliseconds a run, a round]}, and of single runs."""
    runs = {name: runs_for(peer, milliseconds) for name, peer in peers.items()}
    times = {name: [] for name in peers}
    latencies = {name: [] for name in peers}
    for _ in range(rounds):
        for name in random.sample(list(peers), len(peers)):
            times[name].append(1e3 * seconds_of(peers[name], runs[name]))
            latencies[name].append(1e3 * min(seconds_of(peers[name], 1) for _ in range(3)))
    return times, latencies


def row(times, latencies, ours):
    found = {"median_ms": round(statistics.median(times), 4), "min_ms": round(min(times), 4),
             "latency_ms": round(statistics.median(latencies), 4),
             "rounds_ms": [round(value, 4) for value in times]}
    if ours:
        found["ratio"] = round(statistics.median(a / b for a, b in zip(ours, times)), 3)
    return found


# ---------------------------------------------------------------- a cell


def same_classes(logits, exact):
    if exact.shape[1] == 1:
        return float(((logits > 0) == (exact > 0)).float().mean())
    return float((logits.argmax(1) == exact.argmax(1)).float().mean())


def compared(peer, exact):
    logits = peer.logits()
    if not torch.isfinite(logits).all():
        return {"agreement": 0.0}
    return {"agreement": round(same_classes(logits, exact), 6),
            "max_logit_difference": float((logits - exact).abs().max())}


def exact_logits(net, batch):
    """In true float32, an image at a time: a batch of eight would not fit beside the peers."""
    with gpu_peers.products("fp32"), torch.inference_mode():
        net = net.to("cuda", torch.float32)
        return torch.cat([net(image[None]) for image in batch])


def make_libunet(wanted, cell, model, batch, folder, precision):
    classes = cell["network"]["classes"]
    engine, seconds = gpu_build.build(wanted, {**cell, "precision": precision}, model, folder)
    print(f"  libunet, {precision}: built in {seconds:.1f} s", file=sys.stderr)
    peer = gpu_peers.LibUnet(Library(wanted.library), engine, batch, classes)
    peer.build_seconds, peer.file = seconds, engine
    return peer


def make_peers(wanted, cell, model, batch, folder):
    """{name: peer}, {name: why it is left out}."""
    eight = cell["precision"] in ("int8", "fp8")
    theirs = "fp16" if eight else cell["precision"]
    makers = {"libunet": lambda: make_libunet(wanted, cell, model, batch, folder,
                                              cell["precision"])}
    if eight:
        makers["libunet-fp16"] = lambda: make_libunet(wanted, cell, model, batch, folder, theirs)
    for name in wanted.peers.split(",") if wanted.peers != "none" else ():
        makers[name] = lambda name=name: gpu_peers.PEERS[name](networks.load(model), theirs, batch)
    peers, left_out = {}, {}
    for name, make in makers.items():
        try:
            peers[name] = make()
        except Exception as problem:  # whatever a compiler may raise
            left_out[name] = f"{type(problem).__name__}: {problem}".splitlines()[0]
    return peers, left_out


def run_cell(wanted, cell, model, folder):
    net = networks.load(model)
    batch = gpu_build.batch_of(wanted, cell, "cuda")
    exact = exact_logits(net, batch)
    peers, left_out = make_peers(wanted, cell, model, batch, folder)
    times, latencies = measure(peers, wanted.rounds, wanted.milliseconds)
    rows = {name: {"mode": peer.mode, "version": peer.version,
                   "logits": {**row(times[name], latencies[name], times.get("libunet")),
                              **compared(peer, exact)}} for name, peer in peers.items()}
    for name, peer in peers.items():
        if name.startswith("libunet"):
            rows[name]["build_seconds"] = round(peer.build_seconds, 2)
            peer.close()
    result = {**cell, "machine": machine.gpu(), "peers": rows, "left_out": left_out}
    if wanted.evaluation and cell["batch"] == 1 and "libunet" in peers:
        exact, _ = gpu_build.build(wanted, {**cell, "precision": "fp32"}, model, folder)
        result["evaluation"], rows["libunet"]["evaluation"] = \
            gpu_build.evaluation(wanted, peers["libunet"].file, exact)
    return result


def show(result):
    print(f"{result['name']}:")
    for name, about in result["peers"].items():
        values = about["logits"]
        print(f"  {name:14} {values['median_ms']:9.3f} ms  min {values['min_ms']:9.3f}  latency "
              f"{values['latency_ms']:9.3f}  libunet's/it {values.get('ratio', '-'):>6}  agrees "
              f"{values['agreement']:.6f}  error {values.get('max_logit_difference', 0):.2g}")
    for name, why in result["left_out"].items():
        print(f"  left out: {name}: {why}")
    sys.stdout.flush()


def main():
    wanted = arguments()
    torch.backends.cudnn.benchmark = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        model = checkpoint(wanted, folder)
        for cell in cells_of(wanted, model):
            result = run_cell(wanted, cell, model, folder)
            show(result)
            if wanted.out:
                out = pathlib.Path(wanted.out)
                out.mkdir(parents=True, exist_ok=True)
                (out / f"{cell['name']}.json").write_text(json.dumps(result, indent=1) + "\n")
            gc.collect()
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
