"""The table as text."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate import models
from striate.anatomy.examine import anatomy
from striate.errors import UsageError


def test_costs_and_fields_of_lenet5():
    found = anatomy("lenet5")
    lines = str(found).splitlines()
    assert lines[0] == "lenet5 on 1 x 1 x 28 x 28, in evaluation mode"
    assert lines[2].split() == ["layer", "op", "output", "parameters", "MACs", "FLOPs", "FLOP/B", "field", "keeps"]
    row = next(line for line in lines if line.startswith("features.conv2")).split()
    assert row[:4] == ["features.conv2", "conv2d", "16x8x8", "2,416"]
    assert "14 (2)" in next(line for line in lines if line.startswith("features.conv2"))
    assert any(line.startswith("44,426 parameters") for line in lines)
    assert any("MACs: one a weight and output position" in line for line in lines)
    row = next(line for line in found.text(view="fields").splitlines() if line.startswith("features.conv2")).split()
    assert row[-8:] == ["14", "2", "0", "0", "%", "1.02", "k", "150"] or "150" in row


@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize("name", ["resnet20", "googlenet"])
def test_at_most_100_columns(name, time):
    found = anatomy(models.create(name).train(), torch.zeros(2, 3, 64, 64), time=time)
    for view in ("costs", "fields"):
        assert max(map(len, found.text(view=view).splitlines())) <= 100
    assert "in training mode" in str(found)


def test_shared_frozen_and_unequal_sides():
    layer = nn.Conv2d(1, 1, (1, 3), padding=(0, 1))
    layer.bias.requires_grad_(False)
    found = anatomy(nn.Sequential(layer, layer), torch.zeros(1, 1, 8, 8))
    text = str(found)
    assert "shared" in text
    assert "4 parameters (1 frozen), 16 B" in text
    assert "1x5 (1)" in text


def test_another_view():
    found = anatomy(nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.raises(UsageError, match='`view` must be "costs" or "fields", got \'all\''):
        found.text(view="all")
