"""MobileNet: a convolution split into one filter per channel (depthwise) and a 1 x 1 mix of channels (pointwise).

Sources: Howard et al. 2017, arXiv:1704.04861, table 1; Sandler et al. 2018, arXiv:1801.04381, table 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

__all__ = ["InvertedResidual", "MobileNetV1", "MobileNetV2", "build"]

# Version 1: output channels and stride of each depthwise separable block.
V1_BLOCKS: tuple[tuple[int, int], ...] = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip

# Version 2: expansion, output channels, blocks, stride of the first block (t, c, n, s of table 2).
V2_STAGES: tuple[tuple[int, int, int, int], ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

# For images of 32 pixels the stem and the second stage keep the size: maps of 4 pixels at the end, as 7 of 224.
V2_CIFAR_STAGES = tuple((t, c, n, 1 if c == 24 else s) for t, c, n, s in V2_STAGES)


class MobileNetV1(nn.Module):
    """A convolution of stride 2, thirteen depthwise separable blocks, global average pooling, one dense layer.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of logits.
        dropout: Probability of silencing an input of the dense layer in training.
    """

    def __init__(self, *, in_channels: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        channels = 32
        blocks: list[nn.Module] = [_unit(in_channels, channels, 3, stride=2, activation=nn.ReLU)]
        for out_channels, stride in V1_BLOCKS:
            depthwise = _unit(channels, channels, 3, stride=stride, groups=channels, activation=nn.ReLU)
            pointwise = _unit(channels, out_channels, 1, activation=nn.ReLU)
            blocks.append(nn.Sequential(depthwise, pointwise))
            channels = out_channels
        self.features = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As `MobileNetV2.reset_parameters`."""
        _reset(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        return cast("Tensor", self.classifier(self.avgpool(self.features(x)).flatten(1)))


class InvertedResidual(nn.Module):
    """Widen with 1 x 1, filter each channel with 3 x 3, narrow with 1 x 1 without activation; add the input if it fits.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        expansion: How many times wider the inside is; 1 leaves the widening out.
        stride: Step of the 3 x 3 filters in pixels.
    """

    def __init__(self, *, in_channels: int, out_channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.adds_input = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *([_unit(in_channels, width, 1)] if expansion > 1 else []),
            _unit(width, width, 3, stride=stride, groups=width),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        out = cast("Tensor", self.conv(x))
        return x + out if self.adds_input else out


class MobileNetV2(nn.Module):
    """Stem, stages of inverted residuals, 1 x 1 convolution to 1280, average, dense layer. Named as in torchvision.

    Args:
        stages: Expansion, output channels, number of blocks and first stride of each stage.
        stem_stride: Step of the first convolution in pixels.
        in_channels: Channels of the images.
        num_classes: Number of logits.
        dropout: Probability of silencing an input of the dense layer in training.
    """

    def __init__(
        self,
        *,
        stages: tuple[tuple[int, int, int, int], ...],
        stem_stride: int,
        in_channels: int,
        num_classes: int,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        channels, last_channels = 32, 1280
        blocks: list[nn.Module] = [_unit(in_channels, channels, 3, stride=stem_stride)]
        for expansion, out_channels, depth, first_stride in stages:
            for index in range(depth):
                stride = first_stride if index == 0 else 1
                blocks.append(
                    InvertedResidual(
                        in_channels=channels, out_channels=out_channels, expansion=expansion, stride=stride
                    )
                )
                channels = out_channels
        blocks.append(_unit(channels, last_channels, 1))
        self.features = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last_channels, num_classes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw convolutions from He's normal distribution over fan-out, the dense layer with deviation 0.01, bias 0."""
        _reset(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        return cast("Tensor", self.classifier(self.avgpool(self.features(x)).flatten(1)))


def _unit(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[..., nn.Module] = nn.ReLU6,
) -> nn.Sequential:
    """Convolution that keeps the size at stride 1, batch normalisation, activation."""
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        activation(inplace=True),
    )


def _reset(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)


def build(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Build the network called ``name``; the head averages over the image, so ``image_size`` changes no parameter."""
    if name == "mobilenet_v1":
        return MobileNetV1(in_channels=in_channels, num_classes=num_classes)
    is_cifar = name == "mobilenet_v2_cifar"
    return MobileNetV2(
        stages=V2_CIFAR_STAGES if is_cifar else V2_STAGES,
        stem_stride=1 if is_cifar else 2,
        in_channels=in_channels,
        num_classes=num_classes,
    )
