"""A captured graph run again, call by call, against the network itself: outputs, gradients, buffers, random numbers."""

from __future__ import annotations

import copy
import random
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from striate import models
from striate.errors import UsageError
from striate.graph import capture
from striate.graph._calls import tensors_in
from striate.graph.rerun import obstacles, rerun
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


def _run(network, call, x):
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


def _same(found, expected):
    if not isinstance(expected, list):
        return found == expected
    both = zip(found, expected, strict=True)
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in both)


def _assert_equal(network, shape, *, captured=3, counts=(3, 5, 1), training=(False, True), passes=2):
    """Compare, in both modes, on several numbers of images, twice in a row so that what is left behind counts."""
    for mode in training:
        for count in counts:
            own = copy.deepcopy(network).train(mode)
            graph = capture(own, torch.randn(captured, *shape))
            twin = copy.deepcopy(own)
            for _ in range(passes):
                x = torch.randn(count, *shape)
                expected = _run(twin, twin, x)
                found = _run(own, lambda x: rerun(graph, x), x)  # noqa: B023
                differ = [name for name in expected if not _same(found[name], expected[name])]
                assert not differ, (mode, count)


# All networks of striate


SIZES = {"googlenet": 64, "googlenet_2014": 96, "densenet121": 64}
QUICK = (
    "mlp_iris", "lecun1989", "lenet5_1998", "lenet5", "cnn_cifar", "resnet20", "mobilenet_v2_cifar", "airbench94",
    "googlenet", "googlenet_2014", "densenet121",
)  # fmt: skip


def _assert_network(name, *, training):
    torch.manual_seed(0)
    info = models.info(name)
    if len(info.input_size) == 1:
        network, shape = models.create(name), info.input_size
    else:
        size = info.input_size[-1] if name.startswith("le") else SIZES.get(name, min(info.input_size[-1], 64))
        network, shape = models.create(name, image_size=size), (info.input_size[0], size, size)
    _assert_equal(network, shape, captured=2, counts=(2, 3), training=(training,), passes=1)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", QUICK)
def test_networks_run_again_as_they_are(name, training):
    _assert_network(name, training=training)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in models.list() if name not in QUICK])
def test_all_other_networks_run_again_as_they_are(name):
    for training in (False, True):
        _assert_network(name, training=training)


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
def test_numbers_read_off_shapes_are_read_again(name):
    _assert_equal(Network(SIZED[name]), SHAPE, training=(False,))


def test_a_token_for_each_image():
    _assert_equal(Network(_class_token, token=_weight(1, 1, 16)), SHAPE, training=(False,))


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
def test_random_numbers_are_drawn_again(function):
    _assert_equal(Network(function), SHAPE)


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
def test_writing_in_place(function):
    _assert_equal(Network(function), SHAPE, training=(False,))


def test_writing_through_views():
    network = Network(_through_views)
    graph, x, weights = capture(network, torch.ones(3, *SHAPE)), torch.randn(3, *SHAPE), torch.randn(3, *SHAPE)
    given, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = rerun(graph, given)
    assert torch.equal(found, network(expected))
    (found * weights).sum().backward()
    (network(expected) * weights).sum().backward()
    torch.testing.assert_close(given.grad, expected.grad)  # the same terms, added in another order


def test_a_view_that_has_as_many_values_as_what_was_written():
    _assert_equal(Network(_of_the_same_size), SHAPE, training=(False,), counts=(3,))


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
def test_buffers_are_read_and_written_as_by_the_network(function):
    count = torch.zeros((), dtype=torch.int64)
    _assert_equal(Network(function, w=torch.rand(4) + 1, v=torch.rand(4), m=torch.zeros(4), count=count), SHAPE)


def test_constants_outside_of_buffers_are_the_networks_state_too():
    class Carrying(nn.Module):
        def __init__(self):
            super().__init__()
            self.history = torch.zeros(4, 4)

        def forward(self, x):
            y = x + self.history
            self.history += 1
            return y * self.history

    _assert_equal(Carrying(), SHAPE)


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
def test_gradients_flow_where_they_flow_in_the_network(function):
    _assert_equal(Network(function, weight=_weight(4, 4)), SHAPE, training=(False,))


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
def test_layers_that_striate_does_not_know(name):
    _assert_equal(LAYERS[name], SHAPE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_module_runs_as_a_whole():
    layers = nn.Sequential(nn.Conv2d(4, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
    twin = nn.Sequential(copy.deepcopy(layers), nn.Flatten())
    network = nn.Sequential(torch.jit.script(layers), nn.Flatten())
    graph, x = capture(network, torch.ones(3, *SHAPE)), torch.randn(5, *SHAPE)
    assert torch.equal(rerun(graph, x), twin(x))
    for own, other in zip(network.buffers(), twin.buffers(), strict=True):
        assert torch.equal(own, other)


def test_a_normalisation_called_twice_and_read_in_between():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            y = self.bn(self.conv(self.bn(x).relu_()))
            return y.add_(x) * self.bn.running_mean[:, None, None]

    _assert_equal(Shared(), SHAPE)


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


# What cannot be run again


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
