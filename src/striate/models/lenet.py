"""LeCun's networks for handwritten digits: 1989, LeNet-5 of 1998 as published, and the LeNet-5 people train today.

Sources: LeCun et al. 1989, Neural Computation 1(4):541-551; LeCun, Bottou, Bengio and Haffner 1998, Proc. IEEE
86(11):2278-2324, section II.B and table I.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import cast

from torch import Tensor, nn

from striate.models.lenet_layers import (
    RadialBasisOutput,
    ScaledTanh,
    TableConv2d,
    TrainableSubsampling,
    reset_uniform,
)

__all__ = ["LeCun1989", "LeNet5", "LeNet5Of1998", "build"]

# Which of the six S2 maps each of the 16 C3 maps sees: table I of the 1998 paper, one row here per column there.
C3_TABLE: tuple[tuple[int, ...], ...] = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# The 1989 paper leaves its scheme out; this one is balanced: each H2 map sees 8 H1 maps, each H1 map feeds 8 H2 maps.
H2_TABLE: tuple[tuple[int, ...], ...] = tuple(tuple(sorted((m + k) % 12 for k in range(8))) for m in range(12))


class LeNet5(nn.Module):
    """LeNet-5 with ReLU and max pooling: conv 5x5x6, conv 5x5x16, dense 120, 84, num_classes.

    Args:
        in_channels: Channels of the images.
        image_size: Side of the images in pixels.
        num_classes: Number of logits.
        dropout: Probability of silencing a hidden dense unit in training; 0 = off.
    """

    def __init__(self, *, in_channels: int, image_size: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        side = _side_after_second_pooling(image_size)
        self.features = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=nn.Conv2d(in_channels, 6, 5),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(6, 16, 5),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict[str, nn.Module](
                flatten=nn.Flatten(),
                fc1=nn.Linear(16 * side**2, 120),
                relu1=nn.ReLU(),
                dropout1=nn.Dropout(dropout),
                fc2=nn.Linear(120, 84),
                relu2=nn.ReLU(),
                dropout2=nn.Dropout(dropout),
                head=nn.Linear(84, num_classes),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        return cast("Tensor", self.classifier(self.features(x)))


class LeNet5Of1998(nn.Module):
    """LeNet-5 as published, layer names as in the paper: C1 S2 C3 S4 C5 F6 and the output of fixed digit bitmaps.

    Cross-entropy of these logits is equation 9 of the paper with no constant for the "rubbish" class.

    Args:
        in_channels: Channels of the images; the paper has 1.
        image_size: Side of the images in pixels; the paper has 32 (digits of 28 with a border).
        num_classes: Number of logits. Classes beyond ten get fixed random codes.
    """

    def __init__(self, *, in_channels: int, image_size: int, num_classes: int) -> None:
        super().__init__()
        side = _side_after_second_pooling(image_size)
        self.layers = nn.Sequential(
            OrderedDict[str, nn.Module](
                c1=nn.Conv2d(in_channels, 6, 5),
                tanh1=ScaledTanh(),
                s2=TrainableSubsampling(6),
                tanh2=ScaledTanh(),
                c3=TableConv2d(table=C3_TABLE, in_channels=6, kernel_size=5),
                tanh3=ScaledTanh(),
                s4=TrainableSubsampling(16),
                tanh4=ScaledTanh(),
                c5=nn.Conv2d(16, 120, side),
                tanh5=ScaledTanh(),
                flatten=nn.Flatten(),
                f6=nn.Linear(120, 84),
                tanh6=ScaledTanh(),
                output=RadialBasisOutput(num_classes=num_classes),
            )
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from ±2.4 / fan_in (1998 paper, appendix A)."""
        _reset_published(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes), all at most 0."""
        return cast("Tensor", self.layers(x))


class LeCun1989(nn.Module):
    """The network of 1989, layer names as in the paper: H1, H2 (5 x 5, stride 2, a bias for every unit), H3, output.

    Pixels beyond the border are -1, the background level of the paper.

    Args:
        in_channels: Channels of the images; the paper has 1.
        image_size: Side of the images in pixels; the paper has 16.
        num_classes: Number of logits.
    """

    def __init__(self, *, in_channels: int, image_size: int, num_classes: int) -> None:
        super().__init__()
        side1 = math.ceil(image_size / 2)
        side2 = math.ceil(side1 / 2)
        all_inputs = [tuple(range(in_channels))] * 12
        self.layers = nn.Sequential(
            OrderedDict[str, nn.Module](
                border1=nn.ConstantPad2d(2, -1.0),
                h1=TableConv2d(
                    table=all_inputs, in_channels=in_channels, kernel_size=5, stride=2, bias_size=(side1, side1)
                ),
                tanh1=ScaledTanh(),
                border2=nn.ConstantPad2d(2, -1.0),
                h2=TableConv2d(table=H2_TABLE, in_channels=12, kernel_size=5, stride=2, bias_size=(side2, side2)),
                tanh2=ScaledTanh(),
                flatten=nn.Flatten(),
                h3=nn.Linear(12 * side2**2, 30),
                tanh3=ScaledTanh(),
                head=nn.Linear(30, num_classes),
            )
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from ±2.4 / fan_in, as the paper does."""
        _reset_published(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        return cast("Tensor", self.layers(x))


def _side_after_second_pooling(image_size: int) -> int:
    """Side of the maps after two rounds of 5 x 5 convolution without padding and 2 x 2 pooling."""
    return ((image_size - 4) // 2 - 4) // 2


def _reset_published(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            reset_uniform(module.weight, module.weight[0].numel())
            nn.init.zeros_(cast("Tensor", module.bias))
        elif isinstance(module, (TableConv2d, TrainableSubsampling)):
            module.reset_parameters()


VARIANTS: dict[str, type[LeNet5] | type[LeNet5Of1998] | type[LeCun1989]] = {
    "lecun1989": LeCun1989,
    "lenet5_1998": LeNet5Of1998,
    "lenet5": LeNet5,
}


def build(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Build the network called ``name``; see `striate.models.create` for the arguments."""
    return VARIANTS[name](num_classes=num_classes, in_channels=in_channels, image_size=image_size)
