"""DenseNet: every layer sees the maps of all layers before it in its block.

Source: Huang, Liu, van der Maaten and Weinberger 2016, arXiv:1608.06993, table 1 (the -BC networks for ImageNet).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["DenseLayer", "DenseNet", "Shape", "build"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What distinguishes one DenseNet from another.

    ``growth_rate`` is the number of maps each layer adds, ``depths`` the layers of each block.
    """

    depths: tuple[int, ...]
    growth_rate: int = 32
    stem_channels: int = 64


VARIANTS: dict[str, Shape] = {
    "densenet121": Shape(depths=(6, 12, 24, 16)),
    "densenet169": Shape(depths=(6, 12, 32, 32)),
    "densenet201": Shape(depths=(6, 12, 48, 32)),
    "densenet161": Shape(depths=(6, 12, 36, 24), growth_rate=48, stem_channels=96),
}


class DenseLayer(nn.Module):
    """Normalise, ReLU, 1 x 1 convolution to four times the growth rate, the same with 3 x 3, and join to the input.

    Args:
        in_channels: Channels of the input.
        growth_rate: Channels added to it.
        dropout: Probability of silencing a new number in training; 0 = off.
    """

    def __init__(self, *, in_channels: int, growth_rate: int, dropout: float = 0.0) -> None:
        super().__init__()
        width = 4 * growth_rate
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, growth_rate, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_in + growth_rate, H, W)."""
        new = self.conv1(self.relu1(self.norm1(x)))
        new = self.conv2(self.relu2(self.norm2(new)))
        return torch.cat([x, self.dropout(new)], dim=1)


class DenseNet(nn.Module):
    """Stem, dense blocks with transitions that halve channels and image, one dense layer. Named as in torchvision.

    Args:
        shape: Depths, growth rate and stem.
        in_channels: Channels of the images.
        num_classes: Number of logits.
    """

    def __init__(self, *, shape: Shape, in_channels: int, num_classes: int) -> None:
        super().__init__()
        channels = shape.stem_channels
        features: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        for number, depth in enumerate(shape.depths, start=1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            for index in range(1, depth + 1):
                layers[f"denselayer{index}"] = DenseLayer(in_channels=channels, growth_rate=shape.growth_rate)
                channels += shape.growth_rate
            features[f"denseblock{number}"] = nn.Sequential(layers)
            if number < len(shape.depths):
                features[f"transition{number}"] = _transition(channels)
                channels //= 2
        features["norm5"] = nn.BatchNorm2d(channels)
        features["relu5"] = nn.ReLU(inplace=True)
        self.features = nn.Sequential(features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw convolutions from He's normal distribution over fan-in; the head as PyTorch does, its bias 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, (nn.BatchNorm2d, nn.Linear)):
                module.reset_parameters()
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        return cast("Tensor", self.classifier(self.avgpool(self.features(x)).flatten(1)))


def _transition(channels: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


def build(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Build the network called ``name``; the head averages over the image, so ``image_size`` changes no parameter."""
    return DenseNet(shape=VARIANTS[name], in_channels=in_channels, num_classes=num_classes)
