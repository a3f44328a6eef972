"""What could replace a layer: counts against layers that are built."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate.anatomy.alternatives import alternatives
from striate.anatomy.examine import anatomy
from striate.graph import capture


def _counts(network: nn.Module, x: torch.Tensor) -> tuple[int, int]:
    total = anatomy(network, x).total
    return total.parameters.count, total.macs


@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions(stride):
    x = torch.zeros(2, 32, 9, 9)
    layer = nn.Conv2d(32, 48, 3, stride, 1)
    narrow, separable = alternatives(*_graph(layer, x))
    reduced = nn.Sequential(nn.Conv2d(32, 8, 1, bias=False), nn.Conv2d(8, 48, 3, stride, 1))
    apart = nn.Sequential(nn.Conv2d(32, 32, 3, stride, 1, groups=32, bias=False), nn.Conv2d(32, 48, 1))
    assert (narrow.parameters, narrow.macs) == _counts(reduced, x)
    assert (separable.parameters, separable.macs) == _counts(apart, x)
    assert narrow.instead_of == separable.instead_of == _counts(layer, x)


def test_dense_layers_behind_maps():
    x = torch.zeros(1, 8, 4, 4)
    network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(128, 5))
    (pooled,) = alternatives(*_graph(network, x))
    instead = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    assert (pooled.parameters, pooled.macs) == _counts(instead, x)
    assert str(pooled) == (
        "global average pooling of the 8 maps of 4 x 4 before it: "
        "45 instead of 645 parameters, 40 instead of 640 multiply-adds"
    )


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Conv2d(8, 8, 1), (1, 8, 4, 4)), (nn.Conv2d(8, 8, 3, groups=8), (1, 8, 4, 4)), (nn.Linear(4, 2), (1, 4)),
     (nn.ReLU(), (1, 4))],
    ids=str,
)  # fmt: skip
def test_nothing_is_offered(layer, shape):
    assert alternatives(*_graph(layer, torch.zeros(shape))) == ()


def _graph(network: nn.Module, x: torch.Tensor):
    graph = capture(network, x)
    return graph, graph.nodes[-1]
