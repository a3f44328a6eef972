"""Rows and sums."""

from __future__ import annotations

import torch
from torch import nn

from striate.anatomy.examine import anatomy
from striate.anatomy.layer import Parameters


def test_parameters_add_up():
    total = Parameters(3, 1, 2) + Parameters(1, 1, 0)
    assert (total.trainable, total.frozen, total.shared, total.count) == (4, 2, 2, 6)


def test_intensity_of_all():
    total = anatomy(nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU()), torch.zeros(4, 3)).total
    assert total.moved_bytes == 4 * ((12 + 6 + 8) + (8 + 8))
    assert total.intensity == total.flops / total.moved_bytes


def test_intensity():
    layer = anatomy(nn.Linear(3, 2, bias=False), torch.zeros(4, 3)).layers[0]
    assert layer.intensity == (2 * 4 * 3 * 2) / (4 * (12 + 6 + 8))
    assert (layer.units, layer.inputs_per_unit, layer.dense_weights) == (2, 3, 6)
    assert layer.to_dict()["arithmetic_intensity"] == layer.intensity
