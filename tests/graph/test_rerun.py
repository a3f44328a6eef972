"""A captured graph run again, call by call, against the network itself: outputs, gradients, buffers, random numbers."""

from __future__ import annotations

import copy
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from striate.graph import capture
from striate.graph.rerun import rerun
from striate.graph.torch_call import Replay

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


# Networks of users


def _weight(*shape):
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(0)))


def _windows(self, x):
    n, c, h, w = x.shape
    y = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).contiguous().view(-1, 4, c).softmax(-1)
    again = y.shape[0] // (h * w // 4)
    return y.view(again, h // 2, w // 2, 2, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(again, h, w, -1)


def _class_token(self, x):
    tokens = x.flatten(2)
    return torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], 1).permute(1, 0, 2)


def _zeros(self, x):
    n = x.shape[0]
    made = torch.zeros(n, 4) + x.new_ones(len(x), 4) + torch.full((int(n), 1), 2.0) + torch.empty(n, 1).fill_(3)
    return made * x.mean((2, 3)) + torch.zeros_like(x).sum((2, 3))


def _halves(self, x):
    both = torch.cat([x, x + 1])
    n = x.shape[0]
    return both[:n] * both[n:] + x[: n // 2 + 1].mean() + torch.mul(*both.chunk(2))


SIZED = {
    "size": lambda self, x: x.view(x.size(0), -1),
    "shape": lambda self, x: x.reshape(x.shape[0] * x.shape[1], 1, 4, 4).relu().view(*x.shape[:2], -1).mean(2),
    "len": lambda self, x: x.view(len(x), -1),
    "int": lambda self, x: x.reshape(int(x.shape[0]), -1),
    "numel": lambda self, x: x.reshape(x.shape[0], x.numel() // x.shape[0]),
    "mean over images": lambda self, x: x.sum(0) / x.size(0),
    "positions": lambda self, x: x + torch.arange(len(x)).view(-1, 1, 1, 1) * torch.arange(x.shape[3]),
    "upsampling": lambda self, x: F.interpolate(x, size=(x.shape[2] * 2, x.shape[3] * 2), mode="bilinear"),
    "like another": lambda self, x: x.mean(1, keepdim=True).expand_as(x) * x.mean(1, True).expand(x.shape),
    "windows": _windows,
    "zeros": _zeros,
    "halves": _halves,
}


@pytest.mark.parametrize("name", SIZED)
def test_numbers_read_off_shapes_are_read_again(assert_reruns, name):
    assert_reruns(Network(SIZED[name]), SHAPE, training=(False,))


def test_a_token_for_each_image(assert_reruns):
    assert_reruns(Network(_class_token, token=_weight(1, 1, 16)), SHAPE, training=(False,))


def _noise(self, x):
    noise = torch.randn_like(x) * 0.1
    return (x + noise) * 2 - noise


def _drop_path(self, x):
    mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(0.7)
    return x * mask.div_(0.7)


def _mix(self, x):
    order, share = torch.randperm(x.size(0)), torch.rand(1)
    return x * share + x[order] * (1 - share)


@pytest.mark.parametrize(
    "function", [_noise, _drop_path, _mix, lambda self, x: F.dropout(F.dropout2d(x, inplace=False))]
)
def test_random_numbers_are_drawn_again(assert_reruns, function):
    assert_reruns(Network(function), SHAPE)


def _mixed(self, x):
    y = x * 1
    z = torch.sigmoid(y)
    y.mul_(3)
    y += 1
    y[:, 0] *= 2
    y[:, 1] = z[:, 2]
    y[y > 2] = 0.5
    F.relu(y, inplace=True)
    return y + z


def _through_views(self, x):
    y = x * 1
    flat, first = y.view(-1), y[:, :3]
    first.mul_(2)
    y[:, 1].add_(1)
    y.flatten(1)[:, ::2].tanh_()
    return y + first.sum(1, keepdim=True) + flat.sum()


def _through_a_turned_view(self, x):
    y = x.permute(0, 2, 3, 1).contiguous()
    y.permute(0, 3, 1, 2)[:, :1].add_(1)
    return y.sum(-1) * 1


def _of_the_same_size(self, x):
    y = x[0].flatten(1)[:, :6] * 1  # 4 x 6
    turned = y[:2].t()
    y[:, :3].mul_(2)
    return turned + 0


def _filled(self, x):
    y = torch.zeros(x.shape[0], 6, 4, 4)
    y[:, 1:5] = x
    table = torch.zeros(4)
    table[0] = 1
    table[1:3].fill_(2)
    return y * table + torch.add(x.detach(), 1, out=torch.zeros_like(x)).sum(1, keepdim=True)


@pytest.mark.parametrize("function", [_mixed, _through_a_turned_view, _filled])
def test_writing_in_place(assert_reruns, function):
    assert_reruns(Network(function), SHAPE, training=(False,))


def test_writing_through_views():
    network = Network(_through_views)
    graph, x, weights = capture(network, torch.ones(3, *SHAPE)), torch.randn(3, *SHAPE), torch.randn(3, *SHAPE)
    given, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = rerun(graph, given)
    assert torch.equal(found, network(expected))
    (found * weights).sum().backward()
    (network(expected) * weights).sum().backward()
    torch.testing.assert_close(given.grad, expected.grad)  # the same terms, added in another order


def test_a_view_that_has_as_many_values_as_what_was_written(assert_reruns):
    assert_reruns(Network(_of_the_same_size), SHAPE, training=(False,), counts=(3,))


def test_parts_of_images_are_written_on_for_any_number_of_them(network):
    def function(x):
        y = x * 1
        y[:, :3].mul_(2)
        y[:, 1].add_(1)
        return y

    graph = capture(network(function), torch.randn(3, *SHAPE))
    for count in (1, 7):
        x = torch.randn(count, *SHAPE)
        assert torch.equal(rerun(graph, x), function(x))


def test_nothing_is_written_on_what_is_given():
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = _weight(4, 4)

        def forward(self, x):
            x.relu_()
            with torch.no_grad():
                self.weight.clamp_(-0.5, 0.5)
            x += F.linear(x, self.weight)
            return x

    network, x = Writing(), torch.randn(3, *SHAPE)
    weight = network.weight.detach().clone()
    graph, given = capture(network, x), x.clone()
    found = rerun(graph, given)
    assert torch.equal(given, x)
    assert torch.equal(network.weight, weight)
    assert torch.equal(found, network(x.clone()))


def _frozen(self, x):
    scale = self.w.reshape(1, -1, 1, 1) * (self.v.reshape(1, -1, 1, 1) + 1e-5).rsqrt()
    return x * scale + scale


def _average(self, x):
    if self.training:
        with torch.no_grad():
            self.m.mul_(0.9).add_(0.1 * x.mean((0, 2, 3)))
    return x - self.m[:, None, None]


def _average_replaced(self, x):
    if self.training:
        self.m = 0.9 * self.m + 0.1 * x.detach().mean((0, 2, 3))
    return x - self.m[:, None, None]


def _counted(self, x):
    self.count += 1
    self.m[0] = 5
    self.m[1:].add_(1)
    self.v.copy_(x.detach().mean((0, 2, 3)))
    return x * self.m[0] + self.count + self.v[:, None, None]


def _swapped(self, x):
    self.m, self.v = self.v + 1, self.m
    return x * self.m[:, None, None]


@pytest.mark.parametrize("function", [_frozen, _average, _average_replaced, _counted, _swapped])
def test_buffers_are_read_and_written_as_by_the_network(assert_reruns, function):
    count = torch.zeros((), dtype=torch.int64)
    assert_reruns(Network(function, w=torch.rand(4) + 1, v=torch.rand(4), m=torch.zeros(4), count=count), SHAPE)


def test_constants_outside_of_buffers_are_the_networks_state_too(assert_reruns):
    class Carrying(nn.Module):
        def __init__(self):
            super().__init__()
            self.history = torch.zeros(4, 4)

        def forward(self, x):
            y = x + self.history
            self.history += 1
            return y * self.history

    assert_reruns(Carrying(), SHAPE)


def _without_gradients(self, x):
    y = x * 1
    with torch.no_grad():
        share = x.mean(1, keepdim=True)
        y.mul_(3)
        weight = self.weight / self.weight.norm()
    return F.linear(y * share, weight) + F.linear(y.detach() + x.data, self.weight)


def _detached(self, x):
    y = x * 2
    z = y + x
    y.detach_()
    return z + y


def _half_precision(self, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = F.linear(x, self.weight)
        with torch.autocast("cpu", enabled=False):
            z = F.linear(x, self.weight)
    return y.float() + z


def _recomputed(self, x):
    return checkpoint(lambda x: (x * self.weight).tanh(), x, use_reentrant=False)


@pytest.mark.parametrize("function", [_without_gradients, _detached, _half_precision, _recomputed])
def test_gradients_flow_where_they_flow_in_the_network(assert_reruns, function):
    assert_reruns(Network(function, weight=_weight(4, 4)), SHAPE, training=(False,))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)

    def forward(self, x):
        return self.attention(x.flatten(2), x.flatten(2), x.flatten(2))


LAYERS = {
    "circular": nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), nn.RReLU(inplace=True)),
    "instance": nn.Sequential(nn.InstanceNorm2d(4, affine=True, track_running_stats=True), nn.Dropout2d(0.3, True)),
    "spectral": nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
    "weight norm": nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
    "lstm": nn.Sequential(nn.Flatten(2), nn.LSTM(16, 5, batch_first=True, dropout=0.3, num_layers=2)),
    "transformer": nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(16, 2, 8, batch_first=True)),
    "attention": Attention(),
    "random windows": nn.Sequential(nn.FractionalMaxPool2d(2, output_size=2), nn.AlphaDropout(0.3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_striate_does_not_know(assert_reruns, name):
    assert_reruns(LAYERS[name], SHAPE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_module_runs_as_a_whole():
    layers = nn.Sequential(nn.Conv2d(4, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
    twin = nn.Sequential(copy.deepcopy(layers), nn.Flatten())
    network = nn.Sequential(torch.jit.script(layers), nn.Flatten())
    graph, x = capture(network, torch.ones(3, *SHAPE)), torch.randn(5, *SHAPE)
    assert torch.equal(rerun(graph, x), twin(x))
    for own, other in zip(network.buffers(), twin.buffers(), strict=True):
        assert torch.equal(own, other)


def test_a_normalisation_called_twice_and_read_in_between(assert_reruns):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            y = self.bn(self.conv(self.bn(x).relu_()))
            return y.add_(x) * self.bn.running_mean[:, None, None]

    assert_reruns(Shared(), SHAPE)


def test_outputs_stand_in_the_structure_of_the_network(network):
    graph = capture(network(lambda x: {"a": x * 2, "b": [x + 1, None, (x, "word")]}), torch.ones(2))
    x = torch.tensor([3.0, 4.0])
    found = rerun(graph, x)
    assert found["a"].tolist() == [6, 8]
    assert found["b"][0].tolist() == [4, 5]
    assert (found["b"][1], found["b"][2]) == (None, (x, "word"))
    assert type(rerun(capture(network(lambda x: x.topk(1)), x), x)) is torch.return_types.topk


def test_several_inputs_and_a_loss(network):
    def function(x, y):
        return x.relu() @ y

    graph = capture(network(function), (torch.ones(2, 3), torch.ones(3, 4)), loss=lambda y: y.sum())
    x, y = torch.randn(5, 3), torch.randn(3, 4)
    assert torch.equal(rerun(graph, x, y), function(x, y))


def test_activations_are_let_go(monkeypatch):
    network, alive, held = nn.Sequential(*(nn.Linear(8, 8) for _ in range(6))), [], []
    graph = capture(network, torch.ones(1, 8))
    run = Replay.run

    def watched(self, values):
        alive.append(sum(reference() is not None for reference in held))
        outputs = run(self, values)
        held.extend(weakref.ref(output) for output in outputs)
        return outputs

    monkeypatch.setattr(Replay, "run", watched)
    with torch.no_grad():
        rerun(graph, torch.ones(1, 8))
    assert alive == [0, 1, 1, 1, 1, 1]
