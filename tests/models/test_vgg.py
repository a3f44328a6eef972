"""VGG: torchvision's layers, stages of the paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate import models
from striate.models.vgg import STAGES, VGG

NAMES = [name for name in models.list() if name.startswith("vgg")]


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_those_of_torchvision(name: str, torchvision_shapes) -> None:
    with torch.device("meta"):
        model = models.create(name)
    shapes, num_params = torchvision_shapes(name)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == shapes
    assert models.info(name).num_params == num_params


@pytest.mark.parametrize("name", STAGES)
def test_the_name_counts_the_layers_with_weights(name: str) -> None:
    # Source: arXiv:1409.1556, table 1: the number of weight layers, three of them dense.
    assert sum(len(stage) for stage in STAGES[name]) + 3 == int(name.removeprefix("vgg"))


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    model = VGG(stages=((4,), (8,)), in_channels=3, num_classes=2, batch_norm=True)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in model.features) == 2
    x = torch.randn(2, 3, 28, 28)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
    assert model(torch.randn(2, 3, 5, 9)).shape == (2, 2)
