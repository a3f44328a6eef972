"""Dense layers in the engine on generated sizes, before and after others; whole numbers, so equal to the bit."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

pytestmark = pytest.mark.native

generated = partial(settings, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32 - 1)
# One image to several chunks of blocks; features to beyond one piece of sums (512).
BATCHES = st.integers(1, 4) | st.integers(5, 35) | st.integers(36, 100)
FEATURES = st.integers(1, 9) | st.integers(10, 80) | st.sampled_from([511, 512, 513, 1100])
OUTPUTS = st.integers(1, 20) | st.sampled_from([31, 64, 65])
FOLLOWERS = {
    "nothing": nn.Identity(),
    "ReLU": nn.ReLU(),
    "ReLU in place": nn.ReLU(inplace=True),
    "ReLU6": nn.ReLU6(),
    "Leaky ReLU": nn.LeakyReLU(0.25),
}
SMOOTH = {"tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "ELU": nn.ELU(), "GELU": nn.GELU(), "Hardswish": nn.Hardswish()}


@generated(max_examples=90)
@given(batch=BATCHES, features=FEATURES, outputs=OUTPUTS, bias=st.booleans(), learns=st.booleans(), seed=SEEDS)
def test_one_layer(assert_like_pytorch, filled, whole, batch, features, outputs, bias, learns, seed):
    model = filled(nn.Linear(features, outputs, bias=bias), seed=seed, exact=True)
    assert_like_pytorch(model, whole((batch, features), seed=seed).requires_grad_(learns), exact=True, seed=seed)


def assert_chain(assert_like_pytorch, model, x, *, exact, seed):
    assert_like_pytorch(model, x, exact=exact, seed=seed)


@generated(max_examples=60)
@given(
    batch=BATCHES,
    sizes=st.lists(st.integers(1, 20), min_size=2, max_size=4),
    names=st.tuples(*[st.sampled_from(sorted(FOLLOWERS))] * 3),
    bias=st.booleans(),
    seed=SEEDS,
)
def test_layers(assert_like_pytorch, filled, whole, batch, sizes, names, bias, seed):
    layers = [
        part
        for before, after, name in zip(sizes, sizes[1:], names, strict=False)
        for part in (nn.Linear(before, after, bias=bias), FOLLOWERS[name])
    ]
    x = whole((batch, sizes[0]), seed=seed, largest=2).requires_grad_()
    assert_like_pytorch(filled(nn.Sequential(*layers), seed=seed, exact=True), x, exact=True, seed=seed)


@generated(max_examples=40)
@given(
    batch=BATCHES,
    sizes=st.tuples(*[st.integers(1, 40)] * 3),
    names=st.tuples(*[st.sampled_from(sorted(SMOOTH))] * 2),
    seed=SEEDS,
)
def test_smooth_layers(assert_like_pytorch, filled, normal, batch, sizes, names, seed):
    first, second, third = sizes
    layers = [nn.Linear(first, second), SMOOTH[names[0]], nn.Linear(second, third), SMOOTH[names[1]]]
    x = normal((batch, first), seed=seed).requires_grad_()
    assert_like_pytorch(filled(nn.Sequential(*layers), seed=seed, exact=False), x, seed=seed)


@generated(max_examples=40)
@given(
    batch=BATCHES,
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    kernel=st.integers(1, 3),
    outputs=st.integers(1, 12),
    seed=SEEDS,
)
def test_maps_before(assert_like_pytorch, filled, whole, batch, shape, kernel, outputs, seed):
    # The map has a border where the next convolution reads beyond it: its features do not lie side by side.
    channels, rows, columns = shape
    model = nn.Sequential(
        nn.Conv2d(channels, 3, kernel, padding=kernel - 1),
        nn.ReLU(),
        nn.Conv2d(3, 2, 3, padding=2),
        nn.Flatten(),
        nn.Linear(2 * (rows + kernel + 1) * (columns + kernel + 1), outputs),
    )
    x = whole((batch, *shape), seed=seed, largest=1).requires_grad_()
    assert_like_pytorch(filled(model, seed=seed, exact=True), x, exact=True, seed=seed)


@pytest.mark.slow
@generated(max_examples=600)
@given(
    batch=st.integers(1, 300),
    sizes=st.tuples(FEATURES, OUTPUTS, OUTPUTS),
    name=st.sampled_from(sorted(FOLLOWERS)),
    seed=SEEDS,
)
def test_many_more(assert_like_pytorch, filled, whole, batch, sizes, name, seed):
    first, second, third = sizes
    model = nn.Sequential(nn.Linear(first, second), FOLLOWERS[name], nn.Linear(second, third))
    x = whole((batch, first), seed=seed, largest=1).requires_grad_()
    assert_like_pytorch(filled(model, seed=seed, exact=True), x, exact=True, seed=seed)


@pytest.mark.parametrize("frozen", [("0.weight",), ("2.weight",), ("0.bias", "2.bias"), ("0.weight", "0.bias")])
@pytest.mark.parametrize("learns", [False, True])
def test_frozen(assert_like_pytorch, filled, whole, frozen, learns):
    model = filled(nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 4)), seed=0, exact=True)
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    assert_like_pytorch(model, whole((21, 7), seed=0).requires_grad_(learns), exact=True)


def test_all_frozen(assert_like_pytorch, filled, whole):
    model = filled(nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 4)), seed=0, exact=True).requires_grad_(False)
    assert_like_pytorch(model, whole((21, 7), seed=0), exact=True)
    assert_like_pytorch(model, whole((21, 7), seed=0).requires_grad_(), exact=True)


def test_an_output_that_is_used_twice(assert_like_pytorch, filled, network, whole):
    model = network(lambda self, x: (y := self.fc(x), self.last(y.relu())), fc=nn.Linear(5, 6), last=nn.Linear(6, 3))
    assert_like_pytorch(filled(model, seed=0, exact=True), whole((19, 5), seed=0).requires_grad_(), exact=True)


@pytest.mark.parametrize("bias", [False, True])
def test_definition(assert_like_definition, normal, bias):
    assert_like_definition(nn.Linear(33, 9, bias=bias), normal((12, 33), seed=0).requires_grad_())


@pytest.mark.parametrize("shape", [(5, 3, 7), (5, 2, 3, 7)])
def test_more_axes_run_in_pytorch(assert_like_pytorch, normal, shape):
    fast = assert_like_pytorch(nn.Linear(7, 4), normal(shape, seed=0).requires_grad_(), alone=False)
    assert "in PyTorch" in fast.report
