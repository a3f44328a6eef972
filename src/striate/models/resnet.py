"""Residual networks: blocks that learn what to add to their input.

Three families share the code: the ImageNet networks 18 to 152 (weights named as in torchvision), the same with a stem
for small images (`_cifar`), and the CIFAR-10 networks 20 to 110 of the paper, whose shortcuts have no parameters.

Sources: He, Zhang, Ren and Sun 2015, arXiv:1512.03385, table 1 and section 4.2; He et al. 2015, arXiv:1502.01852 (the
initialisation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "Shape", "build"]

Shortcut = Callable[[int, int, int], nn.Module]


class ZeroPadShortcut(nn.Module):
    """Shortcut without parameters: every stride-th pixel, new channels filled with zeros (option A of the paper)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H / stride), ceil(W / stride)); half the zeros before, half after."""
        before = self.new_channels // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.new_channels - before))


def projection_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """1 x 1 convolution and batch normalisation (option B of the paper)."""
    return nn.Sequential(_conv(in_channels, out_channels, 1, stride=stride), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and the shortcut.

    Args:
        in_channels: Channels of the input.
        width: Channels inside the block; the output has width x ``expansion``.
        stride: Step of the first convolution, in pixels.
        shortcut: Makes the shortcut where the shape changes; elsewhere the input itself is added.
    """

    expansion = 1

    def __init__(self, *, in_channels: int, width: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 3, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None if (in_channels, stride) == (width, 1) else shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        identity = x if self.downsample is None else self.downsample(x)
        return cast("Tensor", self.relu(out + identity))


class Bottleneck(nn.Module):
    """1 x 1 convolution to fewer channels, 3 x 3, 1 x 1 to four times as many, and the shortcut.

    Arguments as `BasicBlock`. The stride sits in the 3 x 3 convolution, not in the first 1 x 1 as in the paper.
    """

    expansion = 4

    def __init__(self, *, in_channels: int, width: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = _conv(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, out_channels, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            None if (in_channels, stride) == (out_channels, 1) else shortcut(in_channels, out_channels, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, 4 x width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        identity = x if self.downsample is None else self.downsample(x)
        return cast("Tensor", self.relu(out + identity))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What distinguishes one residual network from another.

    ``depths`` and ``widths`` give blocks and width of each stage; a stage after the first halves the image.
    ``stem`` is "7x7" (stride 2, then 3 x 3 max pooling of stride 2) or "3x3" (stride 1, no pooling).
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem: Literal["7x7", "3x3"] = "7x7"
    shortcut: Shortcut = projection_shortcut


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global average pooling, one dense layer.

    Args:
        shape: Block, depths, widths, stem and shortcut.
        in_channels: Channels of the images.
        num_classes: Number of logits.
    """

    def __init__(self, *, shape: Shape, in_channels: int, num_classes: int) -> None:
        super().__init__()
        channels = shape.widths[0]
        large_stem = shape.stem == "7x7"
        self.conv1 = _conv(in_channels, channels, 7 if large_stem else 3, stride=2 if large_stem else 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if large_stem else nn.Identity()
        self.stage_names = tuple(f"layer{number}" for number in range(1, len(shape.depths) + 1))
        for name, depth, width in zip(self.stage_names, shape.depths, shape.widths, strict=True):
            blocks = []
            for index in range(depth):
                stride = 2 if index == 0 and name != "layer1" else 1
                blocks.append(shape.block(in_channels=channels, width=width, stride=stride, shortcut=shape.shortcut))
                channels = width * shape.block.expansion
            self.add_module(name, nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw convolutions from He's normal distribution over fan-out; the rest as PyTorch does."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, (nn.BatchNorm2d, nn.Linear)):
                module.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for name in self.stage_names:
            x = getattr(self, name)(x)
        return cast("Tensor", self.fc(self.avgpool(x).flatten(1)))


def _conv(in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1) -> nn.Conv2d:
    # No bias: the batch normalisation that follows each convolution has one.
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=False)


def _cifar_shape(depth: int) -> Shape:
    """Section 4.2 of the paper: 6n + 2 layers in three stages of n blocks."""
    blocks = (depth - 2) // 6
    return Shape(block=BasicBlock, depths=(blocks,) * 3, widths=(16, 32, 64), stem="3x3", shortcut=ZeroPadShortcut)


VARIANTS: dict[str, Shape] = {
    **{f"resnet{depth}": _cifar_shape(depth) for depth in (20, 32, 44, 56, 110)},
    "resnet18": Shape(block=BasicBlock, depths=(2, 2, 2, 2)),
    "resnet34": Shape(block=BasicBlock, depths=(3, 4, 6, 3)),
    "resnet50": Shape(block=Bottleneck, depths=(3, 4, 6, 3)),
    "resnet101": Shape(block=Bottleneck, depths=(3, 4, 23, 3)),
    "resnet152": Shape(block=Bottleneck, depths=(3, 8, 36, 3)),
    "resnet18_cifar": Shape(block=BasicBlock, depths=(2, 2, 2, 2), stem="3x3"),
    "resnet34_cifar": Shape(block=BasicBlock, depths=(3, 4, 6, 3), stem="3x3"),
    "resnet50_cifar": Shape(block=Bottleneck, depths=(3, 4, 6, 3), stem="3x3"),
}


def build(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Build the network called ``name``; the head averages over the image, so ``image_size`` changes no parameter."""
    return ResNet(shape=VARIANTS[name], in_channels=in_channels, num_classes=num_classes)
