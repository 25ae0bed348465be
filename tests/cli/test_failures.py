"""What goes wrong while images are segmented: broken ones, full disks, Ctrl-C."""
import ctypes
import os
import resource
import signal
import subprocess
import time

import pytest

from support import GOLDEN, PROGRAM, SANITIZED, default_signals, digest, done, environment, fails, \
    files_below, index_rows, pixels, random_image, save_png, unet

BAD = index_rows("bad-images")


@pytest.mark.parametrize("name, word", BAD, ids=[row[0] for row in BAD])
def test_a_broken_image(engine, tmp_path, name, word):
    fails(4, "predict", engine("transposed"), GOLDEN / "bad-images" / name, "-o",
          tmp_path / "out", words=[name, word])
    assert not (tmp_path / "out").exists()


def broken_among_good(folder):
    for name, *_ in BAD:
        stem, extension = name.rsplit(".", 1)
        path = folder / "broken" / f"{stem}-{extension}.{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((GOLDEN / "bad-images" / name).read_bytes())
    for name in ["1.png", "broken/half-1-a.png", "z.jpg"]:
        save_png(folder / name, random_image(2, 20, 30))


def test_the_others_of_a_folder_are_done(engine, tmp_path):
    broken_among_good(tmp_path / "in")
    result = unet("predict", engine("transposed"), "in", "-o", "out", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    *failures, summary = result.stderr.splitlines()
    assert len(failures) == len(BAD)
    for name, *_ in BAD:
        stem, extension = name.rsplit(".", 1)
        assert sum(f"{stem}-{extension}.{extension}" in line for line in failures) == 1
    assert f"3 segmented, {len(BAD)} failed" in summary
    assert files_below(tmp_path / "out") == ["1.png", "broken/half-1-a.png", "z.png"]


def test_nothing_but_broken_images(engine, tmp_path):
    broken_among_good(tmp_path / "in")
    for name in ["1.png", "broken/half-1-a.png", "z.jpg"]:
        (tmp_path / "in" / name).write_text("not an image")
    result = unet("predict", engine("transposed"), "in", "-o", "out", cwd=tmp_path)
    assert result.returncode == 4
    assert len(result.stderr.splitlines()) == len(BAD) + 3
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ networks

def test_a_network_that_is_none(tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    (tmp_path / "empty.engine").write_bytes(b"")
    (tmp_path / "text.engine").write_text("this is no engine")
    for name in ["missing.engine", "empty.engine", "text.engine", "a.png"]:
        fails(3, "predict", tmp_path / name, image, "-o", tmp_path / "out", words=[name])
    assert not (tmp_path / "out").exists()


def test_an_engine_cut_anywhere(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    whole = engine("transposed").read_bytes()
    cuts = sorted({0, 1, 7, 8, 9, 64, len(whole) // 2, len(whole) - 1,
                   *range(100, len(whole), len(whole) // 20)})
    for cut in cuts:
        (tmp_path / "cut.engine").write_bytes(whole[:cut])
        fails(3, "predict", tmp_path / "cut.engine", image, "-o", tmp_path / "out",
              words=["cut.engine"])
    assert not (tmp_path / "out").exists()


def test_an_engine_with_a_flipped_byte(engine, tmp_path):
    whole = bytearray(engine("transposed").read_bytes())
    for place in range(8, len(whole), len(whole) // 40):
        whole[place] ^= 0x10
        (tmp_path / "flipped.engine").write_bytes(whole)
        whole[place] ^= 0x10
        fails(3, "inspect", "--verify", tmp_path / "flipped.engine", words=["flipped.engine"])


# ------------------------------------------------------------------ folders and disks

def test_a_file_where_the_folder_should_be(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    (tmp_path / "file").write_text("in the way")
    for folder in ["file", "file/below"]:
        fails(5, "predict", engine("transposed"), image, "-o", folder, cwd=tmp_path,
              words=["file"])
    assert (tmp_path / "file").read_text() == "in the way"


def without_privileges():
    """Root may write anywhere, unless it gives that right up (linux/capability.h, prctl.h)."""
    default_signals()
    drop_from_bounding_set, dac_override, dac_read_search = 24, 1, 2
    if os.getuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for right in (dac_override, dac_read_search):
            if libc.prctl(drop_from_bounding_set, right, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl")


def test_an_unwritable_folder(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    for folder in [locked, locked / "new"]:
        fails(5, "predict", engine("transposed"), image, "-o", folder, before=without_privileges,
              words=["locked", "permission denied"])
    model = GOLDEN / "models" / "transposed.pth"
    fails(5, "convert", model, "-o", locked / "x.wts", before=without_privileges,
          words=["x.wts", "permission denied"])
    fails(5, "build", model, "-o", locked / "e", "--scale", "1", before=without_privileges,
          words=["locked/e", "permission denied"])
    assert files_below(locked) == []


def test_unreadable_files(engine, tmp_path):
    for name in ["in/a.png", "in/b.png", "in/c/d.png"]:
        save_png(tmp_path / name, random_image(1, 16, 16))
    (tmp_path / "in" / "b.png").chmod(0)
    (tmp_path / "in" / "c").chmod(0)
    result = unet("predict", engine("transposed"), "in", "-o", "out", cwd=tmp_path,
                  before=without_privileges)
    (tmp_path / "in" / "c").chmod(0o755)
    assert result.returncode == 1
    folder, file, summary = result.stderr.splitlines()
    assert "in/c" in folder and "Permission denied" in folder
    assert "in/b.png" in file and "Permission denied" in file
    assert "1 segmented, 2 failed" in summary
    assert files_below(tmp_path / "out") == ["a.png"]


def test_a_full_disk(engine, tmp_path):
    """Small results are written, the first that does not fit ends the work, and no half is left."""
    save_png(tmp_path / "in" / "1.png", random_image(1, 16, 16))
    save_png(tmp_path / "in" / "2.png", random_image(1, 96, 96))
    save_png(tmp_path / "in" / "3.png", random_image(1, 16, 16))

    def small_files():
        default_signals()
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))

    result = unet("predict", engine("transposed"), "in", "-o", "out", "--save", "logits",
                  cwd=tmp_path, before=small_files)
    assert result.returncode == 5
    failure, summary = result.stderr.splitlines()
    assert "2.logits.npy" in failure
    assert "1 segmented, 1 failed, 1 not tried" in summary
    assert files_below(tmp_path / "out") == ["1.logits.npy"]


# ------------------------------------------------------------------ memory

@pytest.mark.skipif(SANITIZED, reason="a sanitizer reserves terabytes of addresses; the unit test "
                                      "of the session sets its limit above those")
def test_too_little_memory(engine, tmp_path):
    """An image too large for what is left is refused, not begun; a smaller scale is done."""
    save_png(tmp_path / "in" / "large.png", random_image(1, 1500, 2048))
    save_png(tmp_path / "in" / "small.png", random_image(1, 150, 204))

    def little_memory():
        default_signals()
        resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))

    words = ["large.png", "2048×1500", "MiB", "scale"]
    where = {"cwd": tmp_path, "before": little_memory}
    common = ["predict", engine("old-bilinear"), "-o", "out", "--threads", "2"]
    fails(5, *common, "in/large.png", words=words, **where)
    assert not (tmp_path / "out").exists()
    done(*common, "in/large.png", "--scale", "0.25", **where)
    result = unet(*common, "in", **where)
    assert result.returncode == 1
    failure, summary = result.stderr.splitlines()
    assert all(word in failure for word in words)
    assert "1 segmented, 1 failed" in summary


# ------------------------------------------------------------------ Ctrl-C

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_whole_files(engine, tmp_path, number):
    network, count = engine("transposed"), 400
    first = save_png(tmp_path / "in" / "000.png", random_image(1, 200, 300))
    for n in range(1, count):
        os.link(first, tmp_path / "in" / f"{n:03}.png")
    done("predict", network, first, "-o", tmp_path / "whole", "--save", "mask,color")
    process = subprocess.Popen(
        [PROGRAM, "predict", network, "in", "-o", "out", "--save", "mask,color"], cwd=tmp_path,
        stderr=subprocess.PIPE, env=environment(), preexec_fn=default_signals)
    while not (tmp_path / "out" / "002.png").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    _, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert words.decode() == "unet predict: interrupted\n"
    written = files_below(tmp_path / "out")
    assert 4 < len(written) < 2 * count
    for name in written:
        kind = name[3:]
        assert kind in (".png", ".color.png")
        whole = tmp_path / "whole" / f"000{kind}"
        assert digest(tmp_path / "out" / name) == digest(whole)
    assert len(written) % 2 == 0  # all kinds of an image or none


def test_an_interrupted_build_leaves_the_old_engine(tmp_path):
    out = tmp_path / "out.engine"
    out.write_text("the old one")
    for delay in [0.002, 0.005, 0.01, 0.02]:
        process = subprocess.Popen(
            [PROGRAM, "build", GOLDEN / "models" / "transposed.pth", "-o", out],
            stderr=subprocess.PIPE, env=environment(), preexec_fn=default_signals)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        # The signal may come before the program has a handler, or after it is done.
        assert process.returncode in (0, 130, -signal.SIGINT)
        assert files_below(tmp_path) == ["out.engine"]
        if out.read_bytes() != b"the old one":
            done("inspect", out, "--verify")
            out.write_text("the old one")


def test_pixels_survive_a_rerun(engine, tmp_path):
    """Older results are replaced, never mixed."""
    first = save_png(tmp_path / "in" / "a.png", random_image(1, 40, 50))
    done("predict", engine("transposed"), first, "-o", tmp_path / "out")
    expected = pixels(tmp_path / "out" / "a.png")
    (tmp_path / "out" / "a.png").write_bytes(b"x" * 100000)
    done("predict", engine("transposed"), first, "-o", tmp_path / "out")
    assert (pixels(tmp_path / "out" / "a.png") == expected).all()
