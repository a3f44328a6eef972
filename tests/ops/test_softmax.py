"""Softmax, its logarithm and plain normalisation: course values, PyTorch, finite differences, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate import ops
from striate.errors import UsageError

TABLE = [
    (ops.softmax, ops.softmax_backward, ops.Softmax, F.softmax),
    (ops.log_softmax, ops.log_softmax_backward, ops.LogSoftmax, F.log_softmax),
    (ops.normalize, ops.normalize_backward, ops.Normalize, lambda x, dim: x / x.sum(dim=dim, keepdim=True)),
]


@pytest.fixture(params=TABLE, ids=[row[2].name for row in TABLE])
def row(request):
    return request.param


@pytest.fixture
def scores(row, random):
    """Random scores, for plain normalisation positive ones: sums near 0 are another matter."""
    x = random.normal(size=(2, 5, 3)) * 2
    return np.abs(x) + 0.1 if row[2] is ops.Normalize else x


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_values_and_gradients_equal_pytorch(row, scores, axis, random):
    forward, backward, _, reference = row
    gradient = random.normal(size=scores.shape)
    tensor = torch.tensor(scores, requires_grad=True)
    y = reference(tensor, dim=axis)
    y.backward(torch.tensor(gradient))
    assert np.abs(forward(scores, axis=axis) - y.detach().numpy()).max() < 1e-12
    assert np.abs(backward(gradient, scores, axis=axis) - tensor.grad.numpy()).max() < 1e-10


def test_gradient_equals_differences(row, scores, random, finite_difference, assert_close_to_differences):
    forward, backward, _, _ = row
    gradient = random.normal(size=scores.shape)
    differences = finite_difference(lambda z: forward(z, axis=1), scores, gradient)
    assert_close_to_differences(backward(gradient, scores, axis=1), differences)


def test_forms_of_input(row, scores):
    forward, backward, kind, _ = row
    turned = np.asfortranarray(scores)[::-1, :, ::-1]
    assert np.allclose(forward(turned), forward(turned.copy()), rtol=1e-15)
    single = scores.astype(np.float32)
    assert forward(single).dtype == backward(single, single).dtype == np.float32
    assert forward([1, 2]).dtype == np.float64
    op = kind(2)
    assert op.output_shape((2, 5, 3, 3)) == (2, 5, 3, 3)
    assert op.flops((2, 5)) == 10 * op.flops_per_value
    assert op.reads(np.array([1]), axis=0, size=3).tolist() == [0, 1, 2]
    assert op.reads(np.array([1]), axis=1, size=3).tolist() == [1]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_working(row, scores, axis, random, assert_adds_up):
    _, _, kind, _ = row
    op, gradient = kind(axis), random.normal(size=scores.shape)
    y, grad_input = op.forward(scores), op.backward(gradient, scores).inputs[0]
    for position in [(0, 0, 0), (1, 4, 2)]:
        assert_adds_up(op.working(position, scores), y[position])
        assert_adds_up(op.gradient_working("input", position, gradient, scores), grad_input[position])


def test_working_of_a_thousand_classes_fits_the_screen(row, random, assert_adds_up):
    x = random.uniform(0.1, 1, size=(1, 1000))
    op = row[2](1)
    assert_adds_up(op.working((0, 999), x), op.forward(x)[0, 999])
    gradient = random.normal(size=x.shape)
    assert_adds_up(op.gradient_working("input", (0, 999), gradient, x), op.backward(gradient, x).inputs[0][0, 999])


def test_working_as_text():
    assert str(ops.Softmax(0).working((1,), np.array([2.0, 4.0]))).splitlines() == [
        "softmax at [1]",
        "  p[i] = exp(x[i] - max) / sum over j of exp(x[j] - max)",
        "  x along axis 0, index 1 marked (1 x 2)",
        "     2 [4]",
        "  max = 4, subtracted so that no exponential overflows",
        "  sum of exp(x - max) = 0.135335 + 1 = 1.13534",
        "  exp(4 - 4) = 1",
        "  p[1] = 1 / 1.13534 = 0.880797",
    ]


def test_course_values():
    # 002-softmax-dog, 002-softmax-2-4, 002-stdnorm-* of the course examples, to the digits printed there.
    assert ops.softmax([3.2, 1.3, 0.2, 0.8]).round(3).tolist() == [0.775, 0.116, 0.039, 0.07]
    assert ops.softmax([2, 4]).round(3).tolist() == [0.119, 0.881]
    # 003-ex-c-softmax prints 0.9999 for the third, cut off from 0.99999993.
    assert np.allclose(ops.softmax([-3.9, -9.3, 12.6]), [6.8256e-08, 3.0828e-10, 0.99999993], rtol=1e-5)
    assert ops.normalize([2, 4]).round(3).tolist() == ops.normalize([4, 8]).round(3).tolist() == [0.333, 0.667]
    assert ops.normalize([-1, 3]).tolist() == [-0.5, 1.5]
    assert np.allclose(ops.softmax([-1, 3]), [0.017986209962091555, 0.9820137900379085], rtol=1e-12)


def test_jacobian_of_softmax_is_diag_p_minus_p_p():
    x = np.array([0.5, -1.0, 2.0])
    p = ops.softmax(x)
    rows = [ops.softmax_backward(row, x) for row in np.eye(3)]
    assert np.allclose(rows, np.diag(p) - np.outer(p, p), atol=1e-15)


def test_softmax_does_not_overflow_and_ignores_a_shift(random):
    x = random.normal(size=(4, 6))
    assert np.allclose(ops.softmax(x + 1e4), ops.softmax(x), atol=1e-11)
    assert ops.log_softmax([1000.0, 0.0]).tolist() == [0, -1000]
    assert np.allclose(ops.softmax(x).sum(axis=-1), 1, rtol=1e-15)


def test_messages():
    with pytest.raises(
        UsageError, match=r"softmax: `axis` must be a whole number from -2 to 1, got 2\. Count the axes"
    ):
        ops.softmax([[1.0]], axis=2)
    with pytest.raises(UsageError, match=r"softmax: `axis` must be left out for a single number"):
        ops.softmax(1.0)
    with pytest.raises(UsageError, match=r"log_softmax: `x` must have values along axis 1, got shape \(2, 0\)"):
        ops.log_softmax(np.zeros((2, 0)))
    for zero in ([1.0, -1.0], [0.1, 0.2, -0.3]):
        with pytest.raises(UsageError, match=r"normalize: `x` must not sum to 0 along the axis.* Use softmax"):
            ops.normalize(zero)
    with pytest.raises(UsageError, match=r"softmax_backward: `grad_output` must have the output's shape \(2,\)"):
        ops.softmax_backward([1.0], [1.0, 2.0])
    with pytest.raises(UsageError, match=r"softmax: `position` must be one index an axis"):
        ops.Softmax(0).working((-1,), np.ones(2))
    with pytest.raises(UsageError, match=r"softmax: `of` must be something"):
        ops.Softmax(0).gradient_working("weight", (0,), np.ones(2), np.ones(2))
