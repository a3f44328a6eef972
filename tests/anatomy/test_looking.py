"""One place of a layer: what it sees, and how strongly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from striate.anatomy.examine import anatomy
from striate.anatomy.looking import middle, parse_at
from striate.errors import UsageError


def _stack(layers: int, **options: int) -> nn.Module:
    return nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, **options) for _ in range(layers)))


def test_what_a_place_sees():
    found = anatomy(_stack(2), torch.zeros(1, 1, 9, 9)).look("1", (0, 4))
    assert (found.field.origin, found.field.reach, found.field.start) == ((-2, 2), (5, 5), (0, 2))
    assert found.is_box
    assert str(found) == "1[0,4] sees 5 x 5 pixels: rows 0 to 2, columns 2 to 6, the rest is padding"
    assert found.to_dict()["positions"] == 15


def test_holes_are_counted():
    found = anatomy(nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2)), torch.zeros(1, 1, 9, 9)).look("0")
    assert not found.is_box
    assert str(found).endswith("of this box 9 positions")
    assert found.place == (2, 2)


def test_the_effective_field_is_smaller():
    # Luo et al. 2016: the effective field of n layers grows with the root of n, and is a fraction of the whole.
    torch.manual_seed(0)
    network = _stack(8)
    for parameter in network.parameters():
        parameter.data.fill_(1 / 9)
    found = anatomy(network, torch.zeros(1, 1, 33, 33))
    effective, seen = found.effective("7", samples=2), found.look("7")
    assert effective.strength.max() == 1
    assert effective.strength[16, 16] == 1
    assert not effective.strength[~seen.seen].any()
    assert effective.pixels < 0.6 * seen.seen.sum()
    assert effective.to_dict()["samples"] == 3
    assert "depends noticeably on" in str(effective)


def test_without_a_gradient_there_is_none():
    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.round().detach() * 2

    found = anatomy(Detached(), torch.rand(1, 1, 4, 4))
    with pytest.raises(UsageError, match=r"must be reached by gradients|must be a call|must be an operation"):
        found.effective(found.layers[-1].name)


def test_what_does_not_depend_on_the_input():
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(1, 1, 4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.table.exp()

    with pytest.raises(UsageError, match=r"`layer` must depend on the input to see anything of it, got 'exp'"):
        anatomy(Table(), torch.zeros(1, 1, 4, 4)).look("exp")


def test_places_as_people_type_them():
    assert parse_at("layer[2].conv", ["layer[2].conv"]) == ("layer[2].conv", None)
    assert parse_at("conv1[5]", ["conv1"]) == ("conv1", (5,))
    with pytest.raises(UsageError, match=r"`at` must be a layer and a place such as conv1\[3,4\], got 'conv1\[a\]'"):
        parse_at("conv1[a]", ["conv1"])


def test_the_middle():
    found = anatomy(_stack(1), torch.zeros(1, 1, 9, 6))
    assert middle(found.graph.nodes[-1]) == (4, 3)
    assert np.array_equal(found.look("0").seen, found.look("0", (4, 3)).seen)
