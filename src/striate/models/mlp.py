"""Multilayer perceptrons: dense layers with ReLU between them, the baseline that every CNN is measured against.

Source: Rumelhart, Hinton and Williams 1986 (the network and its training); layer widths of the course texts.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

__all__ = ["MLP", "build"]

# Widths of the layers between input and logits.
HIDDEN_WIDTHS: dict[str, tuple[int, ...]] = {
    "mlp_boston": (8, 6),
    "mlp_iris": (8, 6),
    "mlp_mnist": (128, 64),
    "mlp_cifar": (1536, 768, 384, 128),
}


class MLP(nn.Module):
    """Dense layers with ReLU and dropout after each hidden one; images are flattened first.

    Args:
        in_features: Numbers in one input: channels x height x width for images.
        hidden_widths: Units in each hidden layer.
        num_classes: Number of logits.
        dropout: Probability of silencing a hidden unit in training; 0 = off.
    """

    def __init__(
        self, *, in_features: int, hidden_widths: tuple[int, ...], num_classes: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for number, (width_in, width_out) in enumerate(pairwise((in_features, *hidden_widths)), start=1):
            layers[f"fc{number}"] = nn.Linear(width_in, width_out)
            layers[f"relu{number}"] = nn.ReLU()
            layers[f"dropout{number}"] = nn.Dropout(dropout)
        layers["head"] = nn.Linear(hidden_widths[-1], num_classes)
        self.layers = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) or (N, D) to logits (N, num_classes)."""
        return cast("Tensor", self.layers(x))


def build(name: str, *, num_classes: int, in_channels: int, image_size: int | None) -> nn.Module:
    """Build the MLP called ``name``; see `striate.models.create` for the arguments."""
    pixels = 1 if image_size is None else image_size**2
    return MLP(in_features=in_channels * pixels, hidden_widths=HIDDEN_WIDTHS[name], num_classes=num_classes)
