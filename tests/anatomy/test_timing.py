"""Times of single layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from striate.anatomy.timing import measured_times
from striate.graph import capture


def test_larger_layers_take_longer():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 64, 5, padding=2))
    graph = capture(network, torch.rand(1, 3, 48, 48), keep_values=True)
    times = measured_times(graph, network)
    assert set(times) == {1, 2}
    assert times[2].forward > times[1].forward > 0
    assert times[2].backward > 0


def test_buffers_are_put_back():
    network = nn.Sequential(nn.BatchNorm1d(3)).train()
    graph = capture(network, torch.rand(4, 3), keep_values=True)
    before = network[0].running_mean.clone()
    measured_times(graph, network)
    assert torch.equal(network[0].running_mean, before)


def test_outputs_of_one_call_are_timed_once():
    class Halves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            a, b = x.chunk(2, dim=1)
            return a + b

    network = Halves()
    graph = capture(network, torch.rand(1, 4), keep_values=True)
    assert len(measured_times(graph, network)) == 2


def test_whole_numbers_have_no_backward():
    class Best(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.argmax(dim=1)

    network = Best()
    graph = capture(network, torch.rand(1, 4), keep_values=True)
    (time,) = measured_times(graph, network).values()
    assert time.backward is None
