"""models/, cases/ and interpolate/: small networks, what they are fed, and their logits."""
import numpy as np
import torch
from torch.nn import functional

from common import fresh_folder, generator, save_array, write_index
from networks import BrainUNet, PytorchUNet, fill, logits_of

PYTORCH_UNET_SIZES = [(16, 16), (32, 48), (37, 53), (61, 16)]
BRAIN_SIZES = [(16, 16), (32, 48), (64, 16)]

# name, variant, base width, channels, classes, convolution bias, stored as, sizes.
# Half of float32's bytes keep the folder small; old-bilinear has all 24 bits of mantissa.
MODELS = [
    ("old-bilinear", "old-bilinear", 4, 3, 2, True, torch.float32, PYTORCH_UNET_SIZES),
    ("bilinear", "bilinear", 5, 1, 1, False, torch.float16, PYTORCH_UNET_SIZES),
    ("bilinear-bias", "bilinear", 4, 4, 2, True, torch.float16, [(16, 16), (37, 53), (61, 16)]),
    ("transposed", "transposed", 4, 3, 19, False, torch.float16, [(16, 16), (37, 21), (61, 16)]),
    ("transposed-bias", "transposed", 3, 1, 2, True, torch.float16, PYTORCH_UNET_SIZES),
    ("brain", "brain", 3, 3, 1, False, torch.float16, BRAIN_SIZES),
]

INTERPOLATIONS = [  # classes, in height, in width, out height, out width
    (2, 18, 26, 37, 53), (2, 16, 24, 32, 48), (3, 7, 5, 61, 16), (1, 1, 1, 4, 3),
    (1, 1, 6, 5, 12), (2, 9, 9, 9, 9), (2, 20, 30, 13, 7), (19, 5, 7, 11, 15),
]


def random_input(channels, height, width, zscore=False):
    """Coarse blobs with fine noise, so that every level of a network has something to see."""
    rng = generator("input", channels, height, width)
    coarse = torch.from_numpy(rng.random((1, channels, 5, 5)))
    blobs = functional.interpolate(coarse, (height, width), mode="bicubic")[0].numpy()
    noise = 0.25 * rng.standard_normal((channels, height, width))
    x = np.clip(blobs + noise, 0, 1)
    return ((x - x.mean()) / x.std() if zscore else x).astype(np.float32)


def double_logits(net, x):
    """Logits in double precision: the truth that any float32 order of sums comes close to."""
    batch = torch.from_numpy(x)[None]
    with torch.no_grad():
        exact = logits_of(net.double(), batch.double())[0].numpy()
        single = logits_of(net.float(), batch)[0].numpy()
    noise = np.abs(exact - single).max()
    assert noise < 1e-4, f"float32 strays by {noise}"
    return exact.astype(np.float32)


def build(name, variant, width, channels, classes, bias, bits):
    if variant == "brain":
        net = BrainUNet(width, channels, classes)
    else:
        net = PytorchUNet(variant, width, channels, classes, bias)
    sample = random_input(channels, 64, 96, zscore=variant == "brain")
    return fill(net, generator("weights", name), sample, bits)


def in_one_storage(state):
    """All floats are views of one storage, and all counters of another."""
    views = {}
    for group in (torch.is_floating_point, lambda tensor: not tensor.is_floating_point()):
        members = {name: tensor for name, tensor in state.items() if group(tensor)}
        storage = torch.cat([tensor.reshape(-1) for tensor in members.values()])
        pieces = storage.split([tensor.numel() for tensor in members.values()])
        views |= {name: piece.view(tensor.shape)
                  for piece, (name, tensor) in zip(pieces, members.items())}
    return {name: views[name] for name in state}


def save_model(path, net, dtype):
    """In one storage: a zip entry for each small tensor would outweigh the tensors."""
    state = dict(net.state_dict())
    for name, tensor in state.items():
        if tensor.is_floating_point():
            assert torch.equal(tensor.to(dtype).float(), tensor), name
            state[name] = tensor.to(dtype)
    torch.save(in_one_storage(state), path)


def record_cases(folder, name, net, channels, sizes):
    rows = []
    kind = "z" if name == "brain" else "c"
    for height, width in sizes:
        x = random_input(channels, height, width, zscore=name == "brain")
        input_name = f"{kind}{channels}-{height}x{width}.input.npy"
        logits_name = f"{name}-{height}x{width}.logits.npy"
        logits = double_logits(net, x)
        assert 0.5 < logits.std() < 20, (name, logits.std())
        save_array(folder / input_name, x)
        save_array(folder / logits_name, logits)
        rows.append((f"{name}.pth", input_name, logits_name))
    return rows


def record_models():
    models, cases = fresh_folder("models"), fresh_folder("cases")
    rows = []
    for name, variant, width, channels, classes, bias, dtype, sizes in MODELS:
        bits = 24 if dtype == torch.float32 else 8
        net = build(name, variant, width, channels, classes, bias, bits)
        save_model(models / f"{name}.pth", net, dtype)
        rows += record_cases(cases, name, net, channels, sizes)
    write_index(cases, rows)


def record_interpolate():
    folder = fresh_folder("interpolate")
    rows = []
    for classes, height, width, out_height, out_width in INTERPOLATIONS:
        rng = generator("interpolate", classes, height, width)
        logits = (4 * rng.standard_normal((classes, height, width))).astype(np.float32)
        small = f"{classes}x{height}x{width}.npy"
        large = f"{classes}x{height}x{width}-{out_height}x{out_width}.npy"
        result = functional.interpolate(torch.from_numpy(logits)[None], (out_height, out_width),
                                        mode="bilinear", align_corners=False)
        save_array(folder / small, logits)
        save_array(folder / large, result[0].numpy())
        rows.append((small, large))
    write_index(folder, rows)


def record():
    record_models()
    record_interpolate()
