"""What of a captured graph cannot be run again, or on so many images, and how that is said."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from striate.errors import UsageError
from striate.graph import capture
from striate.graph.rerun import obstacles, rerun

SHAPE = (4, 4, 4)


class Network(nn.Module):
    """A forward pass ``function(self, x)`` with parameters, buffers (tensors) and layers of its own."""

    def __init__(self, function, **own):
        super().__init__()
        self.function = function
        for name, value in own.items():
            if type(value) is torch.Tensor:
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, x):
        return self.function(self, x)


def _weight(*shape):
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(0)))


def _numpy(self, x):
    return x + torch.from_numpy(x.detach().numpy() * 2)


def _data_written(self, x):
    self.weight.data.mul_(0.9)
    return F.linear(x, self.weight)


def _data_set(self, x):
    self.weight.data = self.weight.data * 0.9
    return F.linear(x, self.weight)


def _earlier_buffer(self, x):
    earlier = self.m * 1
    self.m.add_(1)
    return x * earlier


def _earlier_statistics(self, x):
    scale = self.bn.running_var.rsqrt()
    return self.bn(x) * scale[:, None, None]


def _hidden_constant(self, x):
    table = torch.zeros(4, 4)
    table[:2].copy_(x.mean((0, 1))[:2])
    return x + table


def _random_part(self, x):
    table = torch.zeros(4)
    table[:2].normal_()
    return x * table


def _python_random(self, x):
    return x * 2 if random.random() < 0.5 else x


def _numpy_random(self, x):
    return x * np.random.rand()  # noqa: NPY002


def _seeded(self, x):
    torch.manual_seed(4321)
    return x * torch.rand(1)


def _replaced(self, x):
    y = x + self.attribute
    self.attribute = self.attribute + 1
    return y


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (_numpy, r"`unseen`, unseen: PyTorch does not show what computes it\."),
        (lambda self, x: torch.vmap(torch.sum)(x * 1), r"`unseen`, unseen: PyTorch does not show what computes it\."),
        (_data_written, r"`linear`, linear: It takes a tensor on whose memory another call wrote"),
        (_data_set, r"`linear`, linear: Before it, `data` of a tensor was set\."),
        (_earlier_buffer, "constant: Since it was made, a call wrote on a buffer that it was made from"),
        (_earlier_statistics, "constant: Since it was made, a call wrote on a buffer that it was made from"),
        (_hidden_constant, "constant: Another call wrote on its memory through another tensor"),
        (_random_part, "constant: Another call wrote on its memory through another tensor"),
        (_python_random, "random: The forward pass draws random numbers from Python or NumPy"),
        (_numpy_random, "random: The forward pass draws random numbers from Python or NumPy"),
        (_seeded, "random: .* or sets PyTorch's seed"),
        (_replaced, "attribute: The forward pass reads the attribute `attribute` and puts another tensor"),
    ],
)
def test_what_cannot_be_run_again_is_refused(function, reason):
    network = Network(function, weight=_weight(4, 4), m=torch.ones(4), bn=nn.BatchNorm2d(4))
    network.__dict__["attribute"] = torch.zeros(4)
    graph = capture(network, torch.randn(3, *SHAPE))
    assert any(sentence for sentence in obstacles(graph))
    with pytest.raises(UsageError, match=rf"rerun: `graph` must hold only calls that can be run again, got .*{reason}"):
        rerun(graph, torch.randn(3, *SHAPE))


def test_parameters_written_on_through_data_are_put_back():
    for function in (_data_written, _data_set):
        network = Network(function, weight=_weight(4, 4))
        before = network.weight.detach().clone()
        capture(network, torch.randn(3, *SHAPE))
        assert torch.equal(network.weight, before)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad_output):
        return 7 * grad_output


class Tripled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        with torch.enable_grad():
            y = x.detach().requires_grad_() * 3
        return y.detach()

    @staticmethod
    def backward(ctx, grad_output):
        return 7 * grad_output


def _hooked(self, x):
    y = x * self.weight
    y.register_hook(lambda gradient: 3 * gradient)
    return y


@pytest.mark.parametrize(
    "function",
    [
        lambda self, x: Doubled.apply(x * self.weight) + 1,
        lambda self, x: Tripled.apply(x * self.weight) + 1,
        lambda self, x: checkpoint(lambda x: (x * x).tanh(), x * self.weight, use_reentrant=True),
        _hooked,
    ],
)
def test_a_function_with_a_gradient_of_its_own_runs_without_gradients_alone(function):
    network = Network(function, weight=_weight(4, 4))
    graph, x = capture(network, torch.randn(3, *SHAPE)), torch.randn(5, *SHAPE)
    expected = network(x).detach()
    with torch.no_grad():
        assert torch.equal(rerun(graph, x), expected)
    with pytest.raises(UsageError, match=r"Replay\.run: `\w+` must run without gradients, got a tensor that needs one"):
        rerun(graph, x)
    assert not all(node.replay.is_differentiable for node in graph.nodes if node.replay is not None)


def test_a_network_captured_without_gradients_runs_without():
    network, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)), torch.randn(3, 4)
    with torch.no_grad():
        graph = capture(network, x)
    found = rerun(graph, x.requires_grad_())
    assert not found.requires_grad
    assert torch.equal(found, network(x))
    assert not graph.outputs[0].replay.is_differentiable


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda self, x: x.relu() if x.sum() > 0 else -x,
            r"Aside\.run: `__bool__` of `gt` must answer as in the captured",
        ),
        (lambda self, x: x if torch.is_nonzero(x.sum() > 0) else -x, r"Aside\.run: `is_nonzero` of `gt` must answer"),
        (lambda self, x: x * x.mean().item(), r"Aside\.run: `item` of `mean` must answer as in the captured"),
        (lambda self, x: x if torch.rand(1).item() > 2 else -x, r"Aside\.run: `item` of `constant` must answer"),
    ],
)
def test_what_python_read_must_be_found_again(function, message):
    graph = capture(Network(function), torch.ones(3, *SHAPE))
    torch.rand(1)
    with pytest.raises(UsageError, match=message):
        rerun(graph, -2 * torch.ones(3, *SHAPE))
    assert rerun(graph, torch.ones(2, *SHAPE), trust_reads=True).shape == (2, *SHAPE)


def test_an_average_over_all_batches_is_not_run_twice():
    network = nn.BatchNorm2d(4, momentum=None)
    graph, x = capture(network, torch.ones(3, *SHAPE)), torch.randn(3, *SHAPE)
    rerun(graph, x)
    with pytest.raises(
        UsageError, match=r"Aside\.run: `__float__` of a buffer must answer as in the captured run, got 2\.0"
    ):
        rerun(graph, x)


def _loop(self, x):
    return sum(x[i].tanh() for i in range(x.size(0)))


PINNED = {
    "a loop over images": (_loop, r"Replay\.run: `input` must have the first axis of the captured run, 3, got 5"),
    "a walk over images": (lambda self, x: sum(image.tanh() for image in x), r"`unbind` must return 3 tensors as in"),
    "one image": (lambda self, x: x + x[:1], r"because `__getitem__` picks from it by number"),
    "a branch": (
        lambda self, x: x.relu() if x.shape[0] < 4 else x,
        r"Aside\.run: `comparison of sizes` of `input` must",
    ),
    "a quotient": (
        lambda self, x: x.view(int(x.shape[0] / 1), -1),
        r"Aside\.run: `comparison of sizes` of `input` must",
    ),
    "a plain number": (lambda self, x: x.view(-1, 3 * 16).view(3, -1), r"rerun: `view:2` must have the 6 images of"),
}


@pytest.mark.parametrize("name", PINNED)
def test_what_was_decided_on_the_number_of_images_is_not_run_on_another(name):
    function, message = PINNED[name]
    count = 6 if name == "a plain number" else 5
    graph, x = capture(Network(function), torch.ones(3, *SHAPE)), torch.randn(3, *SHAPE)
    assert torch.equal(rerun(graph, x), Network(function)(x))
    with pytest.raises(UsageError, match=message):
        rerun(graph, torch.randn(count, *SHAPE))


def test_which_images_a_view_showed_must_be_known(network):
    def function(x):
        y = x * 1
        y.view(-1)[:4].add_(1)
        return y + 1

    graph, x = capture(network(function), torch.ones(3, *SHAPE)), torch.randn(3, *SHAPE)
    assert torch.equal(rerun(graph, x), function(x))
    message = (
        r"Replay\.run: a tensor of which a part was written on must have its captured shape \(3, 4, 4, 4\), got \(5"
    )
    with pytest.raises(UsageError, match=rf"{message}|picks from it by number"):
        rerun(graph, torch.randn(5, *SHAPE))


def test_a_buffer_of_another_shape_is_refused():
    def function(self, x):
        self.m = x.detach().flatten()
        return x * 2

    graph = capture(Network(function, m=torch.zeros(4)), torch.ones(3, 2))
    with pytest.raises(UsageError, match=r"Aside\.run: a buffer must keep its shape \(4,\), got \(6,\)"):
        rerun(graph, torch.ones(3, 2))


def test_wrong_inputs_are_refused():
    graph = capture(nn.Linear(4, 3), torch.ones(2, 4))
    with pytest.raises(UsageError, match="rerun: `inputs` must be as many tensors as the graph has inputs, 1, got 0"):
        rerun(graph)
    with pytest.raises(
        UsageError, match=r"rerun: `input` must be of shape \(2, 4\) and torch.float32, .* got \(2, 5\)"
    ):
        rerun(graph, torch.ones(2, 5))
    with pytest.raises(UsageError, match=r"rerun: `input` must be of shape .* got \(2, 4\) and torch.float64"):
        rerun(graph, torch.ones(2, 4, dtype=torch.float64))
