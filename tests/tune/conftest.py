"""A small network and small data, whose classes are bars at different angles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from striate.data import Splits, load
from striate.train.progress import Progress


class Small(nn.Module):
    """Two stages with normalisation, dropout, and a head."""

    def __init__(self, num_classes: int = 4, in_channels: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.middle = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.top = nn.Sequential(nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.top(self.middle(self.stem(x)))
        return self.fc(self.drop(x.mean((2, 3))))


def bars(count: int, *, classes: int, seed: int, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, S, S), uint8, of bars at `classes` angles with noise, and their classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    angle = np.pi * labels / classes
    shift = random.uniform(-2, 2, count)
    distance = np.abs(x * np.sin(angle)[:, None, None] - y * np.cos(angle)[:, None, None] - shift[:, None, None])
    images = 200 * (distance < 1.2) + random.normal(0, 25, (count, size, size)) + 25
    return images.clip(0, 255).astype(np.uint8), labels


@pytest.fixture
def small() -> Callable[..., Small]:
    """Return a network with the random weights of a seed."""

    def make(num_classes: int = 4, in_channels: int = 1, *, seed: int = 0) -> Small:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Small(num_classes, in_channels)

    return make


@pytest.fixture
def arrays() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    return bars


@pytest.fixture
def splits() -> Callable[..., Splits]:
    """Return loaded bars, divided into training and test images."""

    def make(count: int = 120, *, classes: int = 4, seed: int = 0) -> Splits:
        return load(bars(count, classes=classes, seed=seed), val_fraction=0.0)

    return make


@pytest.fixture
def silent() -> dict[str, Any]:
    """Options that keep a run quick and quiet."""
    return {"progress": Progress(quiet=True), "engine": "torch", "threads": 1, "device": "cpu"}
