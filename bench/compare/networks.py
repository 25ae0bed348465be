"""Checkpoints in PyTorch, in the definition that the tests' golden outputs were recorded from."""
import pathlib
import sys

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]


def definitions():
    sys.path.insert(0, str(ROOT / "tests" / "golden"))
    import networks as golden

    return golden


def random_unet(variant, width, classes=2):
    """Pytorch-UNet of random weights, batch norm's statistics as after training's first step."""
    net = definitions().PytorchUNet(variant, width, 3, classes, False)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.1, 0.3)
    return net.eval()


def load(path):
    golden = definitions()
    state = torch.load(path, weights_only=True)
    state = {name: tensor.float() for name, tensor in state.items() if name != "mask_values"}
    width, channels = state["inc.double_conv.0.weight"].shape[:2]
    transposed = "up1.up.weight" in state
    middle = state["up1.conv.double_conv.0.weight"].shape[0]
    old = not transposed and middle == 4 * width
    variant = "transposed" if transposed else "old-bilinear" if old else "bilinear"
    net = golden.PytorchUNet(variant, width, channels, state["outc.conv.bias"].shape[0],
                             "inc.double_conv.0.bias" in state)
    net.load_state_dict(state)
    return net.eval()


def describe(path):
    """As `unet inspect` tells it of an engine."""
    state = torch.load(path, weights_only=True)
    width, channels = state["inc.double_conv.0.weight"].shape[:2]
    transposed = "up1.up.weight" in state
    old = not transposed and state["up1.conv.double_conv.0.weight"].shape[0] == 4 * width
    kind = "transposed" if transposed else "bilinear-old" if old else "bilinear"
    return {"architecture": f"unet-{kind}", "in_channels": channels, "width": width,
            "classes": state["outc.conv.bias"].shape[0]}


class Casting(torch.nn.Module):
    """float32 → float32 around a network of another type."""

    def __init__(self, net, kind):
        super().__init__()
        self.net, self.kind = net, kind

    def forward(self, batch):
        return self.net(batch.to(self.kind)).float()


class Pixels(torch.nn.Module):
    """uint8 N×H×W×C → float32 N×C×H×W."""

    def forward(self, images):
        return images.permute(0, 3, 1, 2).float() / 255


class Classes(torch.nn.Module):
    """Logits → uint8 N×H×W. Class after class is compared: faster than argmax in OpenVINO, not
    slower in the others."""

    def forward(self, logits):
        if logits.shape[1] == 1:
            return (logits[:, 0] > 0).to(torch.uint8)
        mask, best = (logits[:, 1] > logits[:, 0]).to(torch.uint8), None
        for index in range(2, logits.shape[1]):
            best = torch.maximum(logits[:, 0], logits[:, 1]) if best is None else best
            here = torch.tensor(index, dtype=torch.uint8)
            mask = torch.where(logits[:, index] > best, here, mask)
            best = torch.maximum(best, logits[:, index])
        return mask


class Masking(Casting):
    """uint8 N×H×W×C → uint8 N×H×W."""

    def __init__(self, net, kind):
        super().__init__(net, kind)
        self.pixels, self.classes = Pixels(), Classes()

    def forward(self, images):
        return self.classes(super().forward(self.pixels(images)))
