"""What a user types: help, options, numbers, mistakes."""
import os
import pty
import re
import subprocess

import pytest

from support import GOLDEN, PROGRAM, digest, done, environment, fails, random_image, save_png, \
    unet

VERBS = ["build", "predict", "eval", "bench", "inspect", "convert", "doctor", "-s", "-d"]


def test_nothing_prints_short_help_and_is_a_mistake():
    result = unet()
    assert result.returncode == 2
    assert result.stdout == ""
    for verb in VERBS:
        assert f"unet {verb}" in result.stderr


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(option):
    result = done(option)
    assert result.stderr == ""
    for verb in VERBS:
        assert f"unet {verb}" in result.stdout


def test_version_is_that_of_the_header():
    header = (GOLDEN.parents[1] / "include" / "unet.h").read_text()
    numbers = re.findall(r"#define UNET_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header)
    assert done("--version").stdout == f"unet {'.'.join(numbers)}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(verb):
    result = done(verb, "--help")
    assert result.stderr == ""
    assert result.stdout.startswith(f"usage: unet {verb}")
    examples = result.stdout.split("examples:\n")[1].splitlines()
    assert f"unet {verb}" in examples[0] or f"unet {verb}" in examples[1]
    assert all(len(line) <= 100 for line in result.stdout.splitlines())
    assert result.stdout == done(verb, "x", "-h").stdout


@pytest.mark.parametrize("typed, meant", [
    ("predct", "predict"), ("bild", "build"), ("evla", "eval"), ("inspekt", "inspect"),
    ("docter", "doctor"), ("convrt", "convert"), ("bnech", "bench"), ("--hlep", "--help"),
    ("--versoin", "--version"), ("PREDICT", "predict"),
])
def test_a_mistyped_verb(typed, meant):
    fails(2, typed, words=[f"'{typed}'", f"did you mean '{meant}'"])


@pytest.mark.parametrize("typed", ["qwertz", "model.pth", "-x", "--all"])
def test_a_word_that_is_like_no_verb(typed):
    assert "mean" not in fails(2, typed, words=[typed])


@pytest.mark.parametrize("line, words", [
    (["predict", "e", "i", "--treads", "2"], ["--treads", "did you mean '--threads'"]),
    (["predict", "e", "i", "--thread", "2"], ["--thread", "did you mean '--threads'"]),
    (["predict", "e", "i", "-save", "mask"], ["-save", "did you mean '--save'"]),
    (["predict", "e", "i", "--qwertz"], ["--qwertz"]),
    (["predict", "e", "i", "-q"], ["-q"]),
    (["build", "m", "-o", "e", "--precision", "int4"], ["--precision", "int4", "int8", "fp32"]),
    (["build", "m", "-o", "e", "--calib-method", "entropie"], ["did you mean 'entropy'"]),
    (["build", "m", "-o", "e", "--calib-method", "best"], ["--calib-method", "minmax"]),
    (["build", "m", "-o", "e", "--calib-all=yes"], ["--calib-all", "no value"]),
    (["build", "m", "-o", "e", "--device", "gpu"], ["--device", "gpu", "cuda:N"]),
    (["build", "m", "-o", "e", "--size", "512"], ["--size", "512"]),
    (["build", "m", "-o", "e", "--size", "512x"], ["--size"]),
    (["build", "m", "-o", "e", "--size", "0x512"], ["--size", "32768"]),
    (["build", "m", "-o", "e", "--size", "512x512px"], ["--size"]),
    (["build", "m", "-o", "e", "--size", "99999x5"], ["--size"]),
    (["build", "m", "-o", "e", "--scale", "0"], ["--scale", "above 0"]),
    (["build", "m", "-o", "e", "--scale", "half"], ["--scale", "half"]),
    (["build", "m", "-o", "e", "--normalize", "mean=0.5"], ["--normalize"]),
    (["build", "m", "-o", "e", "--normalize", "mean=1,2,std=1"], ["--normalize"]),
    (["build", "m", "-o", "e", "--normalize", "mean=1,std=0"], ["--normalize", "above 0"]),
    (["build", "m", "-o", "e", "--normalize", "z-score"], ["--normalize", "zscore"]),
    (["build", "m", "-o", "e", "--threads", "0"], ["--threads", "0"]),
    (["build", "m", "-o", "e", "--timing-cache"], ["--timing-cache", "needs a value"]),
    (["build", "m", "-o", "e", "--no-timing=1"], ["--no-timing", "no value"]),
    (["build", "m", "-o"], ["-o", "needs a value"]),
    (["build", "", "-o", "e"], ["an argument is empty"]),
    (["predict", "e", "i", ""], ["an argument is empty"]),
    (["build", "m", "-o", "--verbose"], ["-o", "needs a value"]),
    (["build", "m", "-o", ""], ["-o", "needs a value"]),
    (["build", "m", "-o", "e", "--verbose=1"], ["--verbose", "no value"]),
    (["build", "m"], ["-o"]),
    (["build"], ["missing", "unet build MODEL"]),
    (["build", "m", "n", "-o", "e"], ["'n'", "unet build MODEL"]),
    (["predict", "e"], ["missing", "unet predict ENGINE|MODEL INPUT"]),
    (["predict", "e", "i", "--threads", "0"], ["--threads", "'0'"]),
    (["predict", "e", "i", "--threads", "2x"], ["--threads", "'2x'"]),
    (["predict", "e", "i", "--threads", " 2"], ["--threads"]),
    (["predict", "e", "i", "--threads", "99999999999999999999"], ["--threads"]),
    (["predict", "e", "i", "--threshold", "1"], ["--threshold", "above 0 and below 1"]),
    (["predict", "e", "i", "--threshold", "nan"], ["--threshold"]),
    (["predict", "e", "i", "--range", "5"], ["--range"]),
    (["predict", "e", "i", "--range", "5,5"], ["--range"]),
    (["predict", "e", "i", "--range", "percentile:1,101"], ["--range"]),
    (["predict", "e", "i", "--save", "masks"], ["masks", "did you mean 'mask'"]),
    (["predict", "e", "i", "--save", "mask,"], ["--save"]),
    (["predict", "e", "i", "--save", "png"], ["--save", "mask, color, overlay"]),
    (["eval", "e"], ["--images"]),
    (["eval", "e", "--images", "i"], ["--labels"]),
    (["eval", "e", "--images", "i", "--labels", "l", "--against", "f"], ["--against"]),
    (["eval", "e", "--images", "i", "--labels", "l", "--ignore", "256"], ["--ignore", "255"]),
    (["eval", "e", "--images", "i", "--against", "f", "--ignore", "1"], ["--ignore"]),
    (["eval", "e", "--images", "i", "--labels", "l", "-o", "d"], ["--out", "--against"]),
    (["bench", "e", "--seconds", "-1"], ["--seconds", "'-1'"]),
    (["bench", "e", "--format", "xml"], ["--format", "json"]),
    (["bench", "e", "--batch", "0"], ["--batch"]),
    (["bench"], ["missing"]),
    (["inspect"], ["missing"]),
    (["inspect", "a", "b"], ["'b'"]),
    (["doctor", "me"], ["'me'"]),
    (["convert", "m", "-o", "out.pth"], ["out.pth", ".wts", ".safetensors"]),
    (["convert", "m", "-o", ".wts"], [".wts"]),
    (["convert", "m"], ["-o"]),
    (["-d"], ["missing"]),
    (["-s", "a", "b"], ["'b'"]),
    (["-s", "-o", "e"], ["-o"]),
])
def test_a_mistake_is_one_line_that_names_it(tmp_path, line, words):
    fails(2, *line, words=words, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_options_stand_anywhere(engine, tmp_path):
    image = save_png(tmp_path / "a.png", random_image(1, 16, 16))
    network = engine("old-bilinear")
    lines = [["--save", "mask", "-o", "1", network, image], [network, "--save=mask", image, "-o2"],
             [network, image, "--out=3", "--save", "mask"], ["--out", "4", "--", network, image],
             [network, image, "-o=5", "--save", "color", "--save", "mask"]]
    for line in lines:
        done("predict", *line, cwd=tmp_path)
    masks = {digest(tmp_path / str(n) / "a.png") for n in range(1, 6)}
    assert len(masks) == 1
    assert (tmp_path / "5" / "a.color.png").exists()


def test_a_name_that_begins_with_a_dash(engine, tmp_path):
    save_png(tmp_path / "-a.png", random_image(1, 16, 16))
    done("predict", engine("old-bilinear"), "-o", "out", "--", "-a.png", cwd=tmp_path)
    assert (tmp_path / "out" / "-a.png").exists()


def test_a_full_standard_output():
    with open("/dev/full", "w") as full:
        result = subprocess.run([PROGRAM, "--help"], stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 5
    assert b"standard output" in result.stderr


def on_a_terminal(*arguments, **changes):
    """The program's words where stderr is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], stderr=theirs,
                               env=environment({"TERM": "xterm"} | changes))
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 4096):
            text += chunk
    except OSError:  # how Linux reports that the other side is closed
        pass
    os.close(ours)
    process.wait()
    return text.decode()


def test_colour_only_on_a_terminal_and_not_under_no_color():
    assert "\033[31m" in on_a_terminal("predct")
    assert "\033" not in on_a_terminal("predct", NO_COLOR="1")
    assert "\033" not in on_a_terminal("predct", TERM="dumb")
    assert "\033" not in unet("predct").stderr


def test_a_progress_bar_only_on_a_terminal(engine, tmp_path):
    for name in "abc":
        save_png(tmp_path / "in" / f"{name}.png", random_image(1, 64, 64))
    line = ["predict", engine("old-bilinear"), tmp_path / "in", "-o", tmp_path / "out"]
    assert "0/3" in on_a_terminal(*line)
    result = done(*line)
    assert "/3" not in result.stderr and "\r" not in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_message_is_one_line_whatever_the_name(tmp_path):
    line = fails(4, "predict", "e", "two\nlines\033[2J.png", cwd=tmp_path)
    assert "two?lines" in line and "\033" not in line
