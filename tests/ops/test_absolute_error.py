"""Absolute error, smooth L1 and Huber: PyTorch, the joins of their pieces, finite differences, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops import absolute_error as ops

TABLE = [
    (ops.l1_loss, ops.l1_loss_backward, ops.L1Loss, F.l1_loss, {}),
    (ops.smooth_l1_loss, ops.smooth_l1_loss_backward, ops.SmoothL1Loss, F.smooth_l1_loss, {}),
    (ops.smooth_l1_loss, ops.smooth_l1_loss_backward, ops.SmoothL1Loss, F.smooth_l1_loss, {"beta": 0.5}),
    (ops.smooth_l1_loss, ops.smooth_l1_loss_backward, ops.SmoothL1Loss, F.smooth_l1_loss, {"beta": 0.0}),
    (ops.huber_loss, ops.huber_loss_backward, ops.HuberLoss, F.huber_loss, {}),
    (ops.huber_loss, ops.huber_loss_backward, ops.HuberLoss, F.huber_loss, {"delta": 0.5}),
]


@pytest.fixture(params=TABLE, ids=[f"{row[2].name}-{row[4]}" for row in TABLE])
def row(request):
    return request.param


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_equals_pytorch_at_the_joins_too(row, reduction, random):
    forward, backward, kind, reference, options = row
    # Differences of 0, 1/2 and 1 are where the pieces meet.
    outputs = np.concatenate([random.normal(size=9), [0.0, 0.5, -0.5, 1.0, -1.0, 0.25]]).reshape(5, 3)
    targets = np.concatenate([random.normal(size=9), np.zeros(6)]).reshape(5, 3)
    y, t = torch.tensor(outputs, requires_grad=True), torch.tensor(targets, requires_grad=True)
    expected = reference(y, t, reduction=reduction, **options)
    gradient = random.normal(size=tuple(expected.shape))
    expected.backward(torch.tensor(gradient))
    found = forward(outputs, targets, reduction=reduction, **options)
    assert np.abs(found - expected.detach().numpy()).max() < 1e-12
    grad_outputs, grad_targets = kind(reduction, **options).backward(gradient, outputs, targets).inputs
    assert np.abs(grad_outputs - y.grad.numpy()).max() < 1e-10
    assert np.abs(grad_targets - t.grad.numpy()).max() < 1e-10
    assert np.array_equal(backward(gradient, outputs, targets, reduction=reduction, **options), grad_outputs)


def test_gradient_equals_differences(row, random, finite_difference, assert_close_to_differences):
    forward, backward, _, _, options = row
    y, t = random.normal(size=(3, 4)), random.normal(size=(3, 4))
    differences = finite_difference(lambda z: forward(z, t, **options), y, np.array(2.0))
    assert_close_to_differences(backward(2.0, y, t, **options), differences)


def test_forms_of_input(row, random):
    forward, backward, kind, _, options = row
    y, t = random.normal(size=(4, 3)), random.normal(size=(4, 3))
    turned = np.asfortranarray(y)[::-1]
    assert np.isclose(forward(turned, t, **options), forward(turned.copy(), t, **options), rtol=1e-15)
    single = y.astype(np.float32)
    assert forward(single, single, **options).dtype == np.float32
    assert backward(np.float32(1), single, single, **options).dtype == np.float32
    assert kind().flops((4, 3), (4, 3)) == kind.flops_per_value * 12


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_working(row, reduction, random, assert_adds_up):
    op = row[2](reduction, **row[4])
    y, t = random.normal(size=(4, 3)), random.normal(size=(4, 3))
    loss = op.forward(y, t)
    gradient = random.normal(size=loss.shape)
    for place in np.ndindex(4, 3):
        position = place if reduction == "none" else ()
        assert_adds_up(op.working(position, y, t), loss[position])
        grad_input = op.backward(gradient, y, t).inputs[0][place]
        assert_adds_up(op.gradient_working("input", place, gradient, y, t), grad_input)


def test_working_as_text():
    y, t = np.array([0.5, 5.0]), np.array([0.0, 1.0])
    text = str(ops.SmoothL1Loss().working((), y, t))
    assert "mean over 2 values: each term is divided by 2" in text
    assert "L = 0.25 x 0.5 x 0.5 + 0.5 x 3.5 = 1.8125" in text
    assert "L = 0.5 + 4 = 4.5" in str(ops.L1Loss("sum").working((), y, t))
    assert "dL/dinput = 1 x 2 x 1 = 2" in str(
        ops.HuberLoss("sum", 2.0).gradient_working("input", (1,), np.ones(()), y, t)
    )


def test_messages():
    with pytest.raises(UsageError, match=r"l1_loss: `targets` must have the shape of the outputs \(2,\), got \(2, 1\)"):
        ops.l1_loss([1.0, 2.0], [[1.0], [2.0]])
    with pytest.raises(UsageError, match=r"smooth_l1_loss: `beta` must be from 0 on, got -1"):
        ops.smooth_l1_loss([1.0], [1.0], beta=-1)
    with pytest.raises(UsageError, match=r"huber_loss_backward: `delta` must be above 0, got 0"):
        ops.huber_loss_backward(1.0, [1.0], [1.0], delta=0)
    for call in (ops.l1_loss, ops.smooth_l1_loss, ops.huber_loss):
        with pytest.raises(UsageError, match=r"`reduction` must be one of mean, sum, none, got 'batchmean'"):
            call([1.0], [1.0], reduction="batchmean")
    with pytest.raises(
        UsageError, match=r"l1_loss_backward: `grad_output` must have the output's shape \(\), got \(1,\)"
    ):
        ops.l1_loss_backward([1.0], [1.0], [1.0])
