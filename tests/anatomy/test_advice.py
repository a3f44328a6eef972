"""What follows from the table."""

from __future__ import annotations

import json

import torch
from torch import nn

from striate import models
from striate.anatomy.advice import advice_lines
from striate.anatomy.examine import anatomy


def _about(found, about):
    return next(one for one in found.advice if one.about == about)


def test_fields_beyond_the_image():
    found = anatomy(models.create("resnet18").eval(), torch.zeros(1, 3, 32, 32))
    one = _about(found, "receptive-field")
    # By hand: 7, pool 11, then 19, 27, 35 and 43 behind the four convolutions of layer1; 35 covers 32 pixels.
    assert one.layers[0] == "layer1.1.conv2"
    assert one.numbers["layers"] == len(one.layers)
    assert "they find nothing new" in one.text


def test_small_fields_are_not_mentioned():
    found = anatomy(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)), torch.zeros(1, 1, 32, 32))
    assert "receptive-field" not in {one.about for one in found.advice}


def test_parameters_and_their_replacement():
    found = anatomy("vgg16")
    one = _about(found, "parameters")
    assert found.layer(one.layers[0]).parameters.count == 25_088 * 4096 + 4096  # 7 x 7 x 512 to 4096, as in the paper
    assert one.alternatives[0].parameters == 512 * 4096 + 4096
    assert 0.74 < one.numbers["share"] < 0.75


def test_memory_time_and_sizes():
    found = anatomy("lenet5", time=True)
    memory = _about(found, "memory")
    assert memory.layers == ("features.relu1",)  # 6 x 24 x 24 numbers
    assert memory.numbers["value"] == 4 * 6 * 24 * 24
    assert 0 < _about(found, "time").numbers["share"] <= 1
    assert _about(found, "input-size").numbers["smallest"] == 28
    assert _about(found, "compute").layers == ("features.conv2",)


def test_everything_is_plain():
    found = anatomy("lenet5")
    json.dumps([one.to_dict() for one in found.advice])
    assert all(isinstance(line, str) for line in advice_lines(found.advice))


def test_unknown_operations_come_first():
    class Unknown(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cumsum(x, dim=2)

    one = anatomy(Unknown(), torch.zeros(1, 1, 4, 4)).advice[0]
    assert (one.about, one.layers) == ("unknown", ("cumsum",))
    assert "striate does not know 1 operation: cumsum (cumsum)" in one.text
