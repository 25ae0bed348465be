"""doctor, and the tiers of instructions that UNET_CPU holds the program to."""
import os
from pathlib import Path

import numpy as np
import pytest

from support import GOLDEN, done, fails, json_of, random_image, save_png

TIERS = ["c", "avx2", "avx512"]
LEVELS = TIERS + ["avx512_vnni", "avx512_bf16"]
FLAGS = {"avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq"}}


def kernel_flags():
    """What the operating system says of the first processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":")[1].split())
    return set()


def tiers_here():
    flags = kernel_flags()
    return [t for t in TIERS if FLAGS.get(t, set()) <= flags]


def test_doctor_agrees_with_the_system():
    report = json_of("doctor", "--json")
    assert report["tier"] == tiers_here()[-1]
    for feature in ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"]:
        assert (feature in report["features"]) == (feature in kernel_flags()), feature
    assert report["usable_threads"] <= len(os.sched_getaffinity(0))
    assert report["hardware_threads"] >= report["usable_threads"] >= 1
    total = Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]
    assert report["memory_bytes"] == pytest.approx(1024 * int(total), rel=0.02) \
        or report["memory_bytes"] < 1024 * int(total)
    fast = [f for f in ["amx_int8", "avx512_vnni", "avx_vnni"] if f in report["features"]]
    assert report["fast_int8"] == (fast[0] if fast else None)
    fast = [f for f in ["amx_bf16", "avx512_bf16"] if f in report["features"]]
    assert report["fast_bf16"] == (fast[0] if fast else None)
    assert report["usable_features"] == report["features"]


def test_doctor_text():
    report, text = json_of("doctor", "--json"), done("doctor").stdout
    assert report["cpu"] in text and "fast INT8" in text and "fast BF16" in text
    for kernel in report["kernels"]:
        [line] = [line for line in text.splitlines() if line.split()[:1] == [kernel["name"]]]
        assert ("runs" in line) == kernel["runs"]
        if not kernel["runs"]:
            assert kernel["refused"] in line


def test_affinity_is_respected():
    def one_processor():
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])

    assert json_of("doctor", "--json", before=one_processor)["usable_threads"] == 1


@pytest.mark.parametrize("tier", TIERS)
def test_a_limit(tier):
    report = json_of("doctor", "--json", env={"UNET_CPU": tier})
    assert report["tier_limit"] == tier
    runs = tiers_here()
    assert report["tier"] == (tier if tier in runs else runs[-1])
    assert f"UNET_CPU={tier}" in done("doctor", env={"UNET_CPU": tier}).stdout
    for kernel in report["kernels"]:
        last = kernel["name"].rsplit(".", 1)[-1]
        if last in TIERS:
            plain = set(kernel["needs"].split()) <= set(TIERS)  # no extension, which is no part of one
            allowed = TIERS.index(last) <= TIERS.index(report["tier"])
            assert kernel["runs"] == (plain and allowed), kernel
            assert kernel["runs"] or kernel["refused"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_limit_holds_extensions_back(level):
    """A tier has none beyond it; a name with an extension leaves that one and those before it."""
    report = json_of("doctor", "--json", env={"UNET_CPU": level})
    ranks = {"avx2": "avx2", "avx512f": "avx512", "avx512_vnni": "avx512_vnni",
             "avx512_bf16": "avx512_bf16"}
    for feature, least in ranks.items():
        left = LEVELS.index(least) <= LEVELS.index(level)
        assert (feature in report["usable_features"]) == (left and feature in report["features"])
    assert not any(f.startswith("amx") for f in report["usable_features"])
    expected = "avx512_bf16" if "avx512_bf16" in report["usable_features"] else None
    assert report["fast_bf16"] == expected
    for kernel in report["kernels"]:
        needs = set(kernel["needs"].split()) - {"avx2", "avx512"}  # the tier has tests of its own
        if "avx512_bf16" in needs:
            assert kernel["runs"] == (needs <= set(report["usable_features"]))
            if not kernel["runs"] and needs <= set(report["features"]):
                assert "UNET_CPU" in kernel["refused"] or "tier" in kernel["refused"]


def test_a_limit_that_is_none(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    model = GOLDEN / "models" / "brain.pth"
    for line in [["doctor"], ["build", model, "-o", "e"], ["predict", model, image, "-o", "out"],
                 ["predict", engine("brain"), image, "-o", "out"]]:
        fails(2, *line, env={"UNET_CPU": "bogus"}, cwd=tmp_path,
              words=["UNET_CPU", "bogus", "avx2"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png"]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", ["transposed", "bilinear"])
def test_every_tier_gives_the_recorded_logits(tmp_path, tier, name):
    case = {"transposed": "c3-37x21", "bilinear": "c1-37x53"}[name]
    size = case.split("-")[1]
    done("predict", GOLDEN / "models" / f"{name}.pth", GOLDEN / "cases" / f"{case}.input.npy",
         "-o", tmp_path, "--save", "logits", env={"UNET_CPU": tier})
    logits = np.load(tmp_path / f"{case}.input.logits.npy")
    expected = np.load(GOLDEN / "cases" / f"{name}-{size}.logits.npy")
    assert np.abs(logits - expected).max() < 1e-3


def test_an_engine_of_another_machine(tmp_path):
    """It is packed anew in memory, says so, and gives the bits of an engine built here without
    timing: such weights take the kernels of the order of preference."""
    image = save_png(tmp_path / "a.png", random_image(1, 40, 56))
    here = tiers_here()
    options = ["--save", "mask,logits"]
    for built in here:
        done("build", GOLDEN / "models" / "transposed.pth", "-o", tmp_path / built, "--no-timing",
             env={"UNET_CPU": built})
        assert json_of("inspect", tmp_path / built, "--json")["built_for"] == built
    for built in here:
        for runs in here:
            out = tmp_path / f"{built}-on-{runs}"
            result = done("predict", tmp_path / built, image, "-o", out, *options,
                          env={"UNET_CPU": runs})
            assert ("pack" in result.stderr) == (built != runs), result.stderr
    for runs in here:
        native = np.load(tmp_path / f"{runs}-on-{runs}" / "a.logits.npy")
        for built in here:
            foreign = np.load(tmp_path / f"{built}-on-{runs}" / "a.logits.npy")
            assert np.array_equal(native, foreign)
