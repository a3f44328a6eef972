"""Receptive sets against the support of the gradient: every node of random graphs and of published networks."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate import models
from striate.graph import Constant, Graph, Input, Node, capture
from striate.graph.receptive_field import receptive_field, receptive_set

SIDE = 20


class Random(nn.Module):
    """A network of random operations on values that came before, joined by sums, concatenations, gates and slices."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.layers = nn.ModuleDict()

    def forward(self, x: Tensor) -> Tensor:
        draw = random.Random(self.seed)
        values = [x]
        for number in range(draw.randint(4, 9)):
            y = draw.choice(values[-3:])
            values.append(self._operation(draw, y, values, str(number)))
        return values[-1]

    def _operation(self, draw: random.Random, y: Tensor, values: list[Tensor], name: str) -> Tensor:
        channels, lengths = y.shape[1], y.shape[2:]
        alike = [v for v in values if v.shape[2:] == lengths]
        kind = draw.choice(OPERATIONS)
        if kind == "join" and len(alike) > 1:
            return torch.cat(draw.sample(alike, 2), dim=1)
        if kind == "add":
            return y + draw.choice([v for v in alike if v.shape[1] == channels])
        if kind == "beside":
            return torch.cat((y[:, :, : max(1, lengths[0] // 2)], y), dim=2)
        if kind == "slice" and channels > 1:
            cut = draw.randint(1, channels - 1)
            return draw.choice((y[:, :cut], y[:, cut:], y[:, ::2]))
        if kind == "crop" and min(lengths) > 3:
            return y[:, :, 1:, : -1 : draw.randint(1, 2)]
        if kind == "gate":
            return y * torch.sigmoid(y.mean(dim=(2, 3), keepdim=True))
        if kind == "shuffle" and channels % 2 == 0:
            n, (h, w) = y.shape[0], lengths
            return y.view(n, 2, channels // 2, h, w).transpose(1, 2).reshape(n, channels, h, w)
        if kind == "move":
            mirrored = F.pad(y, (1, 1, 1, 1), mode="reflect") if min(lengths) > 1 else y.flip(3)
            return draw.choice((y.flip(2), y.roll((1, 2), (2, 3)), F.pad(y, (2, 0, 1, 1), value=0.5), mirrored))
        if kind == "turn":
            return y.transpose(2, 3)
        if kind == "resize" and max(lengths) < 2 * SIDE:
            return F.interpolate(y, scale_factor=2, mode=draw.choice(("nearest", "bilinear")))
        return self._layer(draw, y, name)

    def _layer(self, draw: random.Random, y: Tensor, name: str) -> Tensor:
        if name not in self.layers:
            self.layers[name] = _positive(_drawn_layer(draw, y.shape[1], tuple(y.shape[2:])))
        else:
            _drawn_layer(draw, y.shape[1], tuple(y.shape[2:]))  # so that the second run draws the same
        return self.layers[name](y)


OPERATIONS = ("layer",) * 8 + ("join", "join", "add", "beside", "slice", "slice", "crop", "gate", "shuffle", "move",
                               "turn", "resize")  # fmt: skip


def _drawn_layer(draw: random.Random, channels: int, lengths: tuple[int, ...]) -> nn.Module:
    kernel = tuple(draw.randint(1, min(3, length)) for length in lengths)
    padding = tuple(draw.randint(0, size // 2) for size in kernel)
    stride = tuple(draw.choice((1, 1, 2)) for _ in lengths)
    kind = draw.randint(0, 6)
    if kind == 0:
        return nn.AvgPool2d(kernel, stride, padding, ceil_mode=draw.random() < 0.5)
    if kind == 1:
        return nn.ConvTranspose2d(channels, 3, kernel, stride=1, padding=0)
    if kind == 2:
        return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
    if kind == 3:
        return nn.AdaptiveAvgPool2d(tuple(max(1, length // 2) for length in lengths))
    dilation = 2 if kind == 4 and min(lengths) > 4 else 1
    groups = channels if kind == 5 else 2 if channels % 2 == 0 and draw.random() < 0.5 else 1
    return nn.Conv2d(channels, 2 * groups, kernel, stride, padding, dilation, groups)


def _positive(network: nn.Module, scale: float = 1.0) -> nn.Module:
    """Give a network weights that cannot cancel, small enough to saturate nothing, for float64."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        parameter.data = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.1
        parameter.data *= scale / fan_in
    for name, buffer in network.named_buffers():
        buffer.data = torch.zeros_like(buffer) if "mean" in name else torch.ones_like(buffer)
    return network.double().eval()


def _values(graph: Graph, x: Tensor) -> dict[int, Tensor]:
    """Run the graph again, with gradients through every node."""
    values: dict[int, Tensor] = {graph.inputs[0].index: x}
    for node in graph.nodes[1:]:
        if isinstance(node.op, Constant):
            values[node.index] = node.parameters["value"].tensor
        elif node.replay is not None:
            values[node.index] = node.replay.run(values)[node.replay.output]
    return values


def _support(value: Tensor, place: tuple[int, ...], x: Tensor) -> np.ndarray:
    at = value[(slice(None), slice(None), *place)]
    weights = torch.rand(at.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.5
    (gradient,) = torch.autograd.grad((at * weights).sum(), x, retain_graph=True, allow_unused=True)
    return np.zeros(x.shape[2:], bool) if gradient is None else (gradient.abs().sum(dim=(0, 1)) > 0).numpy()


def _places(node: Node) -> list[tuple[int, ...]]:
    lengths = node.output_shape[2:]
    return list(
        dict.fromkeys((tuple(n // 2 for n in lengths), tuple(0 for _ in lengths), tuple(n - 1 for n in lengths)))
    )


def _check(network: nn.Module, x: Tensor, *, every: int = 1, places: int = 3) -> int:
    graph = capture(network, x)
    x = x.clone().requires_grad_()
    values, checked = _values(graph, x), 0
    nodes = [node for node in graph.nodes if not isinstance(node.op, Input | Constant)]
    for node in [*nodes[::every], nodes[-1]]:
        for place in _places(node)[:places]:
            expected = _support(values[node.index], place, x)
            seen = receptive_set(graph, node, place)
            assert np.array_equal(seen, expected), f"{node} at {place}"
            checked += 1
            if not seen.any():
                continue
            field = receptive_field(graph, node, place)
            rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
            assert (field.start, field.stop) == ((rows[0], columns[0]), (rows[-1] + 1, columns[-1] + 1))
            assert all(np.less_equal(field.origin, field.start))
            assert all(np.add(field.origin, field.reach) >= field.stop)
    return checked


@pytest.mark.parametrize("seed", range(200))
def test_random_graphs(seed):
    network = Random(seed)
    x = torch.rand(1, 2, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.1
    with torch.no_grad():
        network(x)
    assert _check(network, x) >= 4


def _averaging(network: nn.Module) -> nn.Module:
    """Put averages in the place of maxima, whose gradient shows one position of all that are read."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                average = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, average)
    return network


NETWORKS = (("googlenet", 3), ("densenet121", 5), ("resnet50", 2), ("mobilenet_v2", 2))


@pytest.mark.parametrize(("name", "every"), NETWORKS)
def test_published_networks(name, every):
    network = _positive(_averaging(models.create(name)), scale=0.5)
    assert _check(network, torch.rand(1, 3, 64, 64, dtype=torch.float64), every=10 * every, places=1) > 4


@pytest.mark.slow
@pytest.mark.parametrize(("name", "every"), NETWORKS)
def test_every_node_of_published_networks(name, every):
    network = _positive(_averaging(models.create(name)), scale=0.5)
    assert _check(network, torch.rand(1, 3, 96, 96, dtype=torch.float64), every=1, places=2) > 100


def test_several_images_and_tokens():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.mix = nn.Conv2d(3, 4, 2, stride=2), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.mix(self.patch(x).flatten(2).transpose(1, 2))  # (N, L, C)
            return tokens.transpose(1, 2).reshape(x.shape[0], 4, 3, 3)

    network = _positive(Tokens())
    graph = capture(network, torch.rand(2, 3, 6, 6, dtype=torch.float64))
    seen = receptive_set(graph, graph.outputs[0], (1, 2))
    assert np.argwhere(seen).tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]


def test_slices_keep_the_branches_of_a_concatenation_apart():
    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.narrow, self.wide = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 5, padding=2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((self.narrow(x), self.wide(x)), dim=1)[:, :2]

    graph = capture(Apart(), torch.zeros(1, 1, 9, 9))
    assert receptive_field(graph, graph.outputs[0], (4, 4)).size == (1, 1)


def test_a_union_of_rectangles_is_no_rectangle():
    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tall, self.wide = nn.Conv2d(1, 1, (3, 1), padding=(1, 0)), nn.Conv2d(1, 1, (1, 3), padding=(0, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.tall(x) + self.wide(x)

    graph = capture(Cross(), torch.zeros(1, 1, 3, 3))
    seen = receptive_set(graph, graph.outputs[0], (1, 1))
    assert seen.astype(int).tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 0]]


def test_no_path_is_an_empty_set():
    class Constants(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(1, 1, 2, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.table.relu()

    graph = capture(Constants(), torch.zeros(1, 1, 4, 4))
    assert not receptive_set(graph, graph.outputs[0], (0, 0)).any()
