"""Images one by one: generated layers and networks beside the same in PyTorch's float64."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from striate.engine._machine import machine
from striate.engine._partition import CAPTURED_BATCH, example_of, partition
from striate.engine.single import SinglePlan, reason_against
from striate.graph import capture

pytestmark = pytest.mark.native

LIMIT = 1e-5


def _plan(model: nn.Module, *inputs: Tensor) -> SinglePlan:
    graph = capture(model, tuple(example_of(x) for x in inputs))
    parts, reasons = partition(graph, batch=CAPTURED_BATCH)
    assert len(parts) == 1, reasons
    part = parts[0]
    assert [reason_against(node) for node in part.nodes] == [None] * len(part.nodes)
    return SinglePlan(graph, part.nodes, part.inputs, part.outputs, machine())


def _check(model: nn.Module, *inputs: Tensor) -> SinglePlan:
    """Run a network on one image and on all, and compare with PyTorch."""
    model.eval()
    with torch.no_grad():
        plan = _plan(model, *inputs)
        truth = copy.deepcopy(model).double()(*(x.double() for x in inputs))
        for count in (1, len(inputs[0])):
            found = plan.forward([inputs[node.index][:count].contiguous() for node in plan.inputs])[0]
            wanted = truth[:count]
            assert found.shape == wanted.shape
            error = float((found.double() - wanted).norm()) / max(float(wanted.norm()), 1e-12)
            assert error < LIMIT, (error, count, model)
    return plan


def _randomized(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5) if name.endswith("var") else buffer.uniform_(-0.3, 0.3)
    return model


CONVOLUTIONS = [
    (1, 6, 5, {}),
    (3, 32, 3, {"padding": 1}),
    (8, 8, 3, {"padding": 1}),
    (16, 24, 3, {"padding": 1}),
    (16, 24, 3, {"padding": 0}),
    (16, 24, 3, {"padding": 2}),
    (40, 72, 3, {"padding": 1}),
    (9, 5, 1, {}),
    (24, 96, 1, {"stride": 2}),
    (4, 7, (2, 5), {"stride": (2, 3), "padding": (1, 4)}),
    (5, 11, 3, {"dilation": (2, 3), "padding": 3}),
    (3, 8, 7, {"stride": 4, "padding": 9}),
    (12, 12, 3, {"groups": 12, "padding": 1}),
    (16, 16, 5, {"groups": 16, "stride": 2, "padding": 2}),
    (6, 18, 3, {"groups": 6}),
    (8, 12, 3, {"groups": 2, "padding": 1}),
    (32, 64, 1, {"groups": 4}),
    (30, 30, 1, {"groups": 3}),
    (6, 16, 3, {"padding": "same", "dilation": 2}),
]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "none"])
@pytest.mark.parametrize(("inputs", "outputs", "kernel", "options"), CONVOLUTIONS)
def test_convolutions(inputs, outputs, kernel, options, bias):
    torch.manual_seed(0)
    layer = nn.Conv2d(inputs, outputs, kernel, bias=bias, **options)
    _check(nn.Sequential(layer), torch.randn(3, inputs, 13, 11))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 2, 1), (2, 5, 2), ((1, 2), (4, 3), (1, 2))], ids=str)
def test_convolutions_that_meet_nothing_but_padding(kernel, stride, padding, groups):
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 2, kernel, stride=stride, padding=padding, groups=groups)
    for size in ((1, 1), (3, 1), (1, 4)):
        _check(nn.Sequential(layer), torch.randn(3, 2, *size))


@pytest.mark.parametrize("size", [(3, 3), (4, 4), (5, 8), (16, 16), (17, 21), (2, 1), (1, 1), (33, 6)], ids=str)
@pytest.mark.parametrize("pools", [True, False], ids=["pooled", "plain"])
@pytest.mark.parametrize("channels", [(3, 16), (16, 20), (64, 64)], ids=str)
def test_what_is_folded_into_convolutions(size, pools, channels):
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(*channels, 3, padding=1), nn.BatchNorm2d(channels[1]), nn.ReLU()]
    if pools and min(size) > 1:
        layers.append(nn.MaxPool2d(2))
    plan = _check(_randomized(nn.Sequential(*layers)), torch.randn(9, channels[0], *size))
    assert [i.name for i in plan.builder.forward if "load" not in i.name and "store" not in i.name] in (
        ["image_taps"],
        ["image_winograd"],
    )


def test_large_weights_are_read_once_for_several_images():
    torch.manual_seed(0)
    layers = [nn.Conv2d(96, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 64, 1), nn.Flatten(), nn.Linear(64 * 36, 70)]
    model = nn.Sequential(*layers)
    plan = _check(model, torch.randn(11, 96, 6, 6))
    scopes = {i.name: i.scope.name for i in plan.builder.forward}
    assert scopes["image_winograd"] == "CHUNK"


POOLS = [
    nn.MaxPool2d(2),
    nn.MaxPool2d(3, stride=2, padding=1),
    nn.MaxPool2d((2, 3), stride=(1, 2), dilation=(2, 1)),
    nn.MaxPool2d(3, stride=2, ceil_mode=True),
    nn.AvgPool2d(3, stride=2, padding=1),
    nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False, ceil_mode=True),
    nn.AdaptiveAvgPool2d((3, 4)),
    nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveMaxPool2d((5, 2)),
    nn.LocalResponseNorm(5),
    nn.LocalResponseNorm(2, alpha=0.1, beta=0.5, k=2.0),
    nn.BatchNorm2d(10),
    nn.ChannelShuffle(5),
    nn.Flatten(),
    nn.ZeroPad2d((1, 0, 2, 3)),
    nn.Dropout(0.5),
]


@pytest.mark.parametrize("layer", POOLS, ids=str)
@pytest.mark.parametrize("channels", [10, 80])
def test_everything_else(layer, channels):
    if isinstance(layer, nn.BatchNorm2d):
        layer = nn.BatchNorm2d(channels)
    torch.manual_seed(0)
    _check(_randomized(nn.Sequential(layer)), torch.randn(4, channels, 9, 12))


ACTIVATIONS = [
    nn.ReLU(),
    nn.LeakyReLU(0.2),
    nn.ReLU6(),
    nn.ELU(0.7),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.SiLU(),
    nn.Hardswish(),
    nn.Hardsigmoid(),
    nn.Hardtanh(-0.5, 2.0),
    nn.Softplus(),
]


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=str)
def test_activations_alone_and_behind_layers(layer):
    torch.manual_seed(0)
    _check(nn.Sequential(layer), torch.randn(3, 5, 4, 6))
    _check(nn.Sequential(nn.Conv2d(5, 9, 3), layer), torch.randn(3, 5, 7, 6))
    _check(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), layer), torch.randn(3, 8, 7, 6))
    _check(nn.Sequential(nn.Conv2d(16, 9, 3, padding=1), layer), torch.randn(3, 16, 12, 16))
    _check(nn.Sequential(nn.Linear(20, 33), layer), torch.randn(3, 20))


class Function(nn.Module):
    """A network that is one function of its inputs and layers."""

    def __init__(self, function: Any, *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, *inputs: Tensor) -> Tensor:
        output: Tensor = self.function(self.layers, *inputs)
        return output


PAIRS = {
    "add": lambda _, a, b: a + b,
    "subtract": lambda _, a, b: a - b,
    "multiply": lambda _, a, b: a * b,
    "number": lambda _, a, b: (2.0 * a - 1) / 4 + b,
    "gate": lambda _, a, b: a * torch.sigmoid(b.mean((2, 3), keepdim=True)),
    "concatenate": lambda _, a, b: torch.cat([a, b], 1),
    "columns": lambda _, a, b: torch.cat([a, b], 3),
    "rows": lambda _, a, b: torch.cat([a, b], 2),
    "slices": lambda _, a, b: a[:, 1:4] + b[:, :3],
    "chunks": lambda _, a, b: torch.cat([a.chunk(2, 1)[1], b.chunk(2, 1)[0]], 1),
    "flat and not": lambda _, a, b: a.flatten(1) + torch.relu(b).flatten(1),
    "first channels, flat": lambda _, a, b: a[:, :4].flatten(1) - b[:, 2:6].flatten(1),
    "first rows, flat": lambda _, a, b: (a[:, :, :2] + b[:, :, 3:]).flatten(1)[:, :20],
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("channels", [6, 16])
def test_two_tensors(name, channels):
    torch.manual_seed(0)
    _check(Function(PAIRS[name]), torch.randn(3, channels, 5, 7), torch.randn(3, channels, 5, 7))


def test_one_dimension():
    torch.manual_seed(0)
    layers = [
        nn.Conv1d(4, 9, 5, stride=2, padding=2),
        nn.BatchNorm1d(9),
        nn.ReLU(),
        nn.MaxPool1d(3),
        nn.Conv1d(9, 9, 3),
    ]
    _check(
        _randomized(nn.Sequential(*layers, nn.AvgPool1d(2), nn.Flatten(), nn.Linear(9 * 2, 4))), torch.randn(3, 4, 40)
    )


@pytest.mark.parametrize("features", [(1, 1), (7, 3), (128, 200), (300, 10), (513, 97)], ids=str)
def test_dense_layers(features):
    torch.manual_seed(0)
    _check(nn.Sequential(nn.Linear(*features)), torch.randn(9, features[0]))
    norm = nn.BatchNorm1d(features[1])
    _check(_randomized(nn.Sequential(nn.Linear(*features, bias=False), norm, nn.Tanh())), torch.randn(9, features[0]))


def test_flattened_maps_have_statistics_of_each_feature():
    torch.manual_seed(0)
    _check(_randomized(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(60), nn.Linear(60, 5))), torch.randn(4, 5, 3, 4))


@pytest.mark.parametrize("channels", [2, 16, 20])
def test_of_what_is_flattened_a_part_was_taken(channels):
    # Once the places of the whole were kept, and all of it was written where the part should go.
    torch.manual_seed(0)
    x = torch.randn(4, 24, 3, 5)
    _check(Function(lambda _, x: x[:, :channels].flatten(1)), x)
    _check(Function(lambda _, x: x.flatten(1)[:, : 15 * channels]), x)
    _check(Function(lambda own, x: own[0](torch.relu(x[:, :channels]).flatten(1)), nn.Linear(15 * channels, 7)), x)
    _check(Function(lambda own, x: own[0](x)[:, :channels].flatten(1), nn.Conv2d(24, 24, 1)), x)


def test_one_value_is_added_twice():
    torch.manual_seed(0)
    layers = [nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 5, padding=2)]
    _check(Function(lambda own, x: own[0](x) + own[0](x) + own[1](x) + x, *layers), torch.randn(3, 6, 8, 8))


def _random_layer(rng: np.random.Generator, channels: int) -> tuple[nn.Module, int]:
    """Return a layer that leaves the size of maps as it is, and its number of channels."""
    outputs = int(rng.integers(1, 40))
    kind = rng.integers(10)
    if kind < 3:
        kernel = int(rng.choice([1, 3, 3, 5]))
        groups = int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0 and outputs % g == 0]))
        return nn.Conv2d(channels, outputs, kernel, padding="same", groups=groups, bias=bool(rng.integers(2))), outputs
    if kind == 3:
        return nn.Conv2d(channels, channels, 3, padding=1, groups=channels), channels
    choices: list[nn.Module] = [
        nn.BatchNorm2d(channels),
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.AvgPool2d(3, stride=1, padding=1),
        nn.LocalResponseNorm(3),
        nn.Dropout(0.3),
        ACTIVATIONS[int(rng.integers(len(ACTIVATIONS)))],
    ]
    return choices[kind - 4], channels


class Random(nn.Module):
    """A chain of layers with additions of earlier values, concatenations and pooling in between."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        channels, self.steps = int(rng.integers(1, 20)), []
        self.in_channels = channels
        layers = []
        known = [channels]
        for _ in range(int(rng.integers(3, 12))):
            layer, channels = _random_layer(rng, channels)
            layers.append(layer)
            joins = [n for n, earlier in enumerate(known) if earlier == channels]
            step: tuple[str, int] = ("none", 0)
            if joins and rng.random() < 0.5:
                step = ("add", int(rng.choice(joins)))
            elif rng.random() < 0.25:
                step = ("join", int(rng.integers(len(known))))
                channels += known[step[1]]
            elif rng.random() < 0.15:
                step = ("pool", 0)
                known = []
            self.steps.append(step)
            known.append(channels)
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(channels, 7)

    def forward(self, x: Tensor) -> Tensor:
        known = [x]
        for layer, (what, which) in zip(self.layers, self.steps, strict=True):
            x = layer(x)
            if what == "add":
                x = x + known[which]
            elif what == "join":
                x = torch.cat([x, known[which]], 1)
            elif what == "pool":
                x = nn.functional.max_pool2d(x, 2, ceil_mode=True)
                known = []
            known.append(x)
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed):
    torch.manual_seed(seed)
    model = _randomized(Random(seed))
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(5, 24, size=2))
    _check(model, torch.randn(3, model.in_channels, *size))


def test_threads_change_no_bit():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 33, 3, padding=1), nn.ReLU(), nn.Conv2d(33, 65, 3, padding=1), nn.MaxPool2d(2), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(65 * 256, 100)).eval()
    x = torch.randn(5, 3, 32, 32)
    results = []
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        with torch.no_grad():
            forward = _plan(model, x).forward
            results.append([forward([x[:count].contiguous()])[0] for count in (1, 2, 5)])
    for others in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], others, strict=True))


def test_a_batch_is_its_images():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.Flatten()
    ).eval()
    x = torch.randn(6, 3, 6, 6)
    with torch.no_grad():
        forward = _plan(model, x).forward
        assert torch.equal(forward([x])[0], torch.cat([forward([x[n : n + 1].contiguous()])[0] for n in range(6)]))


def test_what_depends_on_the_batch_is_left_to_blocks():
    for layer in (nn.BatchNorm2d(3), nn.Dropout(0.5)):
        graph = capture(nn.Sequential(layer).train(), torch.randn(3, 3, 4, 4))
        assert [reason_against(node) for node in graph.nodes if node.inputs] != [None]
