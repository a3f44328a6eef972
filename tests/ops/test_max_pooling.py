from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops import max_pooling
from striate.ops.max_pooling import MaxPool, max_pool1d, max_pool2d, max_pool2d_backward, place_at_switches

# The matrix of the course text 002 and its printed maxima.
COURSE = np.array([[12, 20, 30, 0], [8, 12, 2, 0], [34, 70, 37, 4], [112, 100, 25, 12]])[None, None]

# dims, kernel_size, stride, padding, dilation, ceil_mode, sizes: overlapping, stepped, dilated, odd, hanging over
SETTINGS = [
    (1, 3, 2, 1, 1, False, (7,)),
    (1, 2, 3, 1, 2, True, (9,)),
    (2, 2, None, 0, 1, False, (5, 7)),
    (2, 3, 2, 1, 1, False, (7, 6)),
    (2, (3, 2), (1, 2), (1, 0), (2, 1), True, (8, 7)),
    (2, 2, 3, 1, 1, True, (4, 5)),  # a last window would begin behind the input
    (3, (1, 1, 3), None, (0, 0, 1), (1, 3, 3), True, (1, 4, 6)),  # a wide picture with a long heading
    (2, 3, 1, 1, 1, False, (4, 4)),
    (2, 3, 2, 0, 1, True, (2, 5)),  # in ceil mode a window may be larger than the image
    (3, 2, 2, 1, 1, True, (5, 3, 4)),
    (3, (1, 3, 2), (1, 2, 1), (0, 1, 1), (1, 1, 2), False, (3, 6, 5)),
]


def _op(kernel=(2, 2), stride=None, pads=None, dilation=None, ceil_mode=False) -> MaxPool:
    dims = len(kernel)
    return MaxPool(kernel, stride or kernel, pads or ((0, 0),) * dims, dilation or (1,) * dims, ceil_mode)


def test_values_of_the_course():
    assert max_pool2d(COURSE, 2)[0, 0].tolist() == [[20, 30], [112, 37]]  # 002, printed
    edge = np.tile([0, 0, 0, 10], (4, 1))[None, None]
    assert max_pool2d(edge, 2)[0, 0].tolist() == [[0, 10], [0, 10]]  # 003, exercise b


@pytest.mark.parametrize(("dims", "kernel", "stride", "padding", "dilation", "ceil_mode", "sizes"), SETTINGS)
def test_forward_switches_and_backward_are_pytorchs(random, dims, kernel, stride, padding, dilation, ceil_mode, sizes):
    # Few values, so that ties are common: the switch is the first in row-major order.
    x = random.integers(0, 4, (2, 3, *sizes)).astype(np.float64)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    tensor = torch.tensor(x, requires_grad=True)
    expected, indices = getattr(F, f"max_pool{dims}d")(tensor, kernel, **options, return_indices=True)
    y, switches = getattr(max_pooling, f"max_pool{dims}d")(x, kernel, **options, return_switches=True)
    assert (y == expected.detach().numpy()).all()
    assert (switches == indices.numpy()).all()
    assert (getattr(max_pooling, f"max_pool{dims}d")(x, kernel, **options) == y).all()
    grad_output = random.normal(size=y.shape)
    expected.backward(torch.tensor(grad_output))
    gradient = getattr(max_pooling, f"max_pool{dims}d_backward")(grad_output, x, kernel, **options)
    assert np.abs(gradient - tensor.grad.numpy()).max() < 1e-10


def test_naive_loop(random):
    x = random.normal(size=(1, 2, 6, 5))
    y = max_pool2d(x, (3, 2), stride=(2, 1), dilation=(1, 2))
    for c, i, j in np.ndindex(*y.shape[1:]):
        assert y[0, c, i, j] == max(x[0, c, 2 * i + a, j + 2 * b] for a in range(3) for b in range(2))


def test_finite_differences(random, finite_difference, assert_close_to_differences):
    x, grad_output = random.permutation(60).reshape(1, 2, 6, 5) / 10, random.normal(size=(1, 2, 3, 3))
    differences = finite_difference(lambda x: max_pool2d(x, 3, stride=2, padding=1), x, grad_output)
    assert_close_to_differences(max_pool2d_backward(grad_output, x, 3, stride=2, padding=1), differences)


def test_where_windows_overlap_gradients_add_up():
    # Worked on the page: 7 wins both windows.
    gradient = max_pool2d_backward([[[[10.0, 1.0]]]], [[[[1, 7, 2], [3, 5, 6]]]], 2, stride=1)
    assert gradient[0, 0].tolist() == [[0, 11, 0], [0, 0, 0]]


def test_minus_infinity_and_nan():
    x = np.full((1, 1, 2, 2), -np.inf)
    assert max_pool2d(x, 2, return_switches=True)[1].tolist() == [[[[0]]]]  # a value of the input wins, not padding
    values, switches = max_pool2d([[[[1.0, math.nan], [9.0, 2.0]]]], 2, return_switches=True)
    assert math.isnan(values[0, 0, 0, 0])
    assert switches[0, 0, 0, 0] == 1
    assert math.isnan(max_pool2d([[[[1.0, math.nan], [9.0, 2.0]]]], 2)[0, 0, 0, 0])


def test_a_window_of_padding_has_no_winner(assert_adds_up):
    # Cells 4 apart on 3 pixels with 1 of padding: the one window reads positions -1 and 3.
    values, switches = max_pool1d([[[1.0, 2.0, 3.0]]], 2, padding=1, dilation=4, return_switches=True)
    assert (values.tolist(), switches.tolist()) == ([[[-math.inf]]], [[[-1]]])
    op = _op((2,), (1,), ((1, 1),), (4,))
    assert op.backward(np.ones((1, 1, 1)), np.ones((1, 1, 3))).inputs[0].tolist() == [[[0, 0, 0]]]
    working = op.working((0, 0, 0), np.ones((1, 1, 3)))
    assert_adds_up(working, -math.inf)
    assert "nothing but padding" in str(working)


def test_padding_in_pairs_and_same(random):
    x = random.normal(size=(1, 1, 5, 5))
    padded = np.pad(x, ((0, 0), (0, 0), (0, 1), (1, 0)), constant_values=-np.inf)
    assert (max_pool2d(x, 2, stride=1, padding=((0, 1), (1, 0))) == max_pool2d(padded, 2, stride=1)).all()
    assert max_pool2d(x, 2, stride=1, padding="same").shape == x.shape


def test_layouts_and_formats(random):
    x = random.normal(size=(7, 6, 3, 2)).transpose(3, 2, 0, 1)
    assert not x.flags.c_contiguous
    grad_output = np.ones((2, 3, 3, 3))
    assert (max_pool2d(x, 2) == max_pool2d(x.copy(), 2)).all()
    single = x.astype(np.float32)
    assert max_pool2d(single, 2).dtype == np.float32
    assert max_pool2d_backward(grad_output.astype(np.float32), single, 2).dtype == np.float32
    assert max_pool2d(np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2), 2).dtype == np.float64


def test_place_at_switches_is_pytorchs_unpooling_without_overlap(random):
    x = random.normal(size=(2, 3, 6, 4))
    values, switches = max_pool2d(x, 2, return_switches=True)
    expected = F.max_unpool2d(torch.tensor(values), torch.tensor(switches), 2).numpy()
    assert (place_at_switches(values, switches, sizes=(6, 4)) == expected).all()


@pytest.mark.parametrize(("dims", "kernel", "stride", "padding", "dilation", "ceil_mode", "sizes"), SETTINGS[1::3])
def test_working(random, assert_adds_up, dims, kernel, stride, padding, dilation, ceil_mode, sizes):
    x = random.integers(0, 4, (2, 2, *sizes)).astype(np.float64)
    words = {"dims": dims, "kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    op = MaxPool(**max_pooling.parse("test", x.shape, **words), ceil_mode=ceil_mode)
    y = op.forward(x)
    grad_output = random.normal(size=y.shape)
    gradient = op.backward(grad_output, x).inputs[0]
    for place in itertools.islice(np.ndindex(*y.shape), 0, None, 7):
        assert_adds_up(op.working(place, x), y[place])
    for place in itertools.islice(np.ndindex(*x.shape), 0, None, 7):
        assert_adds_up(op.gradient_working("input", place, grad_output, x), gradient[place])


def test_working_says_what_happened():
    x = np.array([[1.0, 5, 2, 0], [3, 5, 9, 1], [0, 0, 0, 0]])[None, None]
    text = str(_op((2, 2), (1, 1)).working((0, 0, 0, 0), x))
    assert "H_out = floor((3 + 0 + 0 - 1 x (2 - 1) - 1) / 1) + 1 = 2" in text
    assert "y = max = x[0, 1] = 5, the first of 2 equal values in row-major order" in text
    op = _op((2, 2), (3, 3), ((1, 1), (1, 1)), ceil_mode=True)
    text = str(op.working((0, 0, 0, 0), np.zeros((1, 1, 4, 4))))
    assert "H_out = ceil((4 + 1 + 1 - 1 x (2 - 1) - 1) / 3) + 1 = 3" in text
    assert "less 1: the last window would begin behind the input, at 5 of 4, which leaves 2" in text
    unread = str(_op((2, 2)).gradient_working("input", (0, 0, 2, 0), np.ones((1, 1, 1, 2)), x))
    assert "no window reads it, so its gradient is 0" in unread


def test_costs_and_reads():
    op = _op((3, 3), (2, 2), ((1, 1), (1, 1)))
    assert (op.name, op.macs((1, 4, 8, 8)), op.flops((1, 4, 8, 8))) == ("max_pool2d", 0, 4 * 16 * 8)
    assert op.equation == "y[i,j] = max over a,b of x[2i-1+a,2j-1+b]"
    assert op.reads(np.array([0, 3]), axis=0, size=8).tolist() == [-1, 0, 1, 5, 6, 7]


ERRORS = [
    ({"x": np.zeros((4, 4))}, r"max_pool2d: `x` must have 4 axes \(N, C, H, W\), got 2"),
    ({"kernel_size": 5}, "max_pool2d: `kernel_size` must fit into the padded input.*Pad by 1 more pixel"),
    ({"kernel_size": 6, "stride": 1, "ceil_mode": True}, "max_pool2d: `kernel_size` must fit into the padded input"),
    ({"kernel_size": 0}, "max_pool2d: `kernel_size` must be a whole number from 1 on"),
    ({"stride": (1, 2, 3)}, "max_pool2d: `stride` must be a whole number from 1 on, or 2 of them"),
    ({"dilation": 0}, "max_pool2d: `dilation` must be a whole number from 1 on"),
    ({"padding": 2}, r"max_pool2d: `padding` must be at most half the kernel, floor\(3 / 2\) = 1 along H, got 2"),
    ({"padding": "all"}, "max_pool2d: `padding` must be valid, same, full or a number"),
    ({"x": [["a"]]}, "max_pool2d: `x` must hold real numbers"),
]


@pytest.mark.parametrize(("changed", "message"), ERRORS)
def test_errors(changed, message):
    options = {"x": np.zeros((1, 1, 4, 4)), "kernel_size": 3} | changed
    with pytest.raises(UsageError, match=message):
        max_pool2d(options.pop("x"), options.pop("kernel_size"), **options)


def test_errors_of_gradients_and_positions():
    with pytest.raises(
        UsageError, match=r"`grad_output` must have the output's shape \(1, 1, 2, 2\), got \(1, 1, 1, 1\)"
    ):
        max_pool2d_backward(np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 4, 4)), 2)
    for position in ((0, 0, 0, -1), (0, 0, 2, 0), (0, 0)):
        with pytest.raises(UsageError, match="max_pool2d: `position` must be one index an axis"):
            _op().working(position, np.zeros((1, 1, 4, 4)))
    with pytest.raises(UsageError, match="`of` must be something this operation has a gradient for"):
        _op().gradient_working("weight", (0,), np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 4, 4)))
