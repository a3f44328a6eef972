"""Replay: the rest of a run again in NumPy, with something changed, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.graph import capture
from striate.graph.replay import inputs_of, parameters_of, replay


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(18, 3))
    return nn.Sequential(*layers).double().eval()


@pytest.fixture
def x():
    return torch.randn(2, 1, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_nothing_changed_is_the_captured_run(network, x):
    graph = capture(network, x, keep_values=True)
    assert np.array_equal(replay(graph, until=graph.outputs[0]), network(x).detach().numpy())


def test_a_changed_value(network, x):
    graph = capture(network, x, keep_values=True)
    changed = graph.value("1").numpy() + 0.5
    expected = network[2:](torch.tensor(changed))
    result = replay(graph, until=graph.outputs[0], values={graph.node("1").index: changed})
    np.testing.assert_allclose(result, expected.detach(), atol=1e-12)


def test_a_changed_parameter(network, x):
    graph = capture(network, x, keep_values=True)
    weight = network[0].weight.detach().numpy() * 2
    result = replay(graph, until=graph.outputs[0], parameters={"0.weight": weight})
    with torch.no_grad():
        network[0].weight.mul_(2)
        np.testing.assert_allclose(result, network(x), atol=1e-12)


def test_arrays_of_a_node(network, x):
    graph = capture(network, x, keep_values=True)
    node = graph.node("1")
    (given,) = inputs_of(graph, node)
    with torch.no_grad():
        np.testing.assert_allclose(given, network[0](x), atol=1e-12)
    assert {"weight", "bias", "running_mean", "running_var"} <= set(parameters_of(graph, node))


def test_through_what_striate_does_not_know(x):
    class Unknown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cumsum(torch.relu(x), dim=2) + 1

    graph = capture(Unknown(), x, keep_values=True)
    with pytest.raises(UsageError, match=r"replay: `cumsum` must be an operation that striate knows, got cumsum"):
        replay(graph, until=graph.outputs[0], values={graph.node("relu").index: np.zeros((2, 1, 5, 5))})
    kept = replay(graph, until=graph.outputs[0], values={graph.node("cumsum").index: np.zeros((2, 1, 5, 5))})
    assert np.array_equal(kept, np.ones((2, 1, 5, 5)))
