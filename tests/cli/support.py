"""What the tests of the program share: running it, and reading what it writes without its help."""
import hashlib
import json
import os
import signal
import struct
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("UNET_PROGRAM", ROOT / "build" / "unet")).resolve()
GOLDEN = ROOT / "tests" / "golden"
SHARED = ROOT.parent / "shared"

MODELS = {  # of tests/golden/models: channels in, classes
    "old-bilinear": (3, 2), "bilinear": (1, 1), "bilinear-bias": (4, 2), "transposed": (3, 19),
    "transposed-bias": (1, 2), "brain": (3, 1),
}


# Instrumented code says nothing about speed, and reserves terabytes of addresses.
SANITIZED = PROGRAM.is_file() and b"__asan_init" in PROGRAM.read_bytes()


def digest(path):
    """What files are compared by: where CI is set, pytest would otherwise print the difference of
    two engines line by line, and take hours over it."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def environment(changes=None):
    """The caller's, less what would change the program's words or kernels."""
    plain = {k: v for k, v in os.environ.items() if k not in ("UNET_CPU", "NO_COLOR")}
    return plain | (changes or {})


def default_signals():
    """Background jobs ignore SIGINT, nohup's SIGHUP, and their children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def unet(*arguments, cwd=None, env=None, stdin=b"", before=default_signals):
    """Runs the program; stdout and stderr come back as text."""
    result = subprocess.run([PROGRAM, *map(str, arguments)], cwd=cwd, env=environment(env),
                            input=stdin, capture_output=True, timeout=600, preexec_fn=before)
    result.stdout = result.stdout.decode()
    result.stderr = result.stderr.decode()
    return result


def done(*arguments, **more):
    """Runs what must succeed."""
    result = unet(*arguments, **more)
    assert result.returncode == 0, result.stderr
    return result


def fails(code, *arguments, words=(), **more):
    """Runs what must fail: with this code, nothing on stdout, and one line that has the words."""
    result = unet(*arguments, **more)
    assert result.returncode == code, (result.returncode, result.stderr)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("unet"), lines[0]
    for word in words:
        assert str(word).lower() in lines[0].lower(), (word, lines[0])
    return lines[0]


def files_below(folder):
    """Paths of all files, relative, sorted."""
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if not p.is_dir())


def json_of(*arguments, **more):
    return json.loads(done(*arguments, **more).stdout)


def pixels(path):
    with Image.open(path) as image:
        return np.array(image)


def save_png(path, array):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def random_image(seed, height, width, channels=3):
    """Blobs with noise: something for every level of a network."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((4, 5, channels))
    planes = [np.asarray(Image.fromarray(coarse[:, :, c].astype(np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC)) for c in range(channels)]
    values = np.stack(planes, axis=2) + 0.1 * rng.standard_normal((height, width, channels))
    image = np.clip(255 * values, 0, 255).astype(np.uint8)
    return image[:, :, 0] if channels == 1 else image


def softmax(logits):
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def same_masks(ours, theirs, at_most=0):
    assert ours.shape == theirs.shape
    assert np.count_nonzero(ours != theirs) <= at_most


def read_wts(path):
    """Names → float32 values, by the format's description alone."""
    lines = Path(path).read_text(encoding="ascii").splitlines()
    assert len(lines) == 1 + int(lines[0])
    tensors = {}
    for line in lines[1:]:
        name, count, *digits = line.split()
        assert len(digits) == int(count)
        tensors[name] = np.array([struct.unpack(">f", bytes.fromhex(d))[0] for d in digits],
                                 dtype=np.float32)
    return tensors


def write_wts(path, tensors):
    """As the ancestor's script writes it: two spaces stand before the first value."""
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{len(tensors)}\n")
        for name, values in tensors.items():
            flat = np.asarray(values, dtype=np.float32).reshape(-1)
            file.write(f"{name} {len(flat)} ")
            for value in flat:
                file.write(" ")
                file.write(struct.pack(">f", float(value)).hex())
            file.write("\n")


DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
          "I8": "i1", "U8": "u1", "BOOL": "?"}


def read_safetensors(path):
    """Names → arrays. bfloat16 becomes float32."""
    data = Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            words = np.frombuffer(data[first:last], "<u2").astype("<u4") << 16
            values = words.view("<f4")
        else:
            values = np.frombuffer(data[first:last], DTYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def index_rows(folder):
    """Tabs where the last field is prose, blanks elsewhere."""
    text = (GOLDEN / folder / "index.txt").read_text(encoding="ascii")
    return [line.split("\t" if "\t" in line else None) for line in text.splitlines()]
