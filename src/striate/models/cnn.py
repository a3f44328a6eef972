"""The small CNN of the course texts for CIFAR-10: two convolutions, two poolings, two dense layers.

Source: layer sizes of the course texts; the pattern convolution, pooling, dense is that of LeCun et al. 1998.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

from torch import Tensor, nn

__all__ = ["CNN", "build"]

# Channels of each convolution, units of the hidden dense layer.
VARIANTS: dict[str, tuple[tuple[int, ...], int]] = {"cnn_cifar": ((32, 64), 128)}


class CNN(nn.Module):
    """Blocks of 3 x 3 convolution (padding 1), ReLU and 2 x 2 max pooling; then a hidden dense layer and the logits.

    Args:
        channels: Output channels of each convolution.
        hidden_width: Units of the hidden dense layer.
        in_channels: Channels of the images.
        image_size: Side of the images in pixels; each block halves it, rounding down.
        num_classes: Number of logits.
        dropout: Probability of silencing a feature before the dense layers in training; 0 = off.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        hidden_width: int,
        in_channels: int,
        image_size: int,
        num_classes: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        features: OrderedDict[str, nn.Module] = OrderedDict()
        for number, out_channels in enumerate(channels, start=1):
            features[f"conv{number}"] = nn.Conv2d(in_channels, out_channels, 3, padding=1)
            features[f"relu{number}"] = nn.ReLU()
            features[f"pool{number}"] = nn.MaxPool2d(2)
            in_channels, image_size = out_channels, image_size // 2
        self.features = nn.Sequential(features)
        self.classifier = nn.Sequential(
            OrderedDict[str, nn.Module](
                flatten=nn.Flatten(),
                dropout=nn.Dropout(dropout),
                fc=nn.Linear(in_channels * image_size**2, hidden_width),
                relu=nn.ReLU(),
                head=nn.Linear(hidden_width, num_classes),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        return cast("Tensor", self.classifier(self.features(x)))


def build(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Build the network called ``name``; see `striate.models.create` for the arguments."""
    channels, hidden_width = VARIANTS[name]
    return CNN(
        channels=channels,
        hidden_width=hidden_width,
        in_channels=in_channels,
        image_size=image_size,
        num_classes=num_classes,
    )
