"""The networks that libunet recognises, with the names and shapes their authors gave them.

`PytorchUNet` follows github.com/milesial/Pytorch-UNet (unet/unet_parts.py, unet/unet_model.py),
`BrainUNet` github.com/mateuszbuda/brain-segmentation-pytorch (unet.py); here the base width and
the bias of the convolutions are parameters too.
"""
from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from common import round_bits


class DoubleConv(nn.Module):
    def __init__(self, channels, middle, out, bias):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(channels, middle, 3, padding=1, bias=bias), nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, out, 3, padding=1, bias=bias), nn.BatchNorm2d(out),
            nn.ReLU(inplace=True))

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, channels, out, bias):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(channels, out, out, bias))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    """`channels` counts the concatenation: the skip's channels and then the up-sampled ones."""

    def __init__(self, variant, channels, out, bias):
        super().__init__()
        if variant == "transposed":
            self.up = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        else:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        middle = channels // 2 if variant == "bilinear" else out
        self.conv = DoubleConv(channels, middle, out, bias)

    def forward(self, below, skip):
        x = self.up(below)
        rows = skip.shape[2] - x.shape[2]
        columns = skip.shape[3] - x.shape[3]
        left, top = columns // 2, rows // 2
        x = functional.pad(x, [left, columns - left, top, rows - top])
        return self.conv(torch.cat([skip, x], dim=1))


class OutConv(nn.Module):
    def __init__(self, channels, out):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 1)

    def forward(self, x):
        return self.conv(x)


class PytorchUNet(nn.Module):
    """`variant` is old-bilinear (no middle channels), bilinear or transposed."""

    def __init__(self, variant, width, channels, classes, bias):
        super().__init__()
        w, shrink = width, 1 if variant == "transposed" else 2
        self.inc = DoubleConv(channels, w, w, bias)
        self.down1 = Down(w, 2 * w, bias)
        self.down2 = Down(2 * w, 4 * w, bias)
        self.down3 = Down(4 * w, 8 * w, bias)
        self.down4 = Down(8 * w, 16 * w // shrink, bias)
        self.up1 = Up(variant, 16 * w, 8 * w // shrink, bias)
        self.up2 = Up(variant, 8 * w, 4 * w // shrink, bias)
        self.up3 = Up(variant, 4 * w, 2 * w // shrink, bias)
        self.up4 = Up(variant, 2 * w, w, bias)
        self.outc = OutConv(w, classes)

    def forward(self, x):
        levels = [self.inc(x)]
        for down in (self.down1, self.down2, self.down3, self.down4):
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up in (self.up1, self.up2, self.up3, self.up4):
            x = up(x, levels.pop())
        return self.outc(x)


def brain_block(name, channels, out):
    """Two convolutions whose names repeat the block's: encoder1.enc1conv1.weight."""
    layers = OrderedDict()
    for number, fed in ((1, channels), (2, out)):
        layers[f"{name}conv{number}"] = nn.Conv2d(fed, out, 3, padding=1, bias=False)
        layers[f"{name}norm{number}"] = nn.BatchNorm2d(out)
        layers[f"{name}relu{number}"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


class BrainUNet(nn.Module):
    """Concatenates the up-sampled channels first and the skip's after them."""

    def __init__(self, width, channels=3, classes=1):
        super().__init__()
        for level in range(1, 5):
            out = width << (level - 1)
            setattr(self, f"encoder{level}", brain_block(f"enc{level}", channels, out))
            channels = out
        self.bottleneck = brain_block("bottleneck", channels, 2 * channels)
        for level in range(4, 0, -1):
            out = width << (level - 1)
            setattr(self, f"upconv{level}", nn.ConvTranspose2d(2 * out, out, 2, stride=2))
            setattr(self, f"decoder{level}", brain_block(f"dec{level}", 2 * out, out))
        self.conv = nn.Conv2d(width, classes, 1)

    def logits(self, x):
        skips = []
        for level in range(1, 5):
            skips.append(getattr(self, f"encoder{level}")(x))
            x = functional.max_pool2d(skips[-1], 2)
        x = self.bottleneck(x)
        for level in range(4, 0, -1):
            x = torch.cat([getattr(self, f"upconv{level}")(x), skips.pop()], dim=1)
            x = getattr(self, f"decoder{level}")(x)
        return self.conv(x)

    def forward(self, x):
        return torch.sigmoid(self.logits(x))


def logits_of(net, x):
    return net.logits(x) if isinstance(net, BrainUNet) else net(x)


def _random_weights(net, rng, bits):
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            fed = module.in_channels
            if isinstance(module, nn.Conv2d):
                fed *= module.kernel_size[0] * module.kernel_size[1]
            weight = rng.standard_normal(module.weight.shape) * np.sqrt(2 / fed)
            module.weight.data = torch.from_numpy(round_bits(weight, bits))
            if module.bias is not None:
                bias = 0.2 * rng.standard_normal(module.bias.shape)
                module.bias.data = torch.from_numpy(round_bits(bias, bits))


def _hook_batch_norms(net, rng):
    """Before a batch norm runs, give it statistics near those of what it is fed."""
    def set_statistics(module, inputs):
        values = inputs[0]
        count = module.num_features
        mean = values.mean(dim=(0, 2, 3)).numpy()
        variance = values.var(dim=(0, 2, 3)).numpy() + 0.05
        mean = mean + 0.3 * np.sqrt(variance) * rng.standard_normal(count)
        variance = variance * np.exp(0.4 * rng.standard_normal(count))
        gamma = rng.uniform(0.5, 1.6, count) * np.where(rng.random(count) < 0.1, -1, 1)
        beta = 0.2 + 0.4 * rng.standard_normal(count)
        for tensor, new in ((module.running_mean, mean), (module.running_var, variance),
                            (module.weight.data, gamma), (module.bias.data, beta)):
            tensor.copy_(torch.from_numpy(round_bits(new)))
        module.num_batches_tracked.fill_(int(rng.integers(1, 5000)))

    return [module.register_forward_pre_hook(set_statistics)
            for module in net.modules() if isinstance(module, nn.BatchNorm2d)]


def _scale_logits(net, x, deviation):
    """Scale the last 1x1 convolution by a power of two; that leaves its mantissas alone."""
    last = net.conv if isinstance(net, BrainUNet) else net.outc.conv
    spread = float(logits_of(net, x).std())
    assert spread > 1e-3, "dead network: choose another seed"
    last.weight.data *= 2.0 ** round(np.log2(deviation / spread))


def fill(net, rng, x, bits=24, deviation=4.0):
    """Random weights whose activations neither vanish nor explode.

    Works in double precision: nothing that is recorded may hang on how a machine sums.
    `x` is the kind of input that the network will see, `bits` the precision of the weights;
    batch norm's values always have eight.
    """
    net.double().eval()
    _random_weights(net, rng, bits)
    x = torch.from_numpy(x)[None].double()
    with torch.no_grad():
        hooks = _hook_batch_norms(net, rng)
        net(x)
        for hook in hooks:
            hook.remove()
        _scale_logits(net, x, deviation)
    return net.float()
