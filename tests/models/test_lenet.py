"""LeCun's networks: layer by layer counts of the papers, connection tables, starting weights, learning."""

from __future__ import annotations

import math

import pytest
import torch

from striate import models
from striate.models.lenet import C3_TABLE, H2_TABLE


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_lenet5_1998_counts_layer_by_layer() -> None:
    # Source: LeCun et al. 1998, section II.B, which gives the trainable parameters of every layer.
    layers = models.create("lenet5_1998").layers
    counts = {name: count(getattr(layers, name)) for name in ("c1", "s2", "c3", "s4", "c5", "f6", "output")}
    assert counts == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164, "output": 0}


def test_lecun1989_counts_layer_by_layer() -> None:
    # Source: LeCun et al. 1989: H1 has 768 biases and 300 weights, H2 2,592 parameters, H3 5,790, the output 310.
    layers = models.create("lecun1989").layers
    counts = {name: count(getattr(layers, name)) for name in ("h1", "h2", "h3", "head")}
    assert counts == {"h1": 768 + 300, "h2": 2_592, "h3": 5_790, "head": 310}
    assert layers.h1.bias.shape == (12, 8, 8)
    assert layers.h2.bias.shape == (12, 4, 4)


def test_lenet5_counts_layer_by_layer() -> None:
    # By hand: 6 x 25 + 6; 16 x 6 x 25 + 16; 256 x 120 + 120; 120 x 84 + 84; 84 x 10 + 10.
    model = models.create("lenet5")
    layers = (model.features.conv1, model.features.conv2, *(model.classifier[index] for index in (1, 4, 7)))
    assert [count(layer) for layer in layers] == [156, 2_416, 30_840, 10_164, 850]


def test_c3_table_is_that_of_the_paper() -> None:
    # Source: LeCun et al. 1998, table I, read by rows: which C3 maps each of the six S2 maps feeds.
    rows = [
        (0, 4, 5, 6, 9, 10, 11, 12, 14, 15),
        (0, 1, 5, 6, 7, 10, 11, 12, 13, 15),
        (0, 1, 2, 6, 7, 8, 11, 13, 14, 15),
        (1, 2, 3, 6, 7, 8, 9, 12, 14, 15),
        (2, 3, 4, 7, 8, 9, 10, 12, 13, 15),
        (3, 4, 5, 8, 9, 10, 11, 13, 14, 15),
    ]
    assert [tuple(out for out, inputs in enumerate(C3_TABLE) if row in inputs) for row in range(6)] == rows


def test_h2_table_is_balanced_and_all_different() -> None:
    assert all(len(inputs) == 8 for inputs in H2_TABLE)
    assert all(sum(row in inputs for inputs in H2_TABLE) == 8 for row in range(12))
    assert len(set(H2_TABLE)) == 12


def test_weights_start_within_the_published_bounds() -> None:
    torch.manual_seed(0)
    layers = models.create("lenet5_1998").layers
    for weight, fan_in in ((layers.c1.weight, 25), (layers.c5.weight, 400), (layers.f6.weight, 120)):
        assert 0.8 * 2.4 / fan_in < weight.abs().max() <= 2.4 / fan_in
    assert (layers.c3.weight.abs() <= 2.4 / layers.c3.fan_in()).all()


def test_border_of_1989_is_background() -> None:
    # An image of background (-1) only: every unit of a map sees the same 25 inputs, so only the biases can differ.
    layers = models.create("lecun1989").layers
    maps = layers.h1(layers.border1(torch.full((1, 1, 16, 16), -1.0)))
    torch.testing.assert_close(maps, maps[:, :, :1, :1].expand_as(maps))


def test_codes_travel_with_the_weights() -> None:
    assert "layers.output.codes" in models.create("lenet5_1998").state_dict()
    assert math.prod(models.create("lenet5_1998", num_classes=20).layers.output.codes.shape) == 20 * 84


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998", "lecun1989"])
def test_learns_a_few_images(name: str, loss_after) -> None:
    torch.manual_seed(0)
    size = models.info(name).input_size
    assert loss_after(models.create(name, num_classes=4), size, steps=120, lr=5e-3) < 0.05
