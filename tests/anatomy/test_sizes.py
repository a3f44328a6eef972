"""Which sizes of images run, and which are useful."""

from __future__ import annotations

import torch
from torch import nn

from striate.anatomy.examine import anatomy
from striate.anatomy.sizes import looks_around
from striate.graph import capture


def test_smallest_useful_and_best():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3), nn.AdaptiveAvgPool2d(1))
    sizes = anatomy(network, torch.zeros(1, 1, 32, 32)).sizes
    assert sizes.given == (32, 32)
    assert sizes.smallest == 8  # 8, then 6, 3 and 1
    assert (sizes.useful, sizes.stride, sizes.best) == (5, 2, 6)  # the last window reads units that see 4
    assert not sizes.is_fixed


def test_networks_that_flatten_take_few_sizes():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.Flatten(), nn.Linear(2 * 49, 3))
    sizes = anatomy(network, torch.zeros(1, 1, 16, 16)).sizes
    assert (sizes.smallest, sizes.is_fixed) == (15, True)


def test_the_network_may_refuse_squares():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    sizes = anatomy(network, torch.zeros(1, 1, 3, 4)).sizes
    assert sizes.smallest is None


def test_an_unknown_operation_hides_what_is_useful():
    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(torch.cumsum(x, dim=2))

    sizes = anatomy(Unknown(), torch.zeros(1, 1, 8, 8)).sizes
    assert (sizes.smallest, sizes.useful, sizes.best) == (3, None, None)


def test_layers_with_a_window():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3), nn.ReLU(), nn.AvgPool2d(2))
    graph = capture(network, torch.zeros(1, 1, 8, 8))
    assert [looks_around(graph, node) for node in graph.nodes] == [False, False, True, False, True]
