"""Pooling in the engine on generated windows. Max pooling is of whole numbers with many ties, equal to the bit."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from striate.engine import accelerate

pytestmark = pytest.mark.native

generated = partial(settings, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32 - 1)
BATCHES = st.integers(1, 4) | st.integers(5, 20)
LARGEST_KERNEL, MOST_EXTRA = {1: 6, 2: 4}, {1: 12, 2: 6}
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d}


@st.composite
def windows(draw, dims, largest_dilation):
    """Options that PyTorch takes, and the shape of an input that they fit."""

    def numbers(smallest, largest):
        return draw(st.tuples(*[st.integers(smallest, largest)] * dims))

    kernel, dilation = numbers(1, LARGEST_KERNEL[dims]), numbers(1, largest_dilation)
    options = {
        "kernel_size": kernel,
        "stride": draw(st.none() | st.tuples(*[st.integers(1, 4)] * dims)),
        "padding": draw(st.tuples(*[st.integers(0, k // 2) for k in kernel])),
        "ceil_mode": draw(st.booleans()),
    }
    if largest_dilation > 1:
        options["dilation"] = dilation
    extra = numbers(0, MOST_EXTRA[dims])
    rows = zip(kernel, dilation, options["padding"], extra, strict=True)
    # A window with its cells d apart could miss fewer than d pixels altogether; PyTorch then gives -inf.
    sizes = [max(d * (k - 1) + 1 - 2 * p, d) + e for k, d, p, e in rows]
    shape = (draw(BATCHES), draw(st.integers(1, 4)), *sizes)
    return options, shape, draw(SEEDS)


@generated(max_examples=140)
@given(case=st.sampled_from([1, 2, 2]).flatmap(lambda dims: windows(dims, 3)))
def test_max_pooling(assert_like_pytorch, whole, case):
    options, shape, seed = case
    model = MAX[len(shape) - 2](**options)
    assert_like_pytorch(model, whole(shape, seed=seed).requires_grad_(), exact=True, seed=seed)


@generated(max_examples=100)
@given(
    case=st.sampled_from([1, 2, 2]).flatmap(lambda dims: windows(dims, 1)),
    counts_padding=st.booleans(),
    divisor=st.none() | st.integers(1, 7),
)
def test_average_pooling(assert_like_pytorch, normal, case, counts_padding, divisor):
    options, shape, seed = case
    options = options | {"count_include_pad": counts_padding}
    if len(shape) == 4:
        options["divisor_override"] = divisor
    model = AVERAGE[len(shape) - 2](**options)
    assert_like_pytorch(model, normal(shape, seed=seed).requires_grad_(), seed=seed)


ADAPTIVE = {
    ("max", 1): nn.AdaptiveMaxPool1d,
    ("max", 2): nn.AdaptiveMaxPool2d,
    ("average", 1): nn.AdaptiveAvgPool1d,
    ("average", 2): nn.AdaptiveAvgPool2d,
}


@generated(max_examples=80)
@given(
    kind=st.sampled_from(["max", "average"]),
    axes=st.lists(st.tuples(st.integers(1, 9), st.none() | st.integers(1, 6)), min_size=1, max_size=2),
    batch=BATCHES,
    seed=SEEDS,
)
def test_adaptive_pooling(assert_like_pytorch, whole, normal, kind, axes, batch, seed):
    # Also to more outputs than there are inputs.
    sizes, outputs = zip(*axes, strict=True)
    if len(axes) == 1:
        outputs = (outputs[0] or 3,)
    model, exact = ADAPTIVE[kind, len(axes)](outputs), kind == "max"
    x = (whole if exact else normal)((batch, 3, *sizes), seed=seed).requires_grad_()
    assert_like_pytorch(model, x, exact=exact, seed=seed)


@pytest.mark.slow
@generated(max_examples=1500)
@given(case=st.sampled_from([1, 2, 2]).flatmap(lambda dims: windows(dims, 3)), channels=st.integers(1, 3))
def test_many_more(assert_like_pytorch, filled, whole, case, channels):
    # Behind a convolution, whose borders the pooling must not see, and before one, whose borders must stay 0.
    options, (batch, _, *sizes), seed = case
    conv = (nn.Conv1d, nn.Conv2d)[len(sizes) - 1]
    model = nn.Sequential(conv(1, channels, 3, padding=1), MAX[len(sizes)](**options), conv(channels, 1, 3, padding=2))
    x = whole((batch, 1, *sizes), seed=seed).requires_grad_()
    assert_like_pytorch(filled(model, seed=seed, exact=True), x, exact=True, seed=seed)


GLOBAL = {
    "mean of both": lambda self, x: x.mean((2, 3)),
    "kept": lambda self, x: x.mean((2, 3), keepdim=True),
    "from the end": lambda self, x: x.mean(dim=(-1, -2)),
    "function": lambda self, x: torch.mean(x, dim=[3, 2]),
    "adaptive": lambda self, x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "adaptive max": lambda self, x: F.adaptive_max_pool2d(x, (1, 1)),
}


@pytest.mark.parametrize("name", sorted(GLOBAL))
@pytest.mark.parametrize("size", [(1, 1), (4, 3), (1, 9)])
def test_global_pooling(assert_like_pytorch, network, normal, name, size):
    assert_like_pytorch(network(GLOBAL[name]), normal((11, 3, *size), seed=0).requires_grad_())


def test_global_pooling_of_one_axis(assert_like_pytorch, network, normal):
    assert_like_pytorch(network(lambda self, x: x.mean(2)), normal((11, 3, 6), seed=0).requires_grad_())
    assert_like_pytorch(network(lambda self, x: x.mean(-1, keepdim=True)), normal((2, 3, 6), seed=0).requires_grad_())


OTHER = {
    "one of two axes": lambda self, x: x.mean(2),
    "channels": lambda self, x: x.mean(1, keepdim=True),
    "images": lambda self, x: x - x.mean(0),
    "everything": lambda self, x: x * x.mean(),
    "indices": lambda self, x: F.max_pool2d(x, 2, return_indices=True),
    "a large window": lambda self, x: F.max_pool2d(F.interpolate(x, size=(20, 20)), 17, 1),
}


@pytest.mark.parametrize("name", sorted(OTHER))
def test_other_reductions_run_in_pytorch(assert_like_pytorch, network, normal, name):
    fast = assert_like_pytorch(network(OTHER[name]), normal((7, 3, 6, 5), seed=0).requires_grad_(), alone=False)
    assert "in PyTorch" in fast.report


UNBATCHED = {
    "max of vectors": lambda self, x: F.max_pool1d(x.flatten(1), 2),
    "average of vectors": lambda self, x: F.avg_pool1d(x.flatten(1), 3, 2),
    "adaptive of vectors": lambda self, x: F.adaptive_avg_pool1d(x.flatten(1), 4),
    "max of planes": lambda self, x: F.max_pool2d(x[:, 0], 2),
    "average of planes": lambda self, x: F.avg_pool2d(x[:, 0], 2),
    "adaptive of planes": lambda self, x: F.adaptive_max_pool2d(x[:, 0], (2, 3)),
}


@pytest.mark.parametrize("name", sorted(UNBATCHED))
def test_images_taken_for_channels(assert_like_pytorch, network, whole, name):
    # PyTorch reads a tensor without an axis of images: the images of the batch become channels.
    model = network(UNBATCHED[name])
    assert_like_pytorch(model, whole((7, 2, 6, 6), seed=0).requires_grad_(), alone=False)


def test_overlapping_windows_add_up(assert_like_pytorch, network, whole):
    model = network(lambda self, x: F.max_pool2d(x, 3, 1, 1) + x + F.max_pool2d(x, 3, 1, 1))
    assert_like_pytorch(model, whole((9, 2, 6, 7), seed=0).requires_grad_(), exact=True)


@pytest.mark.parametrize("padding", [0, 1])
def test_nan_and_infinity(padding):
    nan, infinity = float("nan"), float("inf")
    values = [0.0, 1.0, nan, 2.0, nan, -infinity, infinity, -infinity, -infinity, -1.0, 3.0, 4.0]
    x = torch.tensor(values).reshape(1, 1, 3, 4).repeat(5, 1, 1, 1)
    for options in ({"kernel_size": 2, "stride": 1}, {"kernel_size": 3, "stride": 2, "ceil_mode": True}):
        model = nn.MaxPool2d(padding=padding, **options)
        mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, expected = accelerate(model)(mine), model(theirs)
        assert torch.equal(y.nan_to_num(99.0), expected.nan_to_num(99.0))
        y.backward(torch.ones_like(y))
        expected.backward(torch.ones_like(y))
        assert torch.equal(mine.grad, theirs.grad)


def test_nothing_but_minus_infinity():
    x = torch.full((3, 1, 4, 4), -math.inf, requires_grad=True)
    y = accelerate(nn.MaxPool2d(2))(x)
    assert bool((y == -math.inf).all())
    y.sum().backward()
    assert float(x.grad.sum()) == 3 * 4


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.MaxPool2d(3, 2, 1), (5, 3, 7, 6)),
        (nn.MaxPool1d(3, 2, 1, dilation=2), (5, 3, 9)),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (5, 3, 7, 6)),
        (nn.AvgPool2d((2, 3), count_include_pad=False, padding=(0, 1)), (5, 3, 7, 6)),
        (nn.AdaptiveAvgPool2d((3, 2)), (5, 3, 7, 6)),
        (nn.AdaptiveMaxPool2d((3, 2)), (5, 3, 7, 6)),
    ],
    ids=repr,
)
def test_definition(assert_like_definition, normal, layer, shape):
    assert_like_definition(layer, normal(shape, seed=0).requires_grad_())
