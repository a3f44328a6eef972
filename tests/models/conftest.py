"""Shared by the tests of the networks: what torchvision's networks look like, and a loop that overfits a few images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

Shapes = dict[str, list[int]]


@pytest.fixture(scope="session")
def torchvision_shapes() -> Callable[[str], tuple[Shapes, int]]:
    """Name -> (shape of every state-dict entry in order, number of parameters), from torchvision 0.28.

    In the file a number stands for a batch normalisation of so many channels.
    """
    manifest = json.loads((Path(__file__).parent / "torchvision_manifest.json").read_text())

    def shapes_of(name: str) -> tuple[Shapes, int]:
        shapes: Shapes = {}
        for layer, entries in manifest[name]["layers"].items():
            if isinstance(entries, int):
                entries = {key: [entries] for key in ("weight", "bias", "running_mean", "running_var")}
                entries["num_batches_tracked"] = []
            shapes.update({f"{layer}.{key}": shape for key, shape in entries.items()})
        return shapes, manifest[name]["num_params"]

    return shapes_of


@pytest.fixture
def loss_after() -> Callable[..., float]:
    """Train on 8 random images of 4 classes with Adam; gives the last training loss."""

    def train(model: nn.Module, input_size: tuple[int, ...], *, steps: int, lr: float) -> float:
        torch.manual_seed(0)
        images, targets = torch.randn(8, *input_size), torch.arange(8) % 4
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), targets)
            loss.backward()
            optimizer.step()
        return loss.item()

    return train
