from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops import average_pooling
from striate.ops._pooling import parse
from striate.ops.average_pooling import (
    AvgPool,
    SumPool,
    avg_pool2d,
    avg_pool2d_backward,
    sum_pool2d,
    sum_pool2d_backward,
)

# The matrix of the course text 002.
COURSE = np.array([[12, 20, 30, 0], [8, 12, 2, 0], [34, 70, 37, 4], [112, 100, 25, 12]])[None, None]

# dims, kernel_size, stride, padding, ceil_mode, sizes
SETTINGS = [
    (1, 3, 2, 1, False, (7,)),
    (1, 4, 3, 2, True, (8,)),
    (2, 2, None, 0, False, (5, 7)),
    (2, 3, 2, 1, True, (6, 6)),
    (2, (3, 2), (1, 2), (1, 0), False, (7, 6)),
    (2, 2, 3, 1, True, (4, 5)),  # a last window would begin behind the input
    (2, 3, 2, 0, True, (6, 7)),
    (2, 4, 3, 0, True, (3, 5)),  # a window larger than the image
    (3, 2, 2, 1, True, (5, 3, 4)),
    (3, (1, 3, 2), (1, 2, 1), (0, 1, 1), False, (3, 6, 5)),
]
DIVISORS = [(True, None), (False, None), (True, 5), (False, -3)]


def test_values_of_the_course():
    # 002 prints 20 for the last one; (37 + 4 + 25 + 12) / 4 = 19.5.
    assert avg_pool2d(COURSE, 2)[0, 0].tolist() == [[13, 8], [79, 19.5]]
    assert sum_pool2d(COURSE, 2)[0, 0].tolist() == [[52, 32], [316, 78]]
    # 003: each pixel gets delta / (K1 K2).
    assert avg_pool2d_backward([[[[1.0]]]], np.zeros((1, 1, 2, 2)), 2)[0, 0].tolist() == [[0.25, 0.25], [0.25, 0.25]]


@pytest.mark.parametrize(("dims", "kernel", "stride", "padding", "ceil_mode", "sizes"), SETTINGS)
@pytest.mark.parametrize(("include", "divisor"), DIVISORS)
def test_forward_and_backward_are_pytorchs(random, dims, kernel, stride, padding, ceil_mode, sizes, include, divisor):
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode, "count_include_pad": include}
    known = options if dims == 1 else options | {"divisor_override": divisor}  # PyTorch's avg_pool1d has none
    x = random.normal(size=(2, 3, *sizes))
    tensor = torch.tensor(x, requires_grad=True)
    expected = getattr(F, f"avg_pool{dims}d")(tensor, kernel, **known)
    y = getattr(average_pooling, f"avg_pool{dims}d")(x, kernel, **known)
    assert np.abs(y - expected.detach().numpy()).max() < 1e-12
    grad_output = random.normal(size=y.shape)
    expected.backward(torch.tensor(grad_output))
    gradient = getattr(average_pooling, f"avg_pool{dims}d_backward")(grad_output, x, kernel, **known)
    assert np.abs(gradient - tensor.grad.numpy()).max() < 1e-10


def test_naive_loop(random):
    x = random.normal(size=(1, 2, 6, 5))
    y, total = avg_pool2d(x, (3, 2), stride=(2, 1)), sum_pool2d(x, (3, 2), stride=(2, 1))
    for c, i, j in np.ndindex(*y.shape[1:]):
        window = [x[0, c, 2 * i + a, j + b] for a in range(3) for b in range(2)]
        assert abs(y[0, c, i, j] - sum(window) / 6) < 1e-12
        assert abs(total[0, c, i, j] - sum(window)) < 1e-12


@pytest.mark.parametrize("pool", ["avg", "sum"])
def test_finite_differences(random, finite_difference, assert_close_to_differences, pool):
    forward, backward = getattr(average_pooling, f"{pool}_pool2d"), getattr(average_pooling, f"{pool}_pool2d_backward")
    x, grad_output = random.normal(size=(1, 2, 6, 5)), random.normal(size=(1, 2, 4, 3))
    options = {"stride": 2, "padding": 1, "ceil_mode": True}
    differences = finite_difference(lambda x: forward(x, 3, **options), x, grad_output)
    assert_close_to_differences(backward(grad_output, x, 3, **options), differences)


def test_where_windows_overlap_gradients_add_up():
    gradient = avg_pool2d_backward([[[[4.0, 8.0]]]], np.zeros((1, 1, 2, 3)), 2, stride=1)
    assert gradient[0, 0].tolist() == [[1, 3, 2], [1, 3, 2]]
    assert sum_pool2d_backward([[[[4.0, 8.0]]]], np.zeros((1, 1, 1, 3)), (1, 2), stride=1)[0, 0].tolist() == [
        [4, 12, 8]
    ]


def test_a_window_of_padding_has_mean_zero():
    # More padding than the functions allow: the operation still has an answer.
    op = AvgPool((2,), (2,), ((2, 0),), (1,), count_include_pad=False)
    assert op.forward(np.ones((1, 1, 2))).tolist() == [[[0, 1]]]


def test_layouts_and_formats(random):
    x = random.normal(size=(7, 6, 3, 2)).transpose(3, 2, 0, 1)
    assert not x.flags.c_contiguous
    assert (avg_pool2d(x, 2) == avg_pool2d(x.copy(), 2)).all()
    single = x.astype(np.float32)
    for include, divisor in DIVISORS:
        options = {"padding": 1, "count_include_pad": include, "divisor_override": divisor}
        y = avg_pool2d(single, 2, **options)
        assert y.dtype == avg_pool2d_backward(y, single, 2, **options).dtype == np.float32


@pytest.mark.parametrize(("dims", "kernel", "stride", "padding", "ceil_mode", "sizes"), SETTINGS[1::3])
@pytest.mark.parametrize(
    ("kind", "options"),
    [(AvgPool, {}), (AvgPool, {"count_include_pad": False}), (AvgPool, {"divisor_override": 3}), (SumPool, {})],
)
def test_working(random, assert_adds_up, dims, kernel, stride, padding, ceil_mode, sizes, kind, options):
    x = random.normal(size=(2, 2, *sizes))
    words = {"dims": dims, "kernel_size": kernel, "stride": stride, "padding": padding}
    op = kind(**parse("test", x.shape, **words), ceil_mode=ceil_mode, **options)
    y = op.forward(x)
    grad_output = random.normal(size=y.shape)
    gradient = op.backward(grad_output, x).inputs[0]
    for place in itertools.islice(np.ndindex(*y.shape), 0, None, 9):
        assert_adds_up(op.working(place, x), y[place])
    for place in itertools.islice(np.ndindex(*x.shape), 0, None, 9):
        assert_adds_up(op.gradient_working("input", place, grad_output, x), gradient[place])


def test_working_says_what_is_divided():
    x = np.array([[37.0, 4], [25, 12]])[None, None]
    op = AvgPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))
    assert "sum = 37 + 4 + 25 + 12 = 78" in str(op.working((0, 0, 0, 0), x))
    assert "y = sum / divisor = 78 / 4 = 19.5" in str(op.working((0, 0, 0, 0), x))
    text = str(op.gradient_working("input", (0, 0, 1, 1), np.full((1, 1, 1, 1), 8.0), x))
    assert "dL/dx = 8 x 0.25 = 2" in text


def test_costs_and_reads():
    op = AvgPool((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1))
    assert (op.name, op.macs((1, 4, 8, 8)), op.flops((1, 4, 8, 8))) == ("avg_pool2d", 0, 4 * 16 * 9)
    assert SumPool((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)).flops((1, 4, 8, 8)) == 4 * 16 * 8
    assert op.reads(np.array([1]), axis=1, size=8).tolist() == [1, 2, 3]


def test_errors():
    x = np.zeros((1, 1, 4, 4))
    with pytest.raises(UsageError, match="avg_pool2d: `divisor_override` must be a number other than 0, got 0"):
        avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(UsageError, match=r"avg_pool2d: `padding` must be at most half the kernel, floor\(2 / 2\) = 1"):
        avg_pool2d(x, 2, padding=2)
    with pytest.raises(UsageError, match="sum_pool2d: `kernel_size` must fit into the padded input"):
        sum_pool2d(x, 5)
    with pytest.raises(UsageError, match="sum_pool2d_backward: `grad_output` must have the output's shape"):
        sum_pool2d_backward(np.zeros((1, 1, 1, 1)), x, 2)
