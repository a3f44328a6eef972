"""Minimum, maximum, where, clamp: PyTorch, ties, broadcasting, finite differences, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops import comparison as ops

SHAPES = [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (3, 1)), ((1, 4), (2, 3, 1)), ((2, 3), ()), ((), (5,))]
PAIRS = [
    (ops.maximum, ops.maximum_backward, ops.Maximum(), torch.maximum),
    (ops.minimum, ops.minimum_backward, ops.Minimum(), torch.minimum),
]
BOUNDS = [{"min": -1.0}, {"max": 1.0}, {"min": -1.0, "max": 1.0}, {"min": 1.0, "max": -1.0}, {"min": 0, "max": 0}]


@pytest.fixture(params=PAIRS, ids=[row[2].name for row in PAIRS])
def row(request):
    return request.param


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_extremes_equal_pytorch_with_ties(row, shapes, random, assert_adds_up):
    forward, backward, op, reference = row
    arrays = [random.integers(-2, 3, size=shape).astype(float) for shape in shapes]  # a fifth of them ties
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    y = reference(*tensors)
    gradient = random.normal(size=tuple(y.shape))
    y.backward(torch.tensor(gradient))
    assert np.array_equal(forward(*arrays), y.detach().numpy())
    gradients = backward(gradient, *arrays)
    last = tuple(n - 1 for n in y.shape)
    assert_adds_up(op.working(last, *arrays), y[last].item())
    for of, ours, tensor in zip(("input", "input1"), gradients, tensors, strict=True):
        assert np.abs(ours - tensor.grad.numpy()).max() < 1e-10
        last = tuple(n - 1 for n in ours.shape)
        assert_adds_up(op.gradient_working(of, last, gradient, *arrays), ours[last])


@pytest.mark.parametrize("shapes", [*((*pair, pair[0]) for pair in SHAPES), ((2, 3), (2, 3), (4, 1, 1))], ids=str)
def test_where_equals_pytorch(shapes, random, assert_adds_up):
    *pair, condition_shape = shapes
    arrays, condition = [random.normal(size=shape) for shape in pair], random.normal(size=condition_shape) > 0
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    y = torch.where(torch.tensor(condition), *tensors)
    gradient = random.normal(size=tuple(y.shape))
    y.backward(torch.tensor(gradient))
    assert np.array_equal(ops.where(condition, *arrays), y.detach().numpy())
    op, last = ops.Where(), tuple(n - 1 for n in y.shape)
    assert op.output_shape(*pair, condition=condition_shape) == tuple(y.shape)
    assert op.flops(*pair, condition=condition_shape) == y.numel()
    assert_adds_up(op.working(last, *arrays, condition=condition), y[last].item())
    for of, ours, tensor in zip(
        ("input", "input1"), ops.where_backward(gradient, condition, *arrays), tensors, strict=True
    ):
        assert np.abs(ours - tensor.grad.numpy()).max() < 1e-10
        last = tuple(n - 1 for n in ours.shape)
        assert_adds_up(op.gradient_working(of, last, gradient, *arrays, condition=condition), ours[last])


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_clamp_equals_pytorch_on_its_bounds_too(bounds, assert_adds_up):
    x = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    tensor = torch.tensor(x, requires_grad=True)
    y = tensor.clamp(**bounds)
    gradient = np.arange(1.0, 8.0)
    y.backward(torch.tensor(gradient))
    assert np.array_equal(ops.clamp(x, **bounds), y.detach().numpy())
    grad_input = ops.clamp_backward(gradient, x, **bounds)
    assert np.array_equal(grad_input, tensor.grad.numpy())
    op = ops.Clamp(**bounds)
    for i in range(7):
        assert_adds_up(op.working((i,), x), y[i].item())
        assert_adds_up(op.gradient_working("input", (i,), gradient, x), grad_input[i])


def test_gradients_equal_differences(row, random, finite_difference, assert_close_to_differences):
    forward, backward, _, _ = row
    a, b, gradient = random.normal(size=(3, 4)), random.normal(size=4), random.normal(size=(3, 4))
    condition = random.normal(size=(3, 4)) > 0
    for call, back in (
        (forward, backward),
        (lambda x, y: ops.where(condition, x, y), lambda g, x, y: ops.where_backward(g, condition, x, y)),
    ):
        grad_a, grad_b = back(gradient, a, b)
        assert_close_to_differences(grad_a, finite_difference(lambda z, f=call: f(z, b), a, gradient))
        assert_close_to_differences(grad_b, finite_difference(lambda z, f=call: f(a, z), b, gradient))
    differences = finite_difference(lambda z: ops.clamp(z, min=-0.5, max=0.7), a, gradient)
    assert_close_to_differences(ops.clamp_backward(gradient, a, min=-0.5, max=0.7), differences)


def test_forms_of_input(row, random):
    forward, backward, _, _ = row
    a, b = random.normal(size=(4, 6)), random.normal(size=(4, 6))
    assert np.array_equal(forward(a[::-1, ::2], b[::-1, ::2]), forward(a, b)[::-1, ::2])
    single, condition = np.ones((2, 2), dtype=np.float32), np.array([True, False])
    assert forward(single, single).dtype == ops.where(condition, single, single).dtype == np.float32
    assert ops.clamp(single, max=0.5).dtype == ops.clamp_backward(single, single, max=0.5).dtype == np.float32
    assert all(gradient.dtype == np.float32 for gradient in backward(single, single, single))
    assert all(gradient.dtype == np.float32 for gradient in ops.where_backward(single, condition, single, single))
    assert np.isnan(forward(np.nan, 1.0))  # as in PyTorch: nan wins
    assert np.array_equal(ops.where(condition, 0.0, -np.inf), [0.0, -np.inf])  # what masks of attention are made of


def test_working_as_text():
    a, b = np.array([3.0, 2.0]), np.array([5.0, 2.0])
    assert str(ops.Maximum().working((0,), a, b)).splitlines() == [
        "maximum at [0]",
        "  y = max(x0, x1)",
        "  y[0] from x0[0] and x1[0]",
        "  x0[0] = 3, x1[0] = 5",
        "  y = 5 = 5",
    ]
    assert "x0[1] = 2, x1[1] = 2, a tie: each gets half of the gradient" in str(ops.Minimum().working((1,), a, b))
    assert "dL/dx1 = 8 x 0.5 = 4" in str(ops.Maximum().gradient_working("input1", (1,), np.array([1.0, 8.0]), a, b))
    chosen = str(ops.Where().working((1,), a, b * 0 - 1, condition=np.array([True, False])))
    assert "the condition does not hold; x0[1] = 2, x1[1] = -1" in chosen
    assert "y = (-1) = -1" in chosen
    assert "y = min(max(7, -1), 6) = 6" in str(ops.Clamp(-1.0, 6.0).working((0,), np.array([7.0])))
    assert "y = min(-7, 6) = -7" in str(ops.Clamp(max=6.0).working((0,), np.array([-7.0])))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.maximum(np.ones(3), np.ones(4)), r"maximum: `other` must have the shape \(3,\), .* got \(4,\)"),
        (lambda: ops.minimum_backward([1.0], [1.0, 2], [1.0, 2]), r"minimum_backward: `grad_output` must have"),
        (lambda: ops.where([1, 0], [1, 2], 3), r"where: `condition` must hold True or False at each place, got int64"),
        (
            lambda: ops.where([True] * 3, np.ones(2), np.ones(2)),
            r"where: `condition` must have a shape that fits x \(2,\) and other \(2,\), got \(3,\)",
        ),
        (lambda: ops.where_backward([1.0], [True, True], [1.0, 2], 0), r"where_backward: `grad_output` must have"),
        (lambda: ops.clamp([1.0]), r"clamp: `min` must be a number where max is None, got None\. Give one bound"),
        (lambda: ops.Maximum().gradient_working("input2", (0,), *[np.ones(1)] * 3), r"maximum: `of` must be"),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
