"""Networks put together at random, chains, skips and concatenations of all kinds of layers, against PyTorch."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

pytestmark = pytest.mark.native

generated = partial(
    settings, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
SEEDS = st.integers(0, 2**32 - 1)
EDGED = {
    "relu": nn.ReLU,
    "relu in place": partial(nn.ReLU, True),
    "relu6": nn.ReLU6,
    "leaky": partial(nn.LeakyReLU, 0.25),
}
SMOOTH = {"elu": nn.ELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "silu": nn.SiLU, "gelu": nn.GELU}
MOST_CHANNELS, MOST_VALUES = 24, 4000


class RandomNetwork(nn.Module):
    """A list of steps, each of which reads values that are there already and adds one."""

    def __init__(self, steps, layers, outputs, *, averages):
        super().__init__()
        self.steps, self.outputs, self.averages = steps, outputs, averages
        self.layers = nn.ModuleDict(layers)

    def forward(self, x):
        values = [x]
        for number, (function, sources) in enumerate(self.steps):
            layer = self.layers[str(number)] if str(number) in self.layers else None  # noqa: SIM401
            values.append(function(layer, *[values[source] for source in sources]))
        return tuple(values[n].mean((2, 3)) if self.averages else values[n] for n in self.outputs)

    def extra_repr(self):
        return f"steps={[(getattr(f, '__name__', f), s) for f, s in self.steps]}, outputs={self.outputs}"


def run_layer(layer, x):
    return layer(x)


def add(_, x, y):
    return x + y


def multiply(_, x, y):
    return x * y


def subtract(_, x, y):
    return x - y


def join(_, *tensors):
    return torch.cat(tensors, 1)


def shuffle(_, x):
    return F.channel_shuffle(x, 2)


def first_half(_, x):
    return x.chunk(2, dim=1)[0]


def scale(_, x):
    return x * 0.5 + 1


def crop(_, x):
    return x[:, :, ::2, 1:]


def pad(_, x):
    return F.pad(x, (1, 0, 2, 1))


def squeeze_and_excite(_, x):
    return x * torch.sigmoid(x.mean((2, 3), keepdim=True))


class Maker:
    """Draws steps; knows the shape of every value."""

    def __init__(self, draw, *, exact):
        self.draw, self.exact = draw, exact
        self.shapes = [(draw(st.integers(1, 4)), draw(st.integers(3, 9)), draw(st.integers(3, 9)))]
        self.steps, self.layers = [], {}
        self.used = set()

    def choose(self, options):
        return self.draw(st.sampled_from(options))

    def source(self):
        # Mostly the last value: a chain; else one from before: a skip.
        last = len(self.shapes) - 1
        return self.draw(st.sampled_from([last, last, last, *range(last + 1)]))

    def put(self, function, sources, shape, layer=None):
        if shape[0] > MOST_CHANNELS or shape[0] * shape[1] * shape[2] > MOST_VALUES or min(shape) < 1:
            return
        if layer is not None:
            self.layers[str(len(self.steps))] = layer
        self.used.update(sources)
        self.steps.append((function, sources))
        self.shapes.append(shape)

    def put_layer(self, layer, source):
        with torch.no_grad():
            shape = layer.eval()(torch.zeros(2, *self.shapes[source])).shape[1:]
        layer.train()
        self.put(run_layer, [source], tuple(shape), layer)

    def convolution(self):
        source = self.source()
        channels, rows, columns = self.shapes[source]
        kernel = [self.draw(st.integers(1, min(size, 4))) for size in (rows, columns)]
        groups = self.choose([g for g in (1, 1, 1, 2, channels) if channels % g == 0])
        outputs = groups * self.draw(st.integers(1, max(1, 10 // groups)))
        is_same = self.draw(st.booleans())  # which leaves the shape for skips
        options = (
            {"padding": "same"}
            if is_same and all(k % 2 for k in kernel)
            else {
                "padding": self.draw(st.integers(0, 2)),
                "stride": self.draw(st.integers(1, 2)),
            }
        )
        outputs = channels if self.draw(st.booleans()) else outputs
        bias = self.draw(st.booleans())
        self.put_layer(nn.Conv2d(channels, outputs, kernel, groups=groups, bias=bias, **options), source)

    def activation(self):
        source, layers = self.source(), EDGED if self.exact else SMOOTH
        may_write = source not in self.used and isinstance(self.layers.get(str(source - 1)), nn.Conv2d)
        # PyTorch refuses to write on an input, and on what the backward pass of another step reads.
        names = [name for name in sorted(layers) if may_write or "in place" not in name]
        self.put_layer(layers[self.choose(names)](), source)

    def batch_norm(self):
        source = self.source()
        if not self.exact:
            self.put_layer(nn.BatchNorm2d(self.shapes[source][0], affine=self.draw(st.booleans())), source)

    def pooling(self):
        source = self.source()
        side = min(self.shapes[source][1:])
        kernel = self.draw(st.integers(1, min(3, side)))
        options = {"stride": self.draw(st.integers(1, 3)), "padding": self.draw(st.integers(0, kernel // 2))}
        kind = nn.MaxPool2d if self.exact else nn.AvgPool2d
        self.put_layer(kind(kernel, ceil_mode=self.draw(st.booleans()), **options), source)

    def halving(self):
        source = self.source()
        if min(self.shapes[source][1:]) > 1:
            self.put_layer(nn.MaxPool2d(2) if self.exact else nn.AdaptiveAvgPool2d((2, 3)), source)

    def dropout(self):
        self.put_layer(nn.Dropout(0.0), self.source())

    def pair(self):
        first = self.source()
        same = [n for n, shape in enumerate(self.shapes) if shape == self.shapes[first]]
        function = self.choose([add, add, subtract] if self.exact else [add, add, subtract, multiply])
        self.put(function, [first, self.choose(same)], self.shapes[first])

    def concatenation(self):
        first = self.source()
        fitting = [n for n, shape in enumerate(self.shapes) if shape[1:] == self.shapes[first][1:]]
        sources = [first, *self.draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=2))]
        self.put(join, sources, (sum(self.shapes[n][0] for n in sources), *self.shapes[first][1:]))

    def movement(self):
        source = self.source()
        channels, rows, columns = self.shapes[source]
        if channels % 2 == 0:
            self.put(shuffle, [source], self.shapes[source])
        if channels > 1 and self.draw(st.booleans()):
            self.put(first_half, [source], (-(-channels // 2), rows, columns))
        if columns > 1 and self.draw(st.booleans()):
            self.put(crop, [source], (channels, -(-rows // 2), columns - 1))
        if self.draw(st.booleans()):
            self.put(pad, [source], (channels, rows + 3, columns + 1))

    def scaling(self):
        source = self.source()
        function = scale if self.exact or self.draw(st.booleans()) else squeeze_and_excite
        if not self.exact:
            self.put(function, [source], self.shapes[source])

    KINDS = (
        [convolution] * 4 + [activation] * 3 + [batch_norm] * 2 + [pair] * 3 + [concatenation] * 2
        + [pooling, halving, dropout, movement, scaling]
    )  # fmt: skip


@st.composite
def networks(draw, exact):
    maker = Maker(draw, exact=exact)
    maker.convolution()
    # Few layers where nothing may be rounded: the numbers grow with each.
    for _ in range(draw(st.integers(1, 5 if exact else 14))):
        draw(st.sampled_from(Maker.KINDS))(maker)
    unread = [n for n in range(1, len(maker.shapes)) if n not in maker.used] or [len(maker.shapes) - 1]
    extra = draw(st.lists(st.integers(0, len(maker.shapes) - 1), max_size=1))  # an output that others read as well
    outputs = list(dict.fromkeys([*unread, *extra]))
    return RandomNetwork(maker.steps, maker.layers, outputs, averages=not exact), maker.shapes[0]


def check(assert_like_pytorch, filled, normal, case, *, batch, training, seed, limit=1e-5):
    model, shape = case
    model = filled(model, seed=seed, exact=False).train(training)
    assert_like_pytorch(model, normal((batch, *shape), seed=seed).requires_grad_(), limit=limit, seed=seed)


def check_exactly(assert_like_pytorch, filled, whole, case, *, batch, seed):
    model, shape = case
    model = filled(model, seed=seed, exact=True)
    with torch.no_grad():
        for p in model.parameters():
            p.clamp_(-1, 1)
    assert_like_pytorch(model, whole((batch, *shape), seed=seed, largest=1).requires_grad_(), exact=True, seed=seed)


@generated(max_examples=30)
@given(case=networks(exact=False), batch=st.integers(2, 19), training=st.booleans(), seed=SEEDS)
def test_without_edges(assert_like_pytorch, filled, normal, case, batch, training, seed):
    check(assert_like_pytorch, filled, normal, case, batch=batch, training=training, seed=seed)


@generated(max_examples=30)
@given(case=networks(exact=True), batch=st.integers(1, 19), seed=SEEDS)
def test_with_edges(assert_like_pytorch, filled, whole, case, batch, seed):
    # ReLU and max pooling on whole numbers: equal to the bit.
    check_exactly(assert_like_pytorch, filled, whole, case, batch=batch, seed=seed)


@pytest.mark.slow
@generated(max_examples=300)
@given(case=networks(exact=False), batch=st.integers(2, 40), training=st.booleans(), seed=SEEDS)
def test_300_without_edges(assert_like_pytorch, filled, normal, case, batch, training, seed):
    check(assert_like_pytorch, filled, normal, case, batch=batch, training=training, seed=seed)


@pytest.mark.slow
@generated(max_examples=300)
@given(case=networks(exact=True), batch=st.integers(1, 40), seed=SEEDS)
def test_300_with_edges(assert_like_pytorch, filled, whole, case, batch, seed):
    check_exactly(assert_like_pytorch, filled, whole, case, batch=batch, seed=seed)


@pytest.mark.slow
@generated(max_examples=100)
@given(case=networks(exact=False), batch=st.integers(2, 60), threads=st.integers(2, 6), seed=SEEDS)
def test_with_several_threads(assert_like_pytorch, filled, normal, case, batch, threads, seed):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        # Two images and one channel: what cancels in a batch norm leaves the rounding of a few numbers, and 1.4e-5.
        check(assert_like_pytorch, filled, normal, case, batch=batch, training=True, seed=seed, limit=2e-5)
    finally:
        torch.set_num_threads(before)
