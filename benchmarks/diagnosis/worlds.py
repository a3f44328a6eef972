"""Healthy trainings of three architectures on handwritten digits, into which faults are put."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ARCHITECTURES", "World", "digits", "make_world"]


@dataclass(eq=False)
class World:
    """All that a training is made of; faults change it."""

    model: nn.Module
    x: Tensor
    y: Tensor
    held: tuple[Tensor, Tensor]
    seed: int
    loss_fn: Callable[..., Any] = functional.cross_entropy
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = field(
        default=lambda model: torch.optim.Adam(model.parameters(), lr=2e-3)
    )
    data: Any = None
    """A loader, in place of (x, y)."""
    validation: Any = None
    augment: Callable[..., Any] | None = None
    loop: dict[str, Any] = field(default_factory=dict)
    """What the loop does otherwise than it should; empty: the diagnosis comes before the training."""


class Convolutional(nn.Module):
    """Two convolutions with pooling, two dense layers, dropout: LeNet in small."""

    def __init__(
        self, classes: int = 10, activation: Callable[[], nn.Module] = nn.ReLU, side: int = 8, channels: int = 1
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 12, 3, padding=1)
        self.act1 = activation()
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.act2 = activation()
        self.fc1 = nn.Linear(24 * (side // 4) ** 2, 64)
        self.act3 = activation()
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        x = functional.max_pool2d(self.act1(self.conv1(x)), 2)
        x = functional.max_pool2d(self.act2(self.conv2(x)), 2)
        return self.head(self.drop(self.act3(self.fc1(x.flatten(1)))))


class Dense(nn.Module):
    """Three hidden layers."""

    def __init__(
        self, classes: int = 10, activation: Callable[[], nn.Module] = nn.ReLU, side: int = 8, channels: int = 1
    ):
        super().__init__()
        self.conv1 = nn.Linear(channels * side * side, 64)
        self.act1 = activation()
        self.conv2 = nn.Linear(64, 64)
        self.act2 = activation()
        self.fc1 = nn.Linear(64, 64)
        self.act3 = activation()
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        x = self.act2(self.conv2(self.act1(self.conv1(x.flatten(1)))))
        return self.head(self.drop(self.act3(self.fc1(x))))


class Residual(nn.Module):
    """Convolutions with batch normalisation and a shortcut, global average pooling."""

    def __init__(
        self, classes: int = 10, activation: Callable[[], nn.Module] = nn.ReLU, side: int = 8, channels: int = 1
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.act1 = activation()
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(16)
        self.act2 = activation()
        self.fc1 = nn.Conv2d(16, 32, 3, padding=1, stride=2)
        self.norm3 = nn.BatchNorm2d(32)
        self.act3 = activation()
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)) + x)
        x = self.act3(self.norm3(self.fc1(x)))
        return self.head(self.drop(x.mean((2, 3))))


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "convolutional": Convolutional,
    "dense": Dense,
    "residual": Residual,
}


def digits(seed: int) -> tuple[Tensor, Tensor]:
    """Return the 1,797 digits of 8 x 8 in an order drawn by the seed, normalised (N, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    x = torch.from_numpy(found.images).float()[:, None]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    x = (x - x.mean()) / x.std()
    return x[order], torch.from_numpy(found.target).long()[order]


def make_world(architecture: str, *, seed: int) -> World:
    """Return a healthy training."""
    x, y = digits(seed)
    torch.manual_seed(seed)
    return World(ARCHITECTURES[architecture](), x[:1200], y[:1200], (x[1200:], y[1200:]), seed)
