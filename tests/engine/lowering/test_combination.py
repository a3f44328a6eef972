"""Tensors added, subtracted and multiplied, with each other, with themselves and with numbers; gates."""

from __future__ import annotations

import operator
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

pytestmark = pytest.mark.native

generated = partial(settings, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32 - 1)
PAIRS = {
    "x + y": operator.add,
    "x - y": operator.sub,
    "y - x": lambda x, y: y - x,
    "x * y": operator.mul,
    "torch.add": torch.add,
    "torch.mul": torch.mul,
    "x.sub": lambda x, y: x.sub(y),
    "+=": lambda x, y: operator.iadd(x * 1, y),
    "*=": lambda x, y: operator.imul(x + 0, y),
}
NUMBERS = {
    "x + n": operator.add,
    "n + x": lambda x, n: n + x,
    "x - n": operator.sub,
    "n - x": lambda x, n: n - x,
    "x * n": operator.mul,
    "n * x": lambda x, n: n * x,
    "x / n": lambda x, n: x / (n or 2.0),
    "torch.add": lambda x, n: torch.add(x, n, alpha=2),
    "torch.sub": lambda x, n: torch.sub(x, n, alpha=0.5),
    "-x": lambda x, n: -x,
    "+=": lambda x, n: operator.iadd(x * 1, n),
    "/=": lambda x, n: operator.itruediv(x * 1, n or 4.0),
}


@st.composite
def expressions(draw):
    """A list of steps, each on values that are there already; the last value is the output."""
    steps = []
    for known in range(2, draw(st.integers(3, 8))):
        if draw(st.integers(0, 2)):
            operands = draw(st.integers(0, known - 1)), draw(st.integers(0, known - 1))
            steps.append((PAIRS[draw(st.sampled_from(sorted(PAIRS)))], *operands))
        else:
            number = draw(st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, -0.25, 3]))
            function = NUMBERS[draw(st.sampled_from(sorted(NUMBERS)))]
            steps.append((partial(_with_number, function, number), draw(st.integers(0, known - 1)), 0))
    return steps


def _with_number(function, number, x, _):
    return function(x, number)


SHAPES = st.one_of(*[st.tuples(st.integers(1, 20), *[st.integers(1, 5)] * axes) for axes in (1, 2, 3)])


@generated(max_examples=150)
@given(steps=expressions(), shape=SHAPES, learns=st.booleans(), seed=SEEDS)
def test_expressions(assert_like_pytorch, network, normal, steps, shape, learns, seed):
    def evaluate(self, x, y):
        values = [x, y]
        for function, first, second in steps:
            values.append(function(values[first], values[second]))
        return values[-1]

    # Kept small, so that a product of many does not leave all others without a digit in the comparison.
    x, y = ((0.5 * normal(shape, seed=seed + n)).requires_grad_(n == 0 or learns) for n in range(2))
    assert_like_pytorch(network(evaluate), x, y, seed=seed, alone=False)


@pytest.mark.slow
@generated(max_examples=1500)
@given(steps=expressions(), shape=SHAPES, seed=SEEDS)
def test_many_more(assert_like_pytorch, filled, network, normal, steps, shape, seed):
    # Behind a dense layer or convolution, whose gradients then come from several places.
    features = shape[1]
    layers = {2: nn.Linear, 3: partial(nn.Conv1d, kernel_size=1), 4: partial(nn.Conv2d, kernel_size=1)}

    def evaluate(self, x):
        values = [self.layer(x).tanh(), x]
        for function, first, second in steps:
            values.append(function(values[first], values[second]))
        return values[-1]

    model = filled(network(evaluate, layer=layers[len(shape)](features, features)), seed=seed, exact=False)
    assert_like_pytorch(model, (0.5 * normal(shape, seed=seed)).requires_grad_(), seed=seed, alone=False)


@pytest.mark.parametrize("name", sorted(PAIRS))
@pytest.mark.parametrize("learns", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("shape", [(1, 4), (11, 3, 4, 5), (9, 3, 6)])
def test_pairs_of_inputs(assert_like_pytorch, network, whole, name, learns, shape):
    x, y = (whole(shape, seed=n).requires_grad_(wanted) for n, wanted in enumerate(learns))
    assert_like_pytorch(network(lambda self, x, y: PAIRS[name](x, y)), x, y, exact=True)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_with_itself(assert_like_pytorch, network, whole, name):
    x = whole((11, 3, 4, 5), seed=0).requires_grad_()
    assert_like_pytorch(network(lambda self, x: PAIRS[name](x, x)), x, exact=True)


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize("number", [2.0, -0.5, 0.0, 4])
def test_numbers(assert_like_pytorch, network, whole, name, number):
    x = whole((11, 3, 4, 5), seed=0).requires_grad_()
    assert_like_pytorch(network(lambda self, x: NUMBERS[name](x, number)), x, exact=True, alone=False)


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels, *, is_first=False, activation=nn.Sigmoid):
        super().__init__()
        self.is_first = is_first
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 2, 1), nn.ReLU(), nn.Conv2d(2, channels, 1), activation()
        )

    def forward(self, x):
        return self.gate(x) * x if self.is_first else x * self.gate(x)


@generated(max_examples=40)
@given(
    batch=st.integers(1, 20),
    channels=st.integers(1, 6),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    is_first=st.booleans(),
    activation=st.sampled_from([nn.Sigmoid, nn.Hardsigmoid]),
    seed=SEEDS,
)
def test_gates(assert_like_pytorch, filled, normal, batch, channels, size, is_first, activation, seed):
    gate = Gate(channels, is_first=is_first, activation=activation)
    model = filled(nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), gate), seed=seed, exact=False)
    x = normal((batch, channels, *size), seed=seed).requires_grad_()
    assert_like_pytorch(model, x, seed=seed, alone=not is_first)


def test_gate_with_frozen_sides(assert_like_pytorch, network, normal):
    for wanted in ((True, False), (False, True), (True, True)):
        x, g = (normal(s, seed=0).requires_grad_(w) for s, w in zip(((9, 3, 4, 5), (9, 3, 1, 1)), wanted, strict=True))
        assert_like_pytorch(network(lambda self, x, g: x * g), x, g)


def test_gates_of_one_pixel(assert_like_pytorch, network, normal):
    x, g = (normal((9, 3, 1, 1), seed=n).requires_grad_() for n in range(2))
    assert_like_pytorch(network(lambda self, x, g: x * g + g), x, g)


def test_one_gate_for_two_maps(assert_like_pytorch, network, normal):
    x, y, g = (normal(s, seed=0).requires_grad_() for s in ((9, 3, 4, 5), (9, 3, 2, 2), (9, 3, 1, 1)))
    assert_like_pytorch(network(lambda self, x, y, g: (x * g, y * g, g + 1)), x, y, g)


SPREAD = {
    "one value an image": lambda self, x: x * x.mean((1, 2, 3), keepdim=True),
    "one value a position": lambda self, x: x * x.mean(1, keepdim=True),
    "one row": lambda self, x: x + x[:, :, :1],
    "gate added": lambda self, x: x + x.mean((2, 3), keepdim=True),
    "gate on the left": lambda self, x: x.mean((2, 3), keepdim=True) * x,
    "the first image": lambda self, x: x + x[0],  # what is picked by number is so in every batch
    "parameter": lambda self, x: x * self.norm.weight[:, None, None] + self.norm.bias.view(1, -1, 1, 1),
    "constant": lambda self, x: x - torch.tensor([0.5, 1.0, 2.0]).view(1, 3, 1, 1).to(x),
    "two divided": lambda self, x: x / (x * x + 1),
    "number divided": lambda self, x: 2 / (x * x + 1),
    "power": lambda self, x: (x * x + 1) ** 0.5,
    "scaled sum": lambda self, x: torch.add(x, x * x, alpha=3),
    "image plus image": lambda self, x: x + x.flip(0),
    "all images": lambda self, x: x / x.std(),
}


@pytest.mark.parametrize("name", sorted(SPREAD))
def test_other_forms_run_in_pytorch(assert_like_pytorch, network, filled, normal, name):
    model = filled(network(SPREAD[name], norm=nn.BatchNorm2d(3)), seed=0, exact=False)
    assert_like_pytorch(model, normal((11, 3, 4, 4), seed=0).requires_grad_(), alone=False)


def test_flattened_and_dense(assert_like_pytorch, network, filled, whole):
    # One lies in memory as a map with borders, the other as a vector.
    model = network(
        lambda self, x: self.fc(x.flatten(1)) - self.conv2(self.conv1(x)).flatten(1) * self.fc(x.flatten(1)),
        conv1=nn.Conv2d(2, 3, 3, padding=1),
        conv2=nn.Conv2d(3, 3, 3, padding=1),
        fc=nn.Linear(32, 48),
    )
    x = whole((11, 2, 4, 4), seed=0, largest=1).requires_grad_()
    assert_like_pytorch(filled(model, seed=0, exact=True), x, exact=True)


@pytest.mark.parametrize("name", ["x + y", "x - y", "x * y"])
def test_definition(assert_like_definition, network, normal, name):
    x, y = (normal((5, 3, 4, 2), seed=n).requires_grad_() for n in range(2))
    assert_like_definition(network(lambda self, x, y: PAIRS[name](x, y)), x, y)
