"""DenseNet: torchvision's layers, joined maps, dropout."""

from __future__ import annotations

import pytest
import torch

from striate import models
from striate.models.densenet import VARIANTS, DenseLayer


@pytest.mark.parametrize("name", VARIANTS)
def test_layers_are_those_of_torchvision(name: str, torchvision_shapes) -> None:
    with torch.device("meta"):
        model = models.create(name)
    shapes, num_params = torchvision_shapes(name)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == shapes
    assert models.info(name).num_params == num_params


@pytest.mark.parametrize("name", VARIANTS)
def test_the_name_counts_the_layers_with_weights(name: str) -> None:
    # Source: arXiv:1608.06993, table 1: two convolutions a layer, stem, three transitions, dense layer.
    assert 2 * sum(VARIANTS[name].depths) + 5 == int(name.removeprefix("densenet"))


def test_a_layer_keeps_its_input_and_adds_to_it() -> None:
    torch.manual_seed(0)
    layer = DenseLayer(in_channels=6, growth_rate=4)
    x = torch.randn(2, 6, 5, 5)
    out = layer(x.clone())
    assert out.shape == (2, 10, 5, 5)
    assert torch.equal(out[:, :6], x)


def test_dropout_leaves_the_input_alone() -> None:
    layer = DenseLayer(in_channels=6, growth_rate=4)
    models.set_dropout(layer, 0.9)
    x = torch.randn(2, 6, 5, 5)
    out = layer(x.clone())
    assert torch.equal(out[:, :6], x)
    assert (out[:, 6:] == 0).float().mean() > 0.5
