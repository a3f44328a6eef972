from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops import adaptive_pooling
from striate.ops.adaptive_pooling import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
)

# dims, output_size, sizes: dividing, overlapping, larger than the input, one axis kept
SETTINGS = [
    (1, 3, (7,)),
    (1, 5, (2,)),
    (2, 1, (5, 7)),
    (2, (3, 2), (6, 8)),
    (2, (3, 4), (7, 6)),
    (2, (6, None), (4, 5)),
    (3, (2, 3, 1), (5, 4, 3)),
]
OPS = [AdaptiveAvgPool, AdaptiveMaxPool]


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize(("dims", "output_size", "sizes"), SETTINGS)
def test_forward_and_backward_are_pytorchs(random, kind, dims, output_size, sizes):
    name = f"adaptive_{kind}_pool{dims}d"
    # Few values, so that ties are common.
    x = random.integers(0, 4, (2, 3, *sizes)).astype(np.float64)
    tensor = torch.tensor(x, requires_grad=True)
    expected = getattr(F, name)(tensor, output_size)
    y = getattr(adaptive_pooling, name)(x, output_size)
    assert np.abs(y - expected.detach().numpy()).max() < 1e-12
    grad_output = random.normal(size=y.shape)
    expected.backward(torch.tensor(grad_output))
    gradient = getattr(adaptive_pooling, f"{name}_backward")(grad_output, x, output_size)
    assert np.abs(gradient - tensor.grad.numpy()).max() < 1e-10
    if kind == "max":
        values, switches = getattr(adaptive_pooling, name)(x, output_size, return_switches=True)
        assert (values == y).all()
        # Named (2, 3) in full, since PyTorch's function with indices takes no None.
        lengths = y.shape[2:] if dims > 1 else y.shape[2]
        assert (switches == getattr(F, f"{name}_with_indices")(tensor, lengths)[1].numpy()).all()


def test_naive_loop(random):
    x = random.normal(size=(1, 2, 7, 5))
    mean, largest = adaptive_avg_pool2d(x, (3, 4)), adaptive_max_pool2d(x, (3, 4))
    # Rows 0-2, 2-4, 4-6 and columns 0-1, 1-2, 2-3, 3-4, by the rule floor(i H / out) to ceil((i + 1) H / out).
    for i, rows in enumerate([(0, 3), (2, 5), (4, 7)]):
        for j, columns in enumerate([(0, 2), (1, 3), (2, 4), (3, 5)]):
            window = x[0, 1, slice(*rows), slice(*columns)]
            assert abs(mean[0, 1, i, j] - window.sum() / 6) < 1e-12
            assert largest[0, 1, i, j] == max(window.ravel())


@pytest.mark.parametrize("kind", ["avg", "max"])
def test_finite_differences(random, finite_difference, assert_close_to_differences, kind):
    forward = getattr(adaptive_pooling, f"adaptive_{kind}_pool2d")
    backward = getattr(adaptive_pooling, f"adaptive_{kind}_pool2d_backward")
    x, grad_output = random.permutation(70).reshape(1, 2, 7, 5) / 10, random.normal(size=(1, 2, 3, 4))
    differences = finite_difference(lambda x: forward(x, (3, 4)), x, grad_output)
    assert_close_to_differences(backward(grad_output, x, (3, 4)), differences)


def test_layouts_and_formats(random):
    x = random.normal(size=(7, 6, 3, 2)).transpose(3, 2, 0, 1).astype(np.float32)
    for forward, backward in (
        (adaptive_avg_pool2d, adaptive_avg_pool2d_backward),
        (adaptive_max_pool2d, adaptive_max_pool2d_backward),
    ):
        y = forward(x, (3, 2))
        assert y.dtype == backward(y, x, (3, 2)).dtype == np.float32
        assert np.abs(y - forward(x.copy(), (3, 2))).max() < 1e-6


@pytest.mark.parametrize("kind", OPS)
@pytest.mark.parametrize(("dims", "output_size", "sizes"), SETTINGS)
def test_working_and_reads(random, assert_adds_up, kind, dims, output_size, sizes):
    x = random.normal(size=(2, 2, *sizes))
    op = kind(adaptive_pooling.parse("test", x.shape, output_size, dims=dims))
    y = op.forward(x)
    assert op.output_shape(x.shape) == y.shape
    grad_output = random.normal(size=y.shape)
    gradient = op.backward(grad_output, x).inputs[0]
    for place in itertools.islice(np.ndindex(*y.shape), 0, None, 5):
        assert_adds_up(op.working(place, x), y[place])
    for place in itertools.islice(np.ndindex(*x.shape), 0, None, 7):
        assert_adds_up(op.gradient_working("input", place, grad_output, x), gradient[place])
    # What reads says is where the gradient of one output arrives.
    one = np.zeros_like(y)
    one[(0, 0, *(length - 1 for length in y.shape[2:]))] = 1
    arrives = AdaptiveAvgPool(op.output_size).backward(one, x).inputs[0][0, 0]
    for axis in range(dims):
        along = np.flatnonzero(arrives.any(axis=tuple(a for a in range(dims) if a != axis)))
        read = op.reads(np.array([y.shape[2 + axis] - 1]), axis=axis, size=sizes[axis])
        assert read.tolist() == along.tolist()


def test_reads_depend_on_the_position():
    op = AdaptiveAvgPool((3,))
    assert [op.reads(np.array([i]), axis=0, size=7).tolist() for i in range(3)] == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert op.reads(np.array([0, 1]), axis=0, size=7).tolist() == [0, 1, 2, 3, 4]
    assert op.reads(np.array([], dtype=np.int64), axis=0, size=7).tolist() == []


def test_working_says_where_the_window_lies():
    x = np.arange(10.0).reshape(1, 1, 2, 5)
    text = str(AdaptiveAvgPool((1, 2)).working((0, 0, 0, 1), x))
    assert "along W: from floor(1 x 5 / 2) = 2 to before ceil(2 x 5 / 2) = 5" in text
    assert "y = sum / cells = 33 / 6 = 5.5" in text
    x[0, 0, 0, 4] = 9
    assert "y = max = x[0, 4] = 9, the first of 2 equal" in str(AdaptiveMaxPool((1, 2)).working((0, 0, 0, 1), x))


def test_costs():
    op = AdaptiveAvgPool((3, 2))
    # Windows of 3 rows three times, and of 3 columns twice, on 7 x 5.
    assert (op.name, op.macs((1, 4, 7, 5)), op.flops((1, 4, 7, 5))) == ("adaptive_avg_pool2d", 0, 4 * 9 * 6)


@pytest.mark.parametrize("output_size", [0, -1, (1, 2, 3), "2", 1.5, True])
def test_errors_of_output_size(output_size):
    with pytest.raises(UsageError, match="`output_size` must be a whole number from 1 on, or 2 of them, got"):
        adaptive_avg_pool2d(np.zeros((1, 1, 4, 4)), output_size)


def test_errors():
    with pytest.raises(UsageError, match="adaptive_max_pool2d: `x` must have 4 axes"):
        adaptive_max_pool2d(np.zeros((4, 4)), 1)
    with pytest.raises(UsageError, match="adaptive_avg_pool2d: `x` must have at least one pixel along each axis"):
        adaptive_avg_pool2d(np.zeros((1, 1, 0, 4)), 1)
    with pytest.raises(UsageError, match="adaptive_avg_pool2d_backward: `grad_output` must have the output's shape"):
        adaptive_avg_pool2d_backward(np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 4, 4)), 2)
    with pytest.raises(UsageError, match="`of` must be something this operation has a gradient for, got 'bias'"):
        AdaptiveAvgPool((1,)).gradient_working("bias", (0,), np.zeros((1, 1, 1)), np.zeros((1, 1, 4)))
