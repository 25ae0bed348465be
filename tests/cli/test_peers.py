"""bench/peers.py and bench/report.py: libunet always runs, the peers where they are installed."""
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from support import GOLDEN, PROGRAM, ROOT

sys.path.insert(0, str(ROOT / "bench"))
import report  # noqa: E402
from compare import adapters, cell, places, plots, tables  # noqa: E402

LIBRARY = PROGRAM.parent / "libunet-runtime.so"
PEERS = {"openvino": ["openvino"], "ncnn": ["ncnn", "pnnx"], "mnn": ["MNN"],
         "onnxruntime": ["onnxruntime"], "torch": []}
MODEL = GOLDEN / "models" / "old-bilinear.pth"



def why_not():
    """Why Python cannot run the library here; "": it can."""
    if not LIBRARY.exists():
        return f"{LIBRARY.name} is not built"
    if b"__asan_init" in LIBRARY.read_bytes():
        return "Python loads no sanitized library; `make test` runs these with the plain one"
    return ""


needs_library = pytest.mark.skipif(why_not() != "", reason=f"not run here: {why_not()}")


def installed(*modules):
    return all(importlib.util.find_spec(module) for module in modules)


def compare(folder, *arguments, code=0):
    """bench/peers.py on a small golden network; its results by cell."""
    command = [sys.executable, ROOT / "bench" / "peers.py", "--model", MODEL, "--size", "48x40",
               "--quick", "--program", PROGRAM, "--library", LIBRARY, "--out", folder, *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900)
    assert done.returncode == code, done.stderr
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


@needs_library
def test_libunet_alone(tmp_path):
    result = compare(tmp_path, "--peers", "")["old-bilinear-48x40-b1-fp32"]
    ours = result["peers"]["libunet"]
    assert len(ours["logits"]["rounds_ms"]) == len(ours["mask"]["rounds_ms"]) == 3
    assert ours["logits"]["ratio"] == 1
    assert ours["cold"]["peak_mib"] > ours["cold"]["baseline_mib"] > 1
    assert 1 < result["peers"]["unet predict"]["cold"]["peak_mib"] < ours["cold"]["peak_mib"]


@needs_library
def test_missing_peers_are_named(tmp_path):
    peers = [name for name, modules in PEERS.items() if not installed("torch", "onnx", *modules)]
    if not peers:
        pytest.skip("not run here: all peers are installed")
    result = compare(tmp_path, "--peers", ",".join(peers))["old-bilinear-48x40-b1-fp32"]
    assert set(result["left_out"]) == set(peers)
    assert all("not installed" in why for why in result["left_out"].values())
    assert "libunet" in result["peers"]


@needs_library
@pytest.mark.parametrize("peer", PEERS)
def test_peer_agrees(tmp_path, peer):
    if not installed("torch", "onnx", *PEERS[peer]):
        pytest.skip(f"not run here: {peer} is not installed (bench/requirements.txt)")
    result = compare(tmp_path, "--peers", peer, "--batch", "2")["old-bilinear-48x40-b2-fp32"]
    assert result["left_out"] == {}
    for name in ("libunet", peer):
        assert result["peers"][name]["logits"]["agreement"] > 0.99
        assert result["peers"][name]["mask"]["agreement"] > 0.99
        assert "doubt" not in result["peers"][name]


@needs_library
def test_matrix_goes_on_where_it_ended(tmp_path):
    network = {"model": str(MODEL), "sizes": ["32x32", "48x32"], "batches": [1],
               "precisions": ["fp32"], "peers": []}
    matrix = tmp_path / "matrix.json"
    matrix.write_text(json.dumps({"networks": [network]}))
    folder = tmp_path / "results"
    compare(folder, "--matrix", matrix, "--only", "48x32")
    first = folder / "old-bilinear-48x32-b1-fp32.json"
    when = first.stat().st_mtime_ns
    found = compare(folder, "--matrix", matrix)
    assert set(found) == {"old-bilinear-48x32-b1-fp32", "old-bilinear-32x32-b1-fp32"}
    assert first.stat().st_mtime_ns == when


def test_more_threads_than_cpus_are_refused(tmp_path):
    command = [sys.executable, str(ROOT / "bench" / "peers.py"), "--threads", "100000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "may use" in done.stderr


def test_readme_says_what_the_results_say():
    command = [sys.executable, str(ROOT / "bench" / "report.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_report_shows_a_peer_that_ran_in_another_precision():
    row = {"median_ms": 12.34, "ratio": 0.5}
    result = {"peers": {"mnn": {"logits": row, "version": "3", "doubt": "ran in fp32"}},
              "network": {"width": 8, "architecture": "unet-bilinear"}, "model": "m.pth",
              "batch": 1, "width": 32, "height": 16}
    table = tables.time_table([result], "logits")
    assert table[0] == "| network, size | MNN 3 |"
    assert table[2] == "| width 8, bilinear, 32×16 | 12.3\\* (0.50) |"
    assert tables.doubts([result]) == ["\\* MNN ran in fp32."]


def test_plot_is_well_formed():
    from xml.etree import ElementTree

    svg = plots.bars("a < b", "c & d", [("one", [("libunet", 1.0), ("ncnn", 3.0)])], "{:.1f}".format)
    bars = [float(shape.get("width")) for shape in ElementTree.fromstring(svg)
            if shape.tag.endswith("rect")]
    assert len(bars) == 2 and bars[1] == pytest.approx(3 * bars[0], rel=1e-3)


def test_all_cells_of_the_matrix():
    found = places.read_matrix(ROOT / "bench" / "matrix.json")
    names = {places.cell_name(place, precision) for place in found
             for precision in place["precisions"]}
    assert len(names) == 40 and "membrane-512x512-b4-bf16" in names


def test_peers_that_do_not_fit_the_memory_together_are_grouped():
    peaks = {"libunet": 100, "a": 400, "b": 500, "c": 300}
    assert cell.groups(["libunet", "a", "b", "c"], peaks, 1000) == [
        ["libunet", "a", "b"], ["libunet", "c"]]
    assert cell.groups(["libunet", "a", "b"], peaks, 100) == [["libunet", "a"], ["libunet", "b"]]
    assert cell.groups(["a", "b"], peaks, 1000) == [["a", "b"]]
    assert cell.groups(["libunet"], peaks, 1000) == [["libunet"]]


@pytest.mark.parametrize("classes", [2, 3, 11])
def test_classes_are_argmax(classes):
    logits = np.random.default_rng(classes).integers(-3, 4, (2, classes, 9, 7)).astype(np.float32)
    assert np.array_equal(adapters.to_classes(logits), logits.argmax(1))  # ties: the lower index


@pytest.mark.parametrize("precision, relative_error, doubted", [
    ("fp32", 1e-5, False), ("fp32", 5e-3, True), ("bf16", 5e-3, False), ("bf16", 1e-5, True)])
def test_an_error_that_fits_another_precision_is_doubted(precision, relative_error, doubted):
    reference = np.array([[-8.0, 4.0]], np.float32)
    assert bool(cell.doubt(precision, 8 * relative_error, reference)) == doubted


def test_a_page_of_libunet_alone():
    row = {"min_ms": 1.0, "median_ms": 2.0, "ratio": 1.0, "rounds_ms": [1.0, 2.0, 3.0]}
    machine = {"processor": "P", "features": ["avx2"], "threads": 16, "date": "2026-01-01"}
    result = {"machine": machine, "model": "m.pth", "width": 32, "height": 16, "batch": 1,
              "precision": "fp32", "left_out": {"ncnn": "not installed here: ncnn"},
              "network": {"width": 8, "architecture": "unet-bilinear"},
              "peers": {"libunet": {"version": "1", "mode": "m", "logits": row, "mask": row}}}
    words = report.page([result], [])
    assert "P (AVX2), 16 threads; medians of 3 interleaved rounds, 2026-01-01." in words
    assert "| width 8, bilinear, 32×16 | **2.0** |" in words
    assert "- ncnn, fp32: not installed here: ncnn" in words


@needs_library
def test_bf16_runs_or_says_why_not(tmp_path):
    result = compare(tmp_path, "--peers", "", "--precision", "bf16")
    result = result["old-bilinear-48x40-b1-bf16"]
    assert ("libunet" in result["peers"]) != ("bf16" in result["left_out"].get("libunet", ""))
