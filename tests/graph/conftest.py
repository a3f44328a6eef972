"""What the tests of the graph share: networks from functions, and a graph run again by the definitions in NumPy."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.graph import Graph, Input, Opaque, capture
from striate.graph._calls import tensors_in
from striate.graph.rerun import rerun

# In float64: the definitions repeat PyTorch's arithmetic up to rounding. (Its hardsigmoid has 1/6 in float32.)
FORWARD, BACKWARD = 1e-10, 1e-8


class Function(nn.Module):
    """A network that is one function, or one module called `layer`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        if isinstance(function, nn.Module):
            self.layer = function
        else:
            self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.layer(*inputs) if hasattr(self, "layer") else self.function(*inputs)


def _arrays(graph: Graph, node: Any) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    inputs = [graph.value(source).numpy() for source in node.inputs]
    parameters = {key: parameter.tensor.detach().numpy() for key, parameter in node.parameters.items()}
    return inputs, parameters | {key: graph.value(source).numpy() for key, source in node.computed.items()}


def _close(found: Any, expected: Any, tolerance: float) -> bool:
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    return np.shape(found) == np.shape(expected) and bool(np.all(np.abs(found - expected) <= tolerance * scale))


def _assert_replays(graph: Graph) -> None:
    """Compute every node from its inputs, then every gradient from those behind it, and compare with PyTorch's."""
    for node in graph.nodes:
        if not isinstance(node.op, Input | Opaque):
            inputs, parameters = _arrays(graph, node)
            expected = graph.value(node).numpy()
            assert _close(node.op.forward(*inputs, **parameters), expected, FORWARD), node
    gradients: dict[int, Any] = {graph.loss.index: np.ones(graph.loss.output_shape)}
    of_parameters: dict[int, Any] = {}
    for node in reversed(graph.nodes):
        gradient = gradients.get(node.index)
        if gradient is None or isinstance(node.op, Input | Opaque):
            continue
        inputs, parameters = _arrays(graph, node)
        found = node.op.backward(gradient, *inputs, **parameters)
        for source, part in zip(node.inputs, found.inputs, strict=True):
            gradients[source.index] = gradients.get(source.index, 0) + part
        for key, part in found.parameters.items():
            if key in node.computed:
                gradients[node.computed[key].index] = gradients.get(node.computed[key].index, 0) + part
            else:
                tensor = id(node.parameters[key].tensor)
                of_parameters[tensor] = of_parameters.get(tensor, 0) + part
    for node in graph.nodes:
        if (expected := graph.gradient(node)) is not None:
            assert _close(gradients[node.index], expected.numpy(), BACKWARD), node
    for parameter in graph.parameters:
        if (expected := graph.gradient(parameter)) is not None:
            assert _close(of_parameters[id(parameter.tensor)], expected.numpy(), BACKWARD), parameter


@pytest.fixture
def assert_replays() -> Callable[[Graph], None]:
    """The function `_assert_replays`; for graphs captured in float64 with values and a loss."""
    return _assert_replays


@pytest.fixture
def captured() -> Callable[..., Graph]:
    """Capture a function or a module on tensors, with values and the loss sum(output * weights)."""

    def run(function: Callable[..., Any], *inputs: Tensor) -> Graph:
        def loss(output: Any) -> Tensor:
            tensors = [output] if isinstance(output, Tensor) else [t for t in output if t.is_floating_point()]
            # Cosines, so that no two values have the same gradient.
            return sum((t * torch.cos(torch.arange(t.numel(), dtype=t.dtype).reshape(t.shape))).sum() for t in tensors)

        return capture(Function(function).double(), inputs, keep_values=True, loss=loss)

    return run


@pytest.fixture
def one_node(captured, assert_replays) -> Callable[..., Any]:
    """Capture a function of tensors, check the arithmetic of its graph, and return its last node before the loss."""

    def run(function: Callable[..., Any], *inputs: Tensor) -> Any:
        graph = captured(function, *inputs)
        assert_replays(graph)
        return graph.outputs[0]

    return run


@pytest.fixture
def network() -> type[Function]:
    """The class `Function`."""
    return Function


@pytest.fixture
def images() -> Tensor:
    """Two images of 4 channels and 6 x 7 pixels, in float64."""
    return torch.randn(2, 4, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """A residual block whose last activation is written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bn = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.relu(self.bn(self.conv(x))) + x)


class Network(nn.Module):
    """Modules, functional calls, a layer used twice, dropout, and attributes that the forward pass sets."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(Block(), Block())
        self.fc = nn.Linear(12, 12)
        self.drop = nn.Dropout(0.5)
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("mean", torch.zeros(12))
        self.calls = 0
        self.history = torch.zeros(3)
        self.raises = False

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x
        self.history += 1
        self.mean.add_(1)
        x = F.max_pool2d(self.stage(x), 4).flatten(1)
        x = self.fc(torch.tanh(self.fc(x - self.mean))) * self.scale
        random.random(), np.random.rand()  # noqa: NPY002
        if self.raises:
            raise KeyError("raised by the network")
        return self.drop(x)


@pytest.fixture
def model() -> Network:
    """A network of the class `Network`."""
    torch.manual_seed(0)
    return Network()


def _seen(network: nn.Module, call: Callable[[Tensor], Any], x: Tensor) -> dict[str, Any]:
    """Run forward and backward and return all that can be seen afterwards."""
    torch.manual_seed(5)
    network.zero_grad()
    x = x.clone().requires_grad_()
    output = call(x)
    outputs = tensors_in(output)
    # Cosines, so that no two values have the same gradient.
    losses = [(y * torch.cos(torch.arange(y.numel(), dtype=y.dtype).view(y.shape))).sum() for y in outputs
              if y.requires_grad]  # fmt: skip
    if losses:
        sum(losses).backward()
    return {
        "structure": type(output),
        "outputs": outputs,
        "input": [x.grad],
        "gradients": [p.grad for p in network.parameters()],
        "buffers": [b.clone() for b in network.buffers()],
        "generator": [torch.get_rng_state()],
    }


def _same(found: Any, expected: Any) -> bool:
    """Whether both are equal, and tensors so bit for bit."""
    if not isinstance(expected, list):
        return found == expected
    both = zip(found, expected, strict=True)
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in both)


def _assert_reruns(
    network: nn.Module,
    shape: tuple[int, ...],
    *,
    captured: int = 3,
    counts: tuple[int, ...] = (3, 5, 1),
    training: tuple[bool, ...] = (False, True),
    passes: int = 2,
) -> None:
    """Compare, in both modes, on several numbers of images, twice in a row so that what is left behind counts."""
    for mode in training:
        for count in counts:
            own = copy.deepcopy(network).train(mode)
            graph = capture(own, torch.randn(captured, *shape))
            twin = copy.deepcopy(own)
            for _ in range(passes):
                x = torch.randn(count, *shape)
                expected = _seen(twin, twin, x)
                found = _seen(own, lambda x: rerun(graph, x), x)  # noqa: B023
                differ = [name for name in expected if not _same(found[name], expected[name])]
                assert not differ, (mode, count)


@pytest.fixture
def assert_reruns() -> Callable[..., None]:
    """The function `_assert_reruns`."""
    return _assert_reruns
