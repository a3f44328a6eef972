"""Sizes, jumps and starts of receptive fields against known values and the exact sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from striate import models
from striate.anatomy.sight import Sight, sights
from striate.graph import capture
from striate.graph.receptive_field import receptive_set


def test_lenet5_by_hand():
    graph = capture(models.create("lenet5").eval(), torch.zeros(1, 1, 28, 28))
    found = {node.name: sights(graph)[node.index] for node in graph.nodes}
    # R = 1 + sum of (K - 1) times the strides before: 5, 6, 14, 16.
    assert [found[f"features.{name}"].size[0] for name in ("conv1", "pool1", "conv2", "pool2")] == [5, 6, 14, 16]
    assert [found[f"features.{name}"].jump[0] for name in ("conv1", "pool1", "conv2", "pool2")] == [1, 2, 2, 4]
    assert found["classifier.fc1"].size == (28, 28)
    assert found["classifier.fc1"].jump == (None, None)


def test_padding_share():
    graph = capture(nn.Conv2d(1, 1, 9, padding=4), torch.zeros(1, 1, 5, 5))
    sight = sights(graph)[1]
    assert (sight.size, sight.start, sight.centre, sight.covers) == ((9, 9), (-4, -4), (-2, -2), (True, True))
    assert sight.padding_share == pytest.approx(1 - 25 / 81)


def test_a_map_of_one_unit_keeps_its_jump():
    # ResNets on small images: maps of 1 x 1 are still convolved with padding.
    network = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 1, 1))
    graph = capture(network, torch.zeros(1, 1, 4, 4))
    assert graph.nodes[-1].output_shape == (1, 1, 1, 1)
    last = sights(graph)[3]
    assert (last.size, last.jump) == ((15, 15), (4, 4))  # 3, then 3 + 2 x 2 = 7, then 7 + 2 x 4


@pytest.mark.parametrize("name", ["googlenet", "mobilenet_v2"])
def test_the_table_is_the_box_of_the_exact_set(name):
    graph = capture(models.create(name).eval(), torch.zeros(1, 3, 64, 64))
    found = sights(graph)
    for node in graph.nodes[1::9]:
        sight = found.get(node.index)
        if not isinstance(sight, Sight) or len(node.output_shape) != 4:
            continue
        seen = receptive_set(graph, node, tuple(n // 2 for n in node.output_shape[2:]))
        for axis in (0, 1):
            positions = np.flatnonzero(seen.any(axis=1 - axis))
            assert positions[0] == max(0, sight.centre[axis])
            assert positions[-1] == min(63, sight.centre[axis] + sight.size[axis] - 1)


def test_networks_of_vectors_have_none():
    assert sights(capture(nn.Linear(2, 2), torch.zeros(1, 2))) == {}
