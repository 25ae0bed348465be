"""convert: every way a checkpoint comes, to .wts byte for byte and to .safetensors."""
import os

import numpy as np
import pytest

from support import GOLDEN, digest, done, fails, files_below, index_rows, read_safetensors, \
    read_wts, write_wts

FORMATS = GOLDEN / "formats"
ROWS = index_rows("formats")


@pytest.mark.parametrize("name, expected", ROWS, ids=[row[0] for row in ROWS])
def test_wts_is_gen_wts_output(tmp_path, name, expected):
    result = done("convert", FORMATS / name, "-o", tmp_path / "out.wts")
    assert result.stdout == ""
    assert digest(tmp_path / "out.wts") == digest(FORMATS / expected)


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "float16.pth", "strided.pth",
                                  "expected.wts", "bf16.safetensors"])
def test_safetensors_hold_the_same_values(tmp_path, name):
    done("convert", FORMATS / name, "-o", tmp_path / "out.safetensors")
    expected = read_wts(FORMATS / dict(ROWS)[name])
    found = read_safetensors(tmp_path / "out.safetensors")
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert np.array_equal(found[key].astype(np.float32).reshape(-1), values), key


def test_there_and_back(tmp_path):
    names = ["a.safetensors", "b.wts", "c.safetensors", "d.wts"]
    source = FORMATS / "expected.wts"
    for name in names:
        done("convert", source, "-o", tmp_path / name)
        source = tmp_path / name
    assert digest(tmp_path / "b.wts") == digest(FORMATS / "expected.wts")
    assert digest(tmp_path / "d.wts") == digest(FORMATS / "expected.wts")


def test_wts_of_another_writer(tmp_path):
    """Values at the edges of float32 come through with all their bits."""
    bits = np.array([0, 1, 0x80000000, 0x7f7fffff, 0xff7fffff, 0x3f800001, 0x7f800000, 0x007fffff],
                    dtype=np.uint32)
    tensors = {"edges": bits.view(np.float32), "one": [1.5], "none": []}
    write_wts(tmp_path / "in.wts", tensors)
    done("convert", tmp_path / "in.wts", "-o", tmp_path / "out.wts")
    assert digest(tmp_path / "out.wts") == digest(tmp_path / "in.wts")
    done("convert", tmp_path / "in.wts", "-o", tmp_path / "out.safetensors")
    found = read_safetensors(tmp_path / "out.safetensors")
    assert np.array_equal(found["edges"].view(np.uint32), bits)


def test_the_input_is_not_overwritten(tmp_path):
    path = tmp_path / "model.wts"
    path.write_bytes((FORMATS / "expected.wts").read_bytes())
    os.symlink(path, tmp_path / "link.wts")
    os.link(path, tmp_path / "hard.wts")
    for name in ["model.wts", "link.wts", "hard.wts"]:
        fails(2, "convert", path, "-o", tmp_path / name, words=[name, "overwrite"])
    assert digest(path) == digest(FORMATS / "expected.wts")


def test_an_older_file_is_replaced(tmp_path):
    (tmp_path / "out.wts").write_text("old")
    done("convert", FORMATS / "zip.pth", "-o", tmp_path / "out.wts")
    assert digest(tmp_path / "out.wts") == digest(FORMATS / "expected.wts")


def test_what_cannot_be_read(tmp_path, engine):
    (tmp_path / "empty.pth").write_bytes(b"")
    for path in [tmp_path / "missing.pth", tmp_path / "empty.pth", tmp_path]:
        fails(3, "convert", path, "-o", tmp_path / "out.wts", words=[path.name])
    fails(3, "convert", engine("old-bilinear"), "-o", tmp_path / "out.wts", words=["engine"])
    assert files_below(tmp_path) == ["empty.pth"]


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in [tmp_path / "missing" / "out.wts", tmp_path / "file" / "out.wts"]:
        fails(5, "convert", FORMATS / "zip.pth", "-o", path, words=[path])
    assert files_below(tmp_path) == ["file"]
