"""Mean and half squared error: PyTorch, by hand, finite differences, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops import squared_error as ops


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse_loss_equals_pytorch(reduction, random):
    outputs, targets = random.normal(size=(4, 3)), random.normal(size=(4, 3))
    y, t = torch.tensor(outputs, requires_grad=True), torch.tensor(targets, requires_grad=True)
    expected = F.mse_loss(y, t, reduction=reduction)
    gradient = random.normal(size=tuple(expected.shape))
    expected.backward(torch.tensor(gradient))
    assert np.abs(ops.mse_loss(outputs, targets, reduction=reduction) - expected.detach().numpy()).max() < 1e-12
    grad_outputs, grad_targets = ops.MSELoss(reduction).backward(gradient, outputs, targets).inputs
    assert np.abs(grad_outputs - y.grad.numpy()).max() < 1e-10
    assert np.abs(grad_targets - t.grad.numpy()).max() < 1e-10
    assert np.array_equal(ops.mse_loss_backward(gradient, outputs, targets, reduction=reduction), grad_outputs)


def test_half_squared_error_by_hand(random, finite_difference, assert_close_to_differences):
    # E = 1/2 ((1 - 0)^2 + (2 - 5)^2) = 5, by hand.
    assert ops.half_squared_error([0.0, 5.0], [1.0, 2.0]) == 5
    assert ops.half_squared_error_backward(1.0, [0.0, 5.0], [1.0, 2.0]).tolist() == [-1, 3]
    y, t = random.normal(size=(3, 2)), random.normal(size=(3, 2))
    differences = finite_difference(lambda z: ops.half_squared_error(z, t), y, np.array(2.0))
    assert_close_to_differences(ops.half_squared_error_backward(2.0, y, t), differences)
    assert np.isclose(ops.half_squared_error(y, t), ops.mse_loss(y, t) * y.size / 2, rtol=1e-14)


def test_forms_of_input(random):
    y, t = random.normal(size=(4, 3)), random.normal(size=(4, 3))
    turned = np.asfortranarray(y)[::-1]
    assert np.isclose(ops.mse_loss(turned, t), ops.mse_loss(turned.copy(), t), rtol=1e-15)
    single = y.astype(np.float32)
    assert ops.mse_loss(single, single).dtype == np.float32
    assert ops.mse_loss_backward(np.float32(1), single, single).dtype == np.float32
    assert ops.half_squared_error([1], [2]) == 0.5
    assert ops.MSELoss().flops((4, 3), (4, 3)) == 36


@pytest.mark.parametrize("op", [ops.MSELoss("mean"), ops.MSELoss("sum"), ops.MSELoss("none"), ops.HalfSquaredError()])
def test_working(op, random, assert_adds_up):
    y, t = random.normal(size=(4, 3)), random.normal(size=(4, 3))
    loss = op.forward(y, t)
    position = (3, 2) if op.reduction == "none" else ()
    assert_adds_up(op.working(position, y, t), loss[position])
    gradient = random.normal(size=loss.shape)
    working = op.gradient_working("input", (1, 0), gradient, y, t)
    assert_adds_up(working, op.backward(gradient, y, t).inputs[0][1, 0])


def test_working_as_text():
    working = ops.HalfSquaredError().working((), np.array([0.0, 5.0]), np.array([1.0, 2.0]))
    assert "E = 1/2 sum of (t - y)^2" in str(working)
    assert "L = 0.5 x 1 x 1 + 0.5 x (-3) x (-3) = 5" in str(working)


def test_messages():
    with pytest.raises(
        UsageError, match=r"mse_loss: `targets` must have the shape of the outputs \(2,\), got \(2, 1\)"
    ):
        ops.mse_loss([1.0, 2.0], [[1.0], [2.0]])
    with pytest.raises(UsageError, match=r"mse_loss_backward: `reduction` must be one of mean, sum, none, got 'all'"):
        ops.mse_loss_backward(1.0, [1.0], [1.0], reduction="all")
    with pytest.raises(
        UsageError, match=r"half_squared_error_backward: `grad_output` must have the output's shape \(\)"
    ):
        ops.half_squared_error_backward([1.0], [1.0], [1.0])
