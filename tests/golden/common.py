"""What every recording shares: folders, indexes, arrays, and rounding that survives bfloat16."""
import shutil
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parent
SHARED = GOLDEN.parents[1].parent / "shared"


def fresh_folder(name):
    """An empty folder beside this file: what is no longer recorded must not linger."""
    folder = GOLDEN / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def write_index(folder, rows, separator=" "):
    """index.txt: one row a line, no comments and no quotes, so that fscanf can read it."""
    lines = [separator.join(str(field) for field in row) + "\n" for row in rows]
    (folder / "index.txt").write_text("".join(lines), encoding="ascii")


def save_array(path, array):
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def generator(*words):
    """A generator of its own for each recording: adding one leaves the others as they are."""
    return np.random.default_rng(list(" ".join(str(word) for word in words).encode()))


def round_bits(values, bits=8):
    """Keep at most `bits` significant bits; that also hides how a machine summed.

    With eight, each value is the same in float32, bfloat16 and float16: the second rounding
    keeps float16's subnormals out.
    """
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
    rounded = np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)
    return np.ldexp(np.round(np.ldexp(rounded, bits + 6)), -bits - 6)
