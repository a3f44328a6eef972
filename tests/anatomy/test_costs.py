"""Parameters and multiply-adds against hand counts, published counts and a counting run of the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate import models
from striate.anatomy.costs import connections, counted_parameters, flops, macs, moved_bytes, value_bytes
from striate.anatomy.examine import anatomy
from striate.graph import capture

# LeNet-5 as commonly shipped, by hand: C1 6 (25) 24^2, C3 16 (6 25) 8^2, then 256 120, 120 84, 84 10.
LENET5 = 86_400 + 153_600 + 30_720 + 10_080 + 840
LENET5_PARAMETERS = (6 * 25 + 6) + (16 * 6 * 25 + 16) + (256 * 120 + 120) + (120 * 84 + 84) + (84 * 10 + 10)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("lenet5", LENET5_PARAMETERS, LENET5),
        # torchvision's documentation: 61,100,840 parameters, 0.71 GFLOPS; by layer of its one-tower network:
        # 64 363 55^2, 192 1600 27^2, 384 1728 13^2, 256 3456 13^2, 256 2304 13^2, 9216 4096, 4096^2, 4096 1000.
        ("alexnet", 61_100_840, 70_276_800 + 223_948_800 + 112_140_288 + 149_520_384 + 99_680_256 + 58_621_952),
        # Simonyan and Zisserman 2015, table 2: 138 million; torchvision: 138,357,544 and 15.47 GFLOPS.
        ("vgg16", 138_357_544, 15_470_264_320),
        # He et al. 2016, table 1: 3.8e9, strides in the first layers. torchvision, in the 3 x 3: 25,557,032 and 4.09.
        ("resnet50", 25_557_032, 4_089_184_256),
    ],
)
def test_published_counts(name, parameters, expected):
    if name not in models.list():
        pytest.fail(f"{name} is missing")
    found = anatomy(name)
    assert found.total.parameters.count == parameters
    assert found.total.macs == expected
    assert found.total.is_complete


class Counting(np.ndarray):
    """An array whose matrix products are counted."""

    products = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        plain = [np.asarray(x) if isinstance(x, np.ndarray) else x for x in inputs]
        kwargs = {k: tuple(np.asarray(o) for o in v) if k == "out" else v for k, v in kwargs.items()}
        result = getattr(ufunc, method)(*plain, **kwargs)
        if ufunc is np.matmul:
            Counting.products += result.size * plain[0].shape[-1]
        return result.view(Counting) if isinstance(result, np.ndarray) else result


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 6, (1, 3), groups=2), nn.Conv2d(3, 3, 3, groups=3),
     nn.Conv1d(2, 5, 4, dilation=2), nn.Linear(9, 7)],
    ids=str,
)  # fmt: skip
def test_a_counting_run_of_the_definition(layer):
    x = (
        torch.rand(2, 9)
        if isinstance(layer, nn.Linear)
        else torch.rand(2, layer.in_channels, *(9,) * (layer.weight.ndim - 2))
    )
    node = capture(layer, x).nodes[-1]
    Counting.products = 0
    arrays = {name: p.tensor.detach().numpy().view(Counting) for name, p in node.parameters.items()}
    node.op.forward(x.numpy().view(Counting), **arrays)
    assert Counting.products == macs(node)


def test_functional_calls_count():
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.ones(2, 1, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(F.conv2d(x, self.kernel) + 1)

    found = anatomy(Functional(), torch.zeros(1, 1, 5, 5))
    assert (found.total.parameters.count, found.total.macs) == (18, 2 * 9 * 9)
    assert found.total.flops == 2 * 2 * 81 + 18 + 18  # an addition and a comparison a value


def test_shared_and_frozen_parameters():
    layer, other = nn.Linear(4, 4), nn.Linear(4, 4)
    other.bias.requires_grad_(False)
    graph, counted = capture(nn.Sequential(layer, other, layer), torch.ones(1, 4)), set()
    found = [counted_parameters(node, counted) for node in graph.nodes[1:]]
    assert [(p.trainable, p.frozen, p.shared) for p in found] == [(20, 0, 0), (16, 4, 0), (0, 0, 20)]


def test_bytes_and_connections():
    graph = capture(nn.Conv2d(3, 4, 3, bias=False), torch.zeros(2, 3, 6, 6))
    node = graph.nodes[-1]
    assert value_bytes(node) == 2 * 4 * 4 * 4 * 4
    assert moved_bytes(node) == value_bytes(node) + 4 * (2 * 3 * 36 + 4 * 27)
    assert connections(node, macs(node)) == (27, 108 * 64)
    assert flops(node) == 2 * macs(node)
    assert connections(graph.nodes[0], 0) == (None, None)


def test_unknown_is_not_zero():
    class Unknown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cumsum(x, dim=2)

    node = capture(Unknown(), torch.zeros(1, 1, 4, 4)).nodes[-1]
    assert macs(node) is None
    assert flops(node) is None
