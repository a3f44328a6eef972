"""Variance and standard deviation over axes: PyTorch, by hand, finite differences, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops import variance as ops

SHAPE = (2, 3, 4, 5)
TABLE = [(ops.var, ops.var_backward, ops.Var, torch.var), (ops.std, ops.std_backward, ops.Std, torch.std)]


@pytest.fixture(params=TABLE, ids=[row[2].name for row in TABLE])
def row(request):
    return request.param


@pytest.mark.parametrize("correction", [0, 1, 2])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("axis", [None, -1, (2, 3), (3, 0)], ids=str)
def test_equals_pytorch(assert_agrees, assert_workings_add_up, row, axis, keepdim, correction, random):
    forward, backward, kind, reference = row
    options, x = {"correction": correction, "keepdim": keepdim}, random.normal(size=SHAPE)
    assert_agrees(
        [x],
        forward=lambda z: forward(z, axis=axis, **options),
        backward=lambda g, z: backward(g, z, axis=axis, **options),
        reference=lambda z: reference(z, dim=axis, **options),
        seed=1,
    )
    axes = tuple(range(4)) if axis is None else tuple(sorted(a % 4 for a in np.atleast_1d(axis)))
    op = kind(axes, keepdim, correction)
    assert op.output_shape(SHAPE) == forward(x, axis=axis, **options).shape
    assert_workings_add_up(op, x, seed=2)


def test_by_hand():
    # mean 3; deviations -2, -1, 0, 3; squares 4, 1, 0, 9 = 14; over 3 or 4.
    assert ops.var([1, 2, 3, 6]) == 14 / 3
    assert ops.var([1, 2, 3, 6], correction=0) == 3.5
    assert ops.var_backward(1.0, [1, 2, 3, 6], correction=0).tolist() == [-1, -0.5, 0, 1.5]
    assert ops.std([1, 5], correction=0) == 2


def test_gradient_equals_differences(row, random, finite_difference, assert_close_to_differences):
    forward, backward, _, _ = row
    x, gradient = random.normal(size=(3, 4)), random.normal(size=3)
    differences = finite_difference(lambda z: forward(z, axis=1), x, gradient)
    assert_close_to_differences(backward(gradient, x, axis=1), differences)


def test_equal_values_have_no_gradient(row):
    # As in PyTorch, where the standard deviation of equal values has the gradient 0 and not 0 / 0.
    _, backward, _, reference = row
    x = torch.full((2, 3), 0.7, dtype=torch.float64, requires_grad=True)
    reference(x, dim=1).sum().backward()
    assert backward([1.0, 1.0], x.detach().numpy(), axis=1).tolist() == [[0] * 3] * 2
    assert x.grad.abs().max() < 1e-15


def test_forms_of_input(row, random):
    forward, backward, kind, _ = row
    x = np.asfortranarray(random.normal(size=SHAPE))[:, ::-1]
    assert np.allclose(forward(x, axis=(1, 2)), forward(x.copy(), axis=(1, 2)), atol=1e-14)
    single = x.astype(np.float32)
    assert forward(single).dtype == backward(np.float32(1), single).dtype == np.float32
    assert kind((2, 3)).flops(SHAPE) == 480
    assert kind((2,)).reads(np.array([1]), axis=0, size=4).tolist() == [0, 1, 2, 3]


def test_working_as_text():
    text = str(ops.Std((0,), correction=0).working((), np.array([1.0, 2, 3, 6])))
    assert text.splitlines() == [
        "std at []",
        "  y = sqrt(sum of (x - mean)^2 / (number of values - correction))",
        "  mean of 4 values: 3",
        "  squares = (-2) x (-2) + (-1) x (-1) + 0 x 0 + 3 x 3 = 14",
        "  variance = 14 / (4 - 0) = 3.5",
        "  y = sqrt(variance) = 1.87083",
    ]


def test_messages():
    with pytest.raises(
        UsageError, match=r"var: `correction` must be from 0 on and below the number of values, 1 along the axes \(1,\)"
    ):
        ops.var(np.ones((3, 1)), axis=1)
    with pytest.raises(UsageError, match=r"std: `correction` must be from 0 on .* got -1"):
        ops.std(np.ones(3), correction=-1)
    with pytest.raises(UsageError, match=r"std: `x` must have values along the axes \(0,\), got shape \(0, 3\)"):
        ops.std(np.ones((0, 3)), axis=0)
    with pytest.raises(UsageError, match=r"var_backward: `grad_output` must have the output's shape \(\), got \(1,\)"):
        ops.var_backward([1.0], [1.0, 2.0])
