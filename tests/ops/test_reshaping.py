"""Flatten, reshape, permute, channel shuffle: PyTorch, gradients that travel back, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops import reshaping as ops

SHAPE = (2, 6, 3, 5)
TABLE = [
    (ops.flatten, ops.flatten_backward, {"start_dim": 1}, lambda x: x.flatten(1), ops.Flatten(1, 3)),
    (ops.flatten, ops.flatten_backward, {}, lambda x: x.flatten(), ops.Flatten(0, 3)),
    (
        ops.flatten,
        ops.flatten_backward,
        {"start_dim": 1, "end_dim": -2},
        lambda x: x.flatten(1, 2),
        ops.Flatten(1, 2),
    ),
    (ops.reshape, ops.reshape_backward, {"shape": (4, -1, 5)}, lambda x: x.reshape(4, -1, 5), ops.Reshape((4, -1, 5))),
    (
        ops.permute,
        ops.permute_backward,
        {"axes": (0, 2, 3, -3)},
        lambda x: x.permute(0, 2, 3, 1),
        ops.Permute((0, 2, 3, 1)),
    ),
    (
        ops.transpose,
        ops.transpose_backward,
        {"axis0": 1, "axis1": -1},
        lambda x: x.transpose(1, -1),
        ops.Permute((0, 3, 2, 1)),
    ),
    (
        ops.channel_shuffle,
        ops.channel_shuffle_backward,
        {"groups": 3},
        lambda x: F.channel_shuffle(x, 3),
        ops.ChannelShuffle(3),
    ),
]


@pytest.fixture(params=TABLE, ids=[str(row[4]) for row in TABLE])
def row(request):
    return request.param


def test_equals_pytorch(row, random):
    forward, backward, options, reference, op = row
    x = random.normal(size=SHAPE)
    tensor = torch.tensor(x, requires_grad=True)
    y = reference(tensor)
    gradient = random.normal(size=tuple(y.shape))
    y.backward(torch.tensor(gradient))
    assert np.array_equal(forward(x, **options), y.detach().numpy())
    assert np.array_equal(backward(gradient, x, **options), tensor.grad.numpy())
    assert op.output_shape(SHAPE) == tuple(y.shape)
    assert op.flops(SHAPE) == op.macs(SHAPE) == 0


def test_gradient_equals_differences(row, random, finite_difference, assert_close_to_differences):
    forward, backward, options, _, op = row
    x = random.normal(size=SHAPE)
    gradient = random.normal(size=op.output_shape(SHAPE))
    differences = finite_difference(lambda z: forward(z, **options), x, gradient)
    assert_close_to_differences(backward(gradient, x, **options), differences)


def test_forms_of_input(row, random):
    forward, backward, options, _, op = row
    x = np.asfortranarray(random.normal(size=SHAPE))[:, ::-1]
    assert np.array_equal(forward(x, **options), forward(x.copy(), **options))
    single = x.astype(np.float32)
    gradient = np.ones(op.output_shape(SHAPE), dtype=np.float32)
    assert forward(single, **options).dtype == backward(gradient, single, **options).dtype == np.float32


def test_working(row, random, assert_adds_up):
    _, _, _, _, op = row
    x = random.normal(size=SHAPE)
    y = op.forward(x)
    gradient = random.normal(size=y.shape)
    grad_input = op.backward(gradient, x).inputs[0]
    for flat in (0, 37, 179):
        position = tuple(map(int, np.unravel_index(flat, y.shape)))
        assert_adds_up(op.working(position, x), y[position])
        position = tuple(map(int, np.unravel_index(flat, SHAPE)))
        assert_adds_up(op.gradient_working("input", position, gradient, x), grad_input[position])


def test_working_as_text():
    x = np.arange(16 * 5 * 5.0).reshape(1, 16, 5, 5)
    assert str(ops.Flatten(1, 3).working((0, 137), x)).splitlines() == [
        "flatten at [0, 137]",
        "  y[(c H + i) W + j] = x[c, i, j]",
        "  [1, 16, 5, 5] -> [1, 400]",
        "  y[0, 137] is x[0, 5, 2, 2]",
        "  137 = 5 x 25 + 2 x 5 + 2 x 1, row by row",
        "  y = 137 = 137",
    ]
    shuffled = ops.ChannelShuffle(2).working((0, 3), np.arange(6.0)[None])
    assert "channel 3 = 1 x 2 + 1 comes from channel 1 x 3 + 1 = 4" in str(shuffled)
    back = ops.Permute((1, 0)).gradient_working("input", (0, 1), np.ones((2, 2)), np.ones((2, 2)))
    assert "x[0, 1] went to y[1, 0]" in str(back)


def test_course_values():
    # 003-ex-c-flatten; 001-googlenet-flatten: 7 x 7 x 1024 = 50,176; 003-cifar-input: 32 x 32 x 3 = 3,072.
    assert ops.flatten([[0, 10], [0, 10]]).tolist() == [0, 10, 0, 10]
    assert ops.Flatten(1, 3).output_shape((1, 1024, 7, 7)) == (1, 50176)
    assert ops.Flatten(1, 3).output_shape((1, 3, 32, 32)) == (1, 3072)


def test_reads():
    one = np.array([1])
    assert ops.Flatten(1, 3).reads(one, axis=0, size=3).tolist() == [0, 1, 2]
    assert ops.Reshape((-1,)).reads(one, axis=0, size=2).tolist() == [0, 1]
    assert ops.Permute((1, 0, 2, 3)).reads(one, axis=1, size=4).tolist() == [1]
    assert ops.Permute((0, 1, 3, 2)).reads(one, axis=1, size=2).tolist() == [0, 1]
    assert ops.ChannelShuffle(2).reads(one, axis=0, size=4).tolist() == [1]


X = np.ones((2, 6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.flatten(X, start_dim=1, end_dim=0), r"flatten: `start_dim` must not come after end_dim"),
        (lambda: ops.flatten(X, start_dim=2), r"flatten: `start_dim` must be a whole number from -2 to 1, got 2"),
        (
            lambda: ops.Flatten(1, 3).output_shape((2, 6)),
            r"flatten: `start_dim` .* outside the axes 0 to 1, got 1 and 3",
        ),
        (
            lambda: ops.reshape(X, shape=(5, -1)),
            r"reshape: `shape` must hold as many values as x, 2 x 6 = 12, .* \(5, -1\)",
        ),
        (lambda: ops.reshape(X, shape=(-1, -1)), r"reshape: `shape` must .* with at most one -1, got \(-1, -1\)"),
        (lambda: ops.reshape(X, shape=(-3, -4)), r"reshape: `shape` must hold"),
        (lambda: ops.permute(X, axes=(0, 0)), r"permute: `axes` must name each of the 2 axes once, got \(0, 0\)"),
        (lambda: ops.permute(X, axes=(0, 2)), r"permute: `axes` must be a whole number from -2 to 1, got 2"),
        (lambda: ops.channel_shuffle(X, groups=4), r"channel_shuffle: `groups` must divide the channels, .* got 4"),
        (lambda: ops.flatten_backward(X, X), r"flatten_backward: `grad_output` must have the output's shape \(12,\)"),
        (lambda: ops.Flatten(0, 1).gradient_working("weight", (0, 0), X.ravel(), X), r"flatten: `of` must be"),
        (lambda: ops.Flatten(0, 1).working((12,), X), r"flatten: `position` must be one index an axis"),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
