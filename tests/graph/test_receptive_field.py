"""Receptive fields against the support of the gradient, through skips, concatenations and padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import UsageError
from striate.graph import capture
from striate.graph.receptive_field import receptive_field


class Branches(nn.Module):
    """Two branches of different sight, a dilated one, and a skip around a strided pair."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(1, 2, 1)
        self.wide = nn.Conv2d(1, 2, (3, 5), padding=(1, 2))
        self.dilated = nn.Conv2d(4, 4, 3, padding=3, dilation=3)
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.skip = nn.Conv2d(4, 4, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat((self.narrow(x), self.wide(x)), dim=1)
        y = self.dilated(y)
        return F.avg_pool2d(self.down(y) + self.skip(y), 2)


def _support(network: nn.Module, x: Tensor, outputs: list[Tensor], index: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of the input with a gradient that is not zero."""
    x = x.clone().requires_grad_()
    outputs.clear()
    network(x)
    (gradient,) = torch.autograd.grad(outputs[0][index], x)
    seen = gradient[0].abs().sum(dim=0) > 0
    return seen.any(dim=1).nonzero().flatten(), seen.any(dim=0).nonzero().flatten()


def _positive(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(0.1, 1)  # no terms that cancel
    return network.double().eval()


@pytest.mark.parametrize("place", [(0, 0), (2, 3), (5, 4)])
def test_the_box_is_the_support_of_the_gradient(place):
    network, x = _positive(Branches()), torch.rand(1, 1, 24, 24, dtype=torch.float64) + 0.1
    outputs: list[Tensor] = []
    network.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    rows, columns = _support(network, x, outputs, (0, 1, *place))
    graph = capture(network, x)
    field = receptive_field(graph, graph.outputs[0], place)
    assert (field.start, field.stop) == (
        (int(rows[0]), int(columns[0])),
        (int(rows[-1]) + 1, int(columns[-1]) + 1),
    )


@pytest.mark.parametrize(("convolutions", "size"), [(1, 3), (2, 5), (3, 7)])
def test_stacked_convolutions_see_more(convolutions, size):
    # Source: R = 1 + sum of (K - 1) over the layers; three 3 x 3 see 7 x 7.
    network = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(convolutions)))
    graph = capture(network, torch.zeros(1, 1, 16, 16))
    assert receptive_field(graph, graph.outputs[0], (8, 8)).reach == (size, size)


def test_padding_is_counted_apart():
    graph = capture(nn.Conv2d(1, 1, 5, padding=2), torch.zeros(1, 1, 8, 8))
    field = receptive_field(graph, graph.outputs[0], (0, 7))
    assert (field.reach, field.start, field.stop, field.size) == ((5, 5), (0, 5), (3, 8), (3, 3))
    assert field.slices == (slice(0, 3), slice(5, 8))


def test_dense_layers_see_everything():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3))
    graph = capture(network, torch.zeros(1, 1, 8, 8))
    assert receptive_field(graph, graph.outputs[0], ()).size == (8, 8)


def test_what_cannot_be_said():
    network = nn.Sequential(nn.Linear(4, 3))
    graph = capture(network, torch.zeros(1, 4))
    with pytest.raises(UsageError, match=r"`input` must have spatial axes, \(N, C, H, W\), got \(1, 4\)"):
        receptive_field(graph, graph.outputs[0], ())

    class Unknown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cumsum(x, dim=2)

    graph = capture(Unknown(), torch.zeros(1, 1, 4, 4))
    with pytest.raises(UsageError, match=r"must be an operation that striate knows, got cumsum"):
        receptive_field(graph, graph.outputs[0], (0, 0))


def test_no_path_from_the_input():
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(1, 1, 4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.table)

    graph = capture(Constant(), torch.zeros(1, 1, 4, 4))
    assert receptive_field(graph, graph.outputs[0], (0, 0)) is None


# VGG-16: Araujo, Norris, Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019, its table.
# ResNet-50 with its strides in the 3 x 3 layers, by hand: 7, pool 11, then 35, 91, 267 and 427 behind the four stages.
@pytest.mark.parametrize(("name", "size"), [("vgg16", 212), ("resnet50", 427)])
def test_published_sizes(name, size):
    from striate import models

    graph = capture(models.create(name).eval(), torch.zeros(1, 3, 224, 224))
    last = [node for node in graph.nodes if len(node.output_shape) == 4 and node.output_shape[-1] > 1][-1]
    if name == "vgg16":
        last = next(n for n in reversed(graph.nodes) if n.call == "max_pool2d")
    field = receptive_field(graph, last, (3, 3))
    assert field.reach == (size, size)
    assert field.start == tuple(max(0, first) for first in field.origin)


def test_the_origin_may_lie_in_padding():
    graph = capture(nn.Conv2d(1, 1, 5, padding=2), torch.zeros(1, 1, 8, 8))
    assert receptive_field(graph, graph.outputs[0], (0, 7)).origin == (-2, 5)


def test_gates_see_everything():
    class Gate(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x.mean(dim=(2, 3), keepdim=True)

    graph = capture(Gate(), torch.ones(1, 2, 4, 6))
    assert receptive_field(graph, graph.outputs[0], (3, 5)).size == (4, 6)


def test_a_place_must_be_there():
    graph = capture(nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 8, 8))
    with pytest.raises(UsageError, match=r"`place` must be a position in `.*`, of lengths \(6, 6\), got \(6, 0\)"):
        receptive_field(graph, graph.outputs[0], (6, 0))
