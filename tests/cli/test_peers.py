"""bench/peers.py and bench/report.py: libunet always runs, the peers where they are installed."""
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from PIL import Image
from support import GOLDEN, PROGRAM, ROOT, SHARED

sys.path.insert(0, str(ROOT / "bench"))
import report  # noqa: E402
from compare import adapters, cell, judge, places, plots, tables  # noqa: E402

LIBRARY = PROGRAM.parent / "libunet-runtime.so"
PEERS = {"openvino": ["openvino"], "ncnn": ["ncnn", "pnnx"], "mnn": ["MNN"],
         "onnxruntime": ["onnxruntime"], "torch": []}
INT8_PEERS = {"openvino": ["openvino", "nncf"], "onnxruntime": ["onnxruntime"]}
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
               "--quick", "--program", PROGRAM, "--library", LIBRARY, "--out", folder, "--cache",
               folder / "cache", *arguments]
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
    assert len(names) == 50 and "membrane-512x512-b4-bf16" in names
    assert "camvid-w32-480x360-b1-int8" in names


@pytest.mark.skipif(not SHARED.is_dir(), reason="not run here: no ../shared")
def test_nothing_is_calibrated_on_what_is_evaluated():
    counts = {"membrane": (24, 6), "membrane-w16": (24, 6), "camvid-w32": (90, 101)}
    for place in places.read_matrix(ROOT / "bench" / "matrix.json"):
        calibration, evaluation = (places.paths_of(place[name])
                                   for name in ("calibration", "evaluation"))
        assert not set(calibration) & set(evaluation)
        if "int8" in place["precisions"]:
            model = place["model"].rsplit("/", 1)[1].removesuffix(".pth")
            assert (len(calibration), len(evaluation)) == counts[model]


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
    machine = {"processor": "P", "features": ["avx2"], "threads": 16, "date": "2026-01-01",
               "switches": {"UNET_CPU": "avx2"}}
    result = {"machine": machine, "model": "m.pth", "width": 32, "height": 16, "batch": 1,
              "precision": "fp32", "left_out": {"ncnn": "not installed here: ncnn"},
              "network": {"width": 8, "architecture": "unet-bilinear"},
              "peers": {"libunet": {"version": "1", "mode": "m", "logits": row, "mask": row}}}
    words = report.page([result], [])
    assert "P (AVX2), 16 threads; medians of 3 interleaved rounds, 2026-01-01." in words
    assert "Features: avx2. Held by UNET_CPU=avx2." in " ".join(words.split())
    assert "| width 8, bilinear, 32×16 | **2.00** |" in words
    assert "- ncnn, fp32: not installed here: ncnn" in words


@needs_library
def test_bf16_runs_or_says_why_not(tmp_path):
    result = compare(tmp_path, "--peers", "", "--precision", "bf16")
    result = result["old-bilinear-48x40-b1-bf16"]
    assert ("libunet" in result["peers"]) != ("bf16" in result["left_out"].get("libunet", ""))


# ---------------------------------------------------------------- int8, and masks beside fp32's


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Patterns of images to calibrate on and to evaluate: blobs, since noise excites no layer."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(5)
    for index in range(9):
        small = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((48, 40), Image.BICUBIC).save(folder / f"{index}.png")
    return ["--calibration", folder / "[0-5].png", "--evaluation", folder / "[6-8].png"]


@needs_library
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_masks_of_a_lower_precision_or_why_not(tmp_path, pictures, precision):
    """That libunet refuses a precision, or this network in it, is said and no more."""
    result = compare(tmp_path, "--peers", "", "--precision", precision, *pictures)
    result = result[f"old-bilinear-48x40-b1-{precision}"]
    if "libunet" in result["left_out"]:
        assert result["left_out"]["libunet"].startswith("unet build: ")
        assert result["peers"] == {}
        return
    shares = result["peers"]["libunet"]["evaluation"]
    assert result["evaluation"] == {"images": 3}
    assert 0.8 < shares["own"]["worst"] <= shares["own"]["agreement"] <= 1
    assert shares["own"] == shares["libunet"]


@needs_library
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("peer", INT8_PEERS)
def test_int8_of_a_peer(tmp_path, pictures, peer, batch):
    if not installed("torch", "onnx", *INT8_PEERS[peer]):
        pytest.skip(f"not run here: {peer}'s int8 is not installed (bench/requirements.txt)")
    options = ["--peers", peer, "--precision", "int8", "--batch", batch, *pictures]
    name = f"old-bilinear-48x40-b{batch}-int8"
    about = compare(tmp_path, *options)[name]["peers"][peer]
    tried = about["quantised"]["agreement_by_method"]
    assert len(tried) > 1 and "doubt" not in about
    # the graph that was chosen, judged through the other boundary than the choice was made at
    assert about["evaluation"]["own"]["agreement"] == pytest.approx(max(tried.values()), abs=1e-3)
    assert about["evaluation"]["torch"]["agreement"] > 0.8  # of few pixels, by random weights
    assert about["mask"]["agreement"] == pytest.approx(about["logits"]["agreement"], abs=1e-3)
    kept = list((tmp_path / "cache").iterdir())
    again = compare(tmp_path, *options)[name]["peers"][peer]
    assert again["quantised"] == about["quantised"]
    assert list((tmp_path / "cache").iterdir()) == kept and len(kept) == 1


def test_int8_needs_images(tmp_path):
    command = [sys.executable, str(ROOT / "bench" / "peers.py"), "--model", str(MODEL),
               "--precision", "int8", "--program", sys.executable, "--library", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "--calibration" in done.stderr


def test_agreement_of_masks():
    mine, other = np.zeros((2, 2, 5), np.uint8), np.zeros((2, 2, 5), np.uint8)
    other[1, 0, :4] = 1
    assert judge.against(mine, other) == {"agreement": 0.8, "worst": 0.6}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_masks_in_batches(size):
    """A peer may take whole batches alone, and overwrite its answer with the next."""
    images = np.random.default_rng(size).integers(0, 256, (7, 4, 5, 3), dtype=np.uint8)
    answer = np.empty((size, 4, 5), np.uint8)

    def run(some):
        assert len(some) == size
        answer[:] = some[..., 0]
        return answer

    assert np.array_equal(adapters.masks_of(run, images, size), images[..., 0])


def test_report_tells_what_int8_costs():
    row = {"min_ms": 1.0, "median_ms": 2.0, "rounds_ms": [1.0, 2.0, 3.0]}
    shares = {"own": {"agreement": 0.99854, "worst": 0.9975},
              "torch": {"agreement": 0.99853, "worst": 0.9974}}
    machine = {"processor": "P", "features": ["avx2"], "threads": 2, "date": "2026-01-01",
               "switches": {}}
    result = {"machine": machine, "model": "m.pth", "width": 32, "height": 16, "batch": 1,
              "precision": "int8", "left_out": {"libunet": "int8 is not a precision here"},
              "network": {"width": 8, "architecture": "unet-bilinear"},
              "evaluation": {"images": 6},
              "peers": {"openvino": {"version": "1", "mode": "NNCF's mixed", "logits": row,
                                     "mask": row, "evaluation": shares}}}
    words = report.page([result], report.page_plots([result]))
    assert "Modes, for int8:\n\n- OpenVINO: NNCF's mixed" in words
    wanted = "| width 8, bilinear, 32×16 | 6 | OpenVINO | 0.99854 | 0.99750 | – | 0.99853 |"
    assert wanted in words and wanted in report.readme_part([result], "folder")
    assert "- libunet, int8: int8 is not a precision here" in words
    assert "its own 0.998540 (worst 0.997500)" in tables.text_of("cell", result)
