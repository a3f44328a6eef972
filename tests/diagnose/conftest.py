"""Small images whose classes are bars at three angles, and a network that learns them in seconds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn


def bars(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return images (N, 1, 8, 8) of horizontal, vertical and diagonal bars with noise, and their classes (N,)."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(count) % 3
    places = torch.randint(1, 7, (count,), generator=generator)
    x = 0.4 * torch.randn(count, 1, 8, 8, generator=generator)
    for image, label, place in zip(x, classes.tolist(), places.tolist(), strict=True):
        if label == 0:
            image[0, place] += 2.5
        elif label == 1:
            image[0, :, place] += 2.5
        else:
            image[0] += 2.5 * torch.eye(8).roll(place, 0)
    return (x - x.mean()) / x.std(), classes


class Net(nn.Module):
    """Two convolutions, functional calls among modules, dropout and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1, stride=2)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(256, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        return self.head(self.drop(x.flatten(1)))


@pytest.fixture(scope="session")
def learned_run(tmp_path_factory, quiet, fast):
    """A run on the digits that has learned them."""
    import striate

    return striate.train("digits", output=tmp_path_factory.mktemp("runs"), progress=quiet, **fast | {"epochs": 8})


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return bars(600, seed=0)


@pytest.fixture
def held() -> tuple[Tensor, Tensor]:
    return bars(300, seed=1)


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net()
