"""Add, subtract, multiply, divide, concatenate: PyTorch with broadcasting, working, messages."""

from __future__ import annotations

import operator
from functools import partial

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops import combination as ops

TABLE = [
    (ops.add, ops.add_backward, ops.Add(), operator.add),
    (ops.subtract, ops.subtract_backward, ops.Subtract(), operator.sub),
    (ops.multiply, ops.multiply_backward, ops.Multiply(), operator.mul),
    (ops.divide, ops.divide_backward, ops.Divide(), operator.truediv),
    (
        partial(ops.add, alpha=0.5), partial(ops.add_backward, alpha=0.5), ops.ScaledAdd(0.5),
        partial(torch.add, alpha=0.5),
    ),
    (
        partial(ops.subtract, alpha=3), partial(ops.subtract_backward, alpha=3), ops.ScaledAdd(-3.0),
        partial(torch.sub, alpha=3),
    ),
]  # fmt: skip
SHAPES = [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (3, 1)), ((1, 4), (2, 3, 1)), ((2, 3), ()), ((), (5,)), ((1,), (1, 1))]


@pytest.fixture(params=TABLE, ids=[str(row[2]) for row in TABLE])
def row(request):
    return request.param


def pair(random, shapes):
    """Return two arrays, the second away from 0."""
    return random.normal(size=shapes[0]), random.uniform(0.5, 2, size=shapes[1])


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_equals_pytorch(row, shapes, random):
    forward, backward, op, reference = row
    a, b = pair(random, shapes)
    x, other = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    y = reference(x, other)
    gradient = random.normal(size=tuple(y.shape))
    y.backward(torch.tensor(gradient))
    assert np.abs(forward(a, b) - y.detach().numpy()).max() < 1e-12
    for ours, tensor in zip(backward(gradient, a, b), (x, other), strict=True):
        assert ours.shape == tuple(tensor.shape)
        assert np.abs(ours - tensor.grad.numpy()).max() < 1e-10
    assert op.output_shape(*shapes) == tuple(y.shape)
    assert op.flops(*shapes) == y.numel() * (2 if isinstance(op, ops.ScaledAdd) else 1)


def test_gradient_equals_differences(row, random, finite_difference, assert_close_to_differences):
    forward, backward, _, _ = row
    a, b = pair(random, ((2, 3), (3,)))
    gradient = random.normal(size=(2, 3))
    grad_a, grad_b = backward(gradient, a, b)
    assert_close_to_differences(grad_a, finite_difference(lambda z: forward(z, b), a, gradient))
    assert_close_to_differences(grad_b, finite_difference(lambda z: forward(a, z), b, gradient))


def test_forms_of_input(row, random):
    forward, backward, _, _ = row
    a, b = pair(random, ((4, 5), (4, 5)))
    assert np.array_equal(forward(a[::-1, ::2], b[::-1, ::2]), forward(a, b)[::-1, ::2])
    single = np.ones((2, 2), dtype=np.float32)
    assert forward(single, single).dtype == np.float32
    assert all(gradient.dtype == np.float32 for gradient in backward(single, single, single))


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_working(row, shapes, random, assert_adds_up):
    op = row[2]
    arrays = pair(random, shapes)
    y = op.forward(*arrays)
    last = tuple(n - 1 for n in y.shape)
    assert_adds_up(op.working(last, *arrays), y[last])
    gradient = random.normal(size=y.shape)
    gradients = op.backward(gradient, *arrays).inputs
    for of, array, grad in zip(("input", "input1"), arrays, gradients, strict=True):
        last = tuple(n - 1 for n in array.shape)
        assert_adds_up(op.gradient_working(of, last, gradient, *arrays), grad[last])


def test_working_as_text():
    x, other = np.array([[3.0], [5.0]]), np.array([10.0, 20.0])
    assert str(ops.Multiply().working((1, 0), x, other)).splitlines() == [
        "multiply at [1, 0]",
        "  y = x0 x1",
        "  y[1, 0] from x0[1, 0] and x1[0]",
        "  y = 5 x 10 = 50",
    ]
    gradient = ops.Multiply().gradient_working("input1", (0,), np.ones((2, 2)), x, other)
    assert "x1[0] went into the output by 2 copies" in str(gradient)
    assert "dL/dx1 = 1 x 3 + 1 x 5 = 8" in str(gradient)
    assert "y = 5 + 0.5 x 20 = 15" in str(ops.ScaledAdd(0.5).working((1, 1), x, other))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_equals_pytorch(axis, random, finite_difference, assert_close_to_differences):
    arrays = [np.moveaxis(random.normal(size=(n, 2, 3)), 0, axis) for n in (1, 4, 2)]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    y = torch.cat(tensors, dim=axis)
    gradient = random.normal(size=tuple(y.shape))
    y.backward(torch.tensor(gradient))
    assert np.array_equal(ops.concat(*arrays, axis=axis), y.detach().numpy())
    gradients = ops.concat_backward(gradient, *arrays, axis=axis)
    for ours, tensor in zip(gradients, tensors, strict=True):
        assert np.array_equal(ours, tensor.grad.numpy())
    changed = finite_difference(lambda z: ops.concat(arrays[0], z, arrays[2], axis=axis), arrays[1], gradient)
    assert_close_to_differences(gradients[1], changed)


def test_concat_working_says_which_input(random, assert_adds_up):
    # An Inception module's four branches of 64, 128, 32 and 32 channels (Szegedy et al. 2015, table 1, 3a).
    branches = [random.normal(size=(1, channels, 2, 2)) for channels in (64, 128, 32, 32)]
    op = ops.Concatenate(1)
    assert op.output_shape(*(branch.shape for branch in branches)) == (1, 256, 2, 2)
    for channel, which, own in [(0, 0, 0), (63, 0, 63), (64, 1, 0), (191, 1, 127), (200, 2, 8), (255, 3, 31)]:
        working = op.working((0, channel, 1, 0), *branches)
        assert_adds_up(working, branches[which][0, own, 1, 0])
        assert f"y[0, {channel}, 1, 0] is x{which}[0, {own}, 1, 0]" in str(working)
    assert "64 to 191 of 256 positions come from x1, one of 4 inputs" in str(op.working((0, 64, 0, 0), *branches))
    gradient = random.normal(size=(1, 256, 2, 2))
    working = op.gradient_working("input2", (0, 8, 1, 0), gradient, *branches)
    assert_adds_up(working, gradient[0, 200, 1, 0])
    assert op.reads(np.array([1]), axis=0, size=2).tolist() == [1]
    assert ops.Concatenate(3).reads(np.array([1]), axis=1, size=2).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.add(np.ones((1, 64, 8, 8)), np.ones((1, 32, 8, 8))),
            r"add: `other` must have the shape \(1, 64, 8, 8\), .* got \(1, 32, 8, 8\)\. For a residual connection",
        ),
        (
            lambda: ops.add_backward([1.0], [1.0, 2], [1.0, 2]),
            r"add_backward: `grad_output` must have .* \(2,\), got \(1,\)",
        ),
        (lambda: ops.concat(), r"concat: `arrays` must be at least one array, got none"),
        (
            lambda: ops.concat(np.ones((1, 3, 8, 8)), np.ones((1, 3, 7, 7))),
            r"concat: `arrays` must agree along every axis but axis 1, got \(1, 3, 8, 8\) and \(1, 3, 7, 7\), number 1",
        ),
        (lambda: ops.concat([1.0], axis=1), r"concat: `axis` must be a whole number from -1 to 0, got 1"),
        (lambda: ops.concat_backward([1.0], [1.0], [1.0], axis=0), r"concat_backward: `grad_output` must have"),
        (lambda: ops.Add().gradient_working("input2", (0,), *[np.ones(1)] * 3), r"add: `of` must be"),
        (lambda: ops.Concatenate(0).gradient_working("input2", (0,), *[np.ones(1)] * 3), r"concat: `of` must be"),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
