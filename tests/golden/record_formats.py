"""formats/: one small network in every container and shape that a checkpoint comes in."""
import copy
import io
import json
import struct
import zipfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from common import fresh_folder, generator, round_bits, save_array, write_index
from networks import PytorchUNet, fill
from pickle_writer import hand_made_checkpoint
from pickles import replace_strings, stabilise_legacy, stable_keys
from raw_zip import Entry, build_zip
from record_models import double_logits, in_one_storage, random_input

CONSTANT = "up1.conv.double_conv.4.weight"  # all values equal, so that a stride of 0 can hold it
SORTED = ("f32.safetensors", "f16.safetensors", "bf16.safetensors")
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")


def build_network():
    """Base width 1, each value the same in float32, float16 and bfloat16."""
    net = PytorchUNet("old-bilinear", 1, 3, 2, bias=True)
    fill(net, generator("formats"), random_input(3, 64, 96), bits=8, deviation=2.0)
    net.state_dict()[CONSTANT].fill_(1.25)
    return net


def wts_text(state):
    lines = [f"{len(state)}\n"]
    for name, tensor in state.items():
        values = tensor.reshape(-1).double().tolist()
        digits = "".join(" " + struct.pack(">f", value).hex() for value in values)
        lines.append(f"{name} {len(values)} {digits}\n")
    return "".join(lines)


def map_floats(state, change):
    return {name: change(tensor) if tensor.is_floating_point() else tensor
            for name, tensor in state.items()}


def prefixed(state, prefix="module."):
    return {prefix + name: tensor for name, tensor in state.items()}


def strided(state):
    """Transposed and permuted weights, every second value of a buffer, and a stride of 0."""
    def change(tensor):
        if tensor.dim() == 4 and tensor.shape[0] > tensor.shape[1]:
            return tensor.transpose(0, 1).contiguous().transpose(0, 1)
        if tensor.dim() == 4:
            return tensor.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
        return torch.stack([tensor, -tensor], dim=1)[:, 0]

    changed = map_floats(state, change)
    changed[CONSTANT] = torch.tensor([1.25]).expand(state[CONSTANT].shape)
    assert changed[CONSTANT].stride() == (0,)
    assert sum(not tensor.is_contiguous() for tensor in changed.values()) > 60
    return changed


def offset(state):
    """Each tensor in the middle of a storage whose other values would not pass for it."""
    def change(tensor):
        margin = torch.full((3,), 777.0)
        whole = torch.cat([margin, tensor.reshape(-1), margin])
        return whole[3:3 + tensor.numel()].view(tensor.shape)

    return map_floats(state, change)


def with_mask_values(state, values):
    """As Pytorch-UNet's train.py leaves it: one more entry, whose value is a list."""
    changed = state.copy()
    changed["mask_values"] = values
    return changed


def mixed_precision(state):
    """Convolutions in half precision, batch norm in single."""
    return {name: tensor.half() if tensor.dim() == 4 else tensor
            for name, tensor in state.items()}


def training_checkpoint(net, state):
    """What a loop that tunes a network's end keeps: Adam after a real step, counters, words."""
    rng = generator("adam")
    trained = [*net.up3.parameters(), *net.up4.parameters(), *net.outc.parameters()]
    optimizer = torch.optim.Adam(trained, lr=1e-3)
    for parameter in trained:
        gradient = round_bits(rng.standard_normal(parameter.shape))
        parameter.grad = torch.from_numpy(gradient).float()
    optimizer.step()
    return {"epoch": 12, "global_step": 1 << 40, "offset": -70000, "best": -0.8125,
            "comment": "Z\u00fcrich \u2013 \u7d30\u80de", "scheduler": None, "amp": True,
            "resumed": False, "losses": [1.5, 0.75, 0.5], "nothing": [], "empty": {},
            "classes": ("membrane", "cell"), "huge": -(1 << 70),
            "config": {"depth": 4, "sizes": (512, 512, 3, 1), "unit": ()},
            "model_state_dict": state, "optimizer_state_dict": optimizer.state_dict()}


def with_numpy_scalars(state):
    """What numpy's mean, max and unique leave beside a network, and in its mask_values."""
    return {"epoch": np.int64(12), "best": np.float64(0.8125), "amp": np.bool_(True),
            "losses": [np.float32(1.5), np.float16(0.75)], "seed": np.uint64((1 << 64) - 1),
            "state_dict": with_mask_values(state, [np.uint8(0), np.int16(255)])}


def zip_checkpoints(net, state):
    """name, object, pickle protocol: written by torch.save as it writes today.

    Where a name says nothing of storages there is only one, which keeps the file small.
    """
    plain = in_one_storage(state)
    yield "zip", state, 2
    yield "plain-dict", dict(state), 2
    yield "protocol-3", plain, 3
    yield "protocol-4", plain, 4
    yield "protocol-5", state, 5
    yield "module", prefixed(plain), 2
    yield "nested-state_dict", {"state_dict": plain}, 2
    yield "nested-model_state_dict", {"epoch": 3, "model_state_dict": plain}, 2
    yield "mask-values", with_mask_values(plain, [0, 255]), 2
    halves = with_numpy_scalars(in_one_storage(map_floats(state, torch.Tensor.half)))
    yield "numpy-2", halves, 2
    yield "numpy-4", halves, 4
    yield "float16", map_floats(state, torch.Tensor.half), 2
    yield "bfloat16", map_floats(state, torch.Tensor.bfloat16), 2
    yield "float64", map_floats(state, torch.Tensor.double), 2
    yield "strided", strided(state), 2
    yield "offset", offset(state), 2
    yield "shared-storage", plain, 2
    yield "parameters", net.state_dict(keep_vars=True), 2
    yield "channels-last", {name: t.contiguous(memory_format=torch.channels_last)
                            if t.dim() == 4 else t for name, t in state.items()}, 2


def legacy_checkpoints(net, state):
    yield "legacy", state
    yield "legacy-shared-storage", in_one_storage(state)
    yield "legacy-strided", strided(state)
    yield "legacy-parameters", net.state_dict(keep_vars=True)
    yield "legacy-float16", map_floats(state, torch.Tensor.half)
    yield "legacy-mixed-precision", mixed_precision(state)
    yield "legacy-mask-values", with_mask_values(state, [[0, 0, 0], [128, 64, 0]])
    yield "legacy-nested-model", {"model": dict(state), "epoch": 3}
    yield "legacy-nested-net", {"acc": 97.25, "net": prefixed(state), "epoch": 3}
    yield "legacy-nested-module", {"state_dict": prefixed(state)}


def save_legacy(path, checkpoint):
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer, pickle_protocol=2, _use_new_zipfile_serialization=False)
    path.write_bytes(stabilise_legacy(buffer.getvalue()))


def read_entries(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename.split("/", 1)[1]: archive.read(info)
                for info in archive.infolist()}


def save_without_crc(path, checkpoint):
    """torch.save can be told not to compute checksums, and then writes zeros."""
    torch.serialization.set_crc32_options(False)
    torch.save(checkpoint, path)
    torch.serialization.set_crc32_options(True)


def save_rezipped(path, source):
    """Unpacked and packed again by another program: directories, true sizes in local headers."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        entries = {"": b"", "data/": b"", **read_entries(source)}
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(f"checkpoint/{name}"), data)


def save_as_torch_1_6(path, source):
    """The first zip format: folder `archive`, addresses for keys, no byte order, no alignment."""
    entries = read_entries(source)
    old = [name[len("data/"):] for name in entries if name.startswith("data/")]
    keys = dict(zip(old, stable_keys(len(old))))
    parts = [Entry("archive/data.pkl", replace_strings(entries["data.pkl"], keys))]
    parts += [Entry(f"archive/data/{keys[key]}", entries[f"data/{key}"]) for key in old]
    path.write_bytes(build_zip(parts + [Entry("archive/version", b"3\n")]))


def save_from_gpu(path, source):
    """Saved by a program whose network was on a GPU: storages say so."""
    entries = read_entries(source)
    entries["data.pkl"] = replace_strings(entries["data.pkl"], {"cpu": "cuda:0"})
    path.write_bytes(build_zip([Entry(f"gpu/{name}", data) for name, data in entries.items()]))


def save_with_numpy_1(path, source):
    """NumPy called the module of its scalars otherwise before version 2."""
    entries = read_entries(source)
    named = b"cnumpy._core.multiarray\n"
    assert named in entries["data.pkl"]
    entries["data.pkl"] = entries["data.pkl"].replace(named, named.replace(b"_", b""))
    path.write_bytes(build_zip([Entry(f"numpy-1/{name}", data) for name, data in entries.items()]))


def save_in_order(path, state):
    """A .safetensors in the checkpoint's order; safetensors' own writer sorts."""
    header, blob = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in state.items():
        data = tensor.contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32" if tensor.is_floating_point() else "I64",
                        "shape": list(tensor.shape),
                        "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def save_hand_made(folder):
    """Another network, and the only one whose tensors all have strides of 0."""
    path = folder / "hand-made.pth"
    path.write_bytes(hand_made_checkpoint())
    text = wts_text(torch.load(path))
    (folder / "hand-made.wts").write_text(text, encoding="ascii")


def unwrapped(checkpoint):
    """The named tensors of a checkpoint, by the rules that libunet's readers follow."""
    for wrapper in WRAPPERS:
        if isinstance(checkpoint.get(wrapper), dict):
            checkpoint = checkpoint[wrapper]
    return {name.removeprefix("module."): value for name, value in checkpoint.items()
            if isinstance(value, torch.Tensor)}


def record_pth(folder, net, state):
    for name, checkpoint, protocol in zip_checkpoints(net, state):
        torch.save(checkpoint, folder / f"{name}.pth", pickle_protocol=protocol)
    for name, checkpoint in legacy_checkpoints(net, state):
        save_legacy(folder / f"{name}.pth", checkpoint)
    save_without_crc(folder / "crc-0.pth", in_one_storage(state))
    save_rezipped(folder / "rezipped.pth", folder / "shared-storage.pth")
    save_as_torch_1_6(folder / "torch-1.6.pth", folder / "shared-storage.pth")
    save_from_gpu(folder / "gpu.pth", folder / "shared-storage.pth")
    save_with_numpy_1(folder / "numpy-1.pth", folder / "numpy-2.pth")
    torch.save(training_checkpoint(net, state), folder / "training.pth")


def safetensors_order(state):
    """The order of safetensors' own writer: widest type first, then by name."""
    return {name: state[name]
            for name in sorted(state, key=lambda name: (state[name].is_floating_point(), name))}


def record_safetensors(folder, state):
    for name, change in (("f32", torch.Tensor.float), ("f16", torch.Tensor.half),
                         ("bf16", torch.Tensor.bfloat16)):
        path = folder / f"{name}.safetensors"
        save_file(map_floats(state, change), path)
        path.chmod(0o644)
    save_in_order(folder / "in-order.safetensors", state)
    text = wts_text(safetensors_order(state))
    (folder / "expected-sorted.wts").write_text(text, encoding="ascii")


def record_wts(folder, state):
    text = wts_text(state)
    (folder / "expected.wts").write_text(text, encoding="ascii")
    spaced = "\n" + text.replace("  ", " ").replace("\n", " \r\n").replace(" 3f", "\t3f", 9)
    (folder / "white-space.wts").write_bytes(spaced.encode())


def check(folder, rows):
    """Everything that PyTorch and safetensors can read must give the recorded answer."""
    for name, expected in rows:
        if name.endswith(".wts"):
            continue
        if name.endswith(".safetensors"):
            state = load_file(folder / name)
        else:
            # torch's own allow-list stops at protocol 2 and knows no numpy
            strict = "protocol" not in name and "numpy" not in name
            state = unwrapped(torch.load(folder / name, "cpu", weights_only=strict))
        if name in SORTED:
            state = safetensors_order(state)
        text = (folder / expected).read_text(encoding="ascii")
        assert wts_text(state) == text, name


def record():
    folder = fresh_folder("formats")
    net = build_network()
    x = random_input(3, 32, 48)
    logits = double_logits(net, x)
    assert logits.std() > 0.5
    save_array(folder / "input.npy", x)
    save_array(folder / "logits.npy", logits)
    state = copy.deepcopy(net.state_dict())  # the optimizer's step changes the network's own
    record_wts(folder, state)
    record_safetensors(folder, state)
    record_pth(folder, net, state)
    save_hand_made(folder)
    names = sorted(path.name for path in folder.iterdir() if path.suffix != ".npy")
    expected = {name: "expected-sorted.wts" for name in SORTED}
    expected["hand-made.pth"] = "hand-made.wts"
    rows = [(name, expected.get(name, "expected.wts")) for name in names
            if name not in expected.values()]
    check(folder, rows)
    write_index(folder, rows)
