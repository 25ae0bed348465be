"""bench: numbers that add up, in three formats."""
import csv
import io
import json

import pytest

from support import GOLDEN, done, fails, json_of

SHORT = ["--seconds", "0.1"]
KEYS = {"min_ms", "median_ms", "p90_ms", "p99_ms", "runs", "peak_bytes", "threads", "machine",
        "layers"}


def report_of(*arguments):
    return json_of("bench", *arguments, *SHORT, "--format", "json")


@pytest.mark.parametrize("name", ["transposed", "brain"])
def test_json(engine, name):
    report = report_of(engine(name), "--size", "64x48")
    assert KEYS <= report.keys()
    assert 0 < report["min_ms"] <= report["median_ms"] <= report["p90_ms"] <= report["p99_ms"]
    assert report["runs"] >= 5
    assert report["peak_bytes"] > report["activation_bytes"] > 0 < report["weight_bytes"]
    assert (report["width"], report["height"], report["batch"]) == (64, 48, 1)
    assert report["threads"] >= 1 and report["machine"]["cpu"]
    inspected = json_of("inspect", engine(name), "--json")["layers"]
    assert [(row["name"], row["kernel"]) for row in report["layers"]] \
        == [(row["name"], row["kernel"]) for row in inspected]
    assert sum(row["ms"] for row in report["layers"]) < 1.5 * report["p99_ms"]
    assert sum(row["gflop"] for row in report["layers"]) == pytest.approx(report["gflop"])


def test_operations_are_those_of_the_network(engine):
    """Pytorch-UNet transposed, width 4, 3 to 19, at 64x48: twice the multiply-adds, counted."""
    pixels, work = 64 * 48, 0
    widths = [4, 8, 16, 32, 64]
    for level, width in enumerate(widths):
        here = pixels // 4 ** level
        below = 3 if level == 0 else widths[level - 1]
        work += here * 9 * (below * width + width * width)
        if level < 4:  # the way up: 2x2 transposed convolution, then two convolutions
            work += here * widths[level + 1] * width
            work += here * 9 * (2 * width * width + width * width)
    work += pixels * 4 * 19
    report = report_of(engine("transposed"), "--size", "64x48")
    assert report["gflop"] * 1e9 == pytest.approx(2 * work, rel=0.02)


def test_more_pixels_more_work(engine):
    one = report_of(engine("transposed"), "--size", "64x64")
    four = report_of(engine("transposed"), "--size", "128x128")
    assert four["gflop"] == pytest.approx(4 * one["gflop"])
    assert four["activation_bytes"] > one["activation_bytes"]


def test_batch_and_threads(engine):
    report = report_of(engine("transposed"), "--size", "32x32", "--batch", "3", "--threads", "1")
    assert (report["batch"], report["threads"]) == (3, 1)


def test_the_size_that_the_engine_is_tuned_for(tmp_path):
    done("build", GOLDEN / "models" / "transposed.pth", "-o", tmp_path / "e", "--size", "80x48")
    report = report_of(tmp_path / "e")
    assert (report["width"], report["height"]) == (80, 48)


def test_a_model(engine):
    report = report_of(GOLDEN / "models" / "transposed.pth", "--size", "32x32")
    assert report["architecture"] == "unet-transposed"


def test_seconds(engine):
    short = report_of(engine("transposed"), "--size", "16x16")
    long = json_of("bench", engine("transposed"), "--size", "16x16", "--seconds", "0.8",
                   "--format", "json")
    assert long["runs"] > 2 * short["runs"]


def test_csv(engine):
    line = ["bench", engine("transposed"), "--size", "32x32", *SHORT, "--format", "csv"]
    [row] = csv.DictReader(io.StringIO(done(*line).stdout))
    assert float(row["min_ms"]) <= float(row["median_ms"])
    assert row["network"] == str(engine("transposed"))
    rows = list(csv.DictReader(io.StringIO(done(*line, "--profile").stdout)))
    layers = json_of("inspect", engine("transposed"), "--json")["layers"]
    assert [row["layer"] for row in rows] == [layer["name"] for layer in layers]


def test_table(engine):
    line = ["bench", engine("transposed"), "--size", "32x32", *SHORT]
    plain, profile = done(*line).stdout, done(*line, "--profile").stdout
    for word in ["min", "median", "p90", "p99", "runs", "GFLOP/s", "MiB", "32x32"]:
        assert word in plain
    layers = json_of("inspect", engine("transposed"), "--json")["layers"]
    for layer in layers:
        assert layer["kernel"] in profile
    assert len(profile.splitlines()) == len(plain.splitlines()) + len(layers) + 3


def test_what_cannot_be_timed(tmp_path):
    (tmp_path / "x").write_text("no engine")
    fails(3, "bench", tmp_path / "x", words=["x"])


def test_json_is_all_there_is_on_stdout(engine):
    result = done("bench", GOLDEN / "models" / "brain.pth", "--size", "32x32", *SHORT,
                  "--format", "json")
    json.loads(result.stdout)
    assert "in memory" in result.stderr
