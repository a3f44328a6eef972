"""Kullback-Leibler divergence: PyTorch, by hand, finite differences, working, messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops import divergence as ops
from striate.ops.softmax import log_softmax, softmax

REDUCTIONS = ["mean", "batchmean", "sum", "none"]


@pytest.fixture
def pair(random):
    """Log probabilities, and targets of which none is 0."""
    return log_softmax(random.normal(size=(4, 3))), softmax(random.normal(size=(4, 3)))


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.filterwarnings("ignore:reduction. 'mean':UserWarning")
def test_equals_pytorch(pair, reduction, log_target, random):
    outputs, targets = pair[0], np.log(pair[1]) if log_target else pair[1]
    y, t = torch.tensor(outputs, requires_grad=True), torch.tensor(targets, requires_grad=True)
    expected = F.kl_div(y, t, reduction=reduction, log_target=log_target)
    gradient = random.normal(size=tuple(expected.shape))
    expected.backward(torch.tensor(gradient))
    options = {"reduction": reduction, "log_target": log_target}
    assert np.abs(ops.kl_div(outputs, targets, **options) - expected.detach().numpy()).max() < 1e-12
    grad_outputs, grad_targets = ops.KLDivLoss(reduction, log_target).backward(gradient, outputs, targets).inputs
    assert np.abs(grad_outputs - y.grad.numpy()).max() < 1e-10
    assert np.abs(grad_targets - t.grad.numpy()).max() < 1e-10
    assert np.array_equal(ops.kl_div_backward(gradient, outputs, targets, **options), grad_outputs)


def test_by_hand():
    # 1/2 ln((1/2) / (1/4)) + 1/2 ln((1/2) / (3/4)) = 1/2 ln 2 + 1/2 ln(2/3) = 1/2 ln(4/3)
    found = ops.kl_div(np.log([[0.25, 0.75]]), [[0.5, 0.5]], reduction="batchmean")
    assert math.isclose(found, math.log(4 / 3) / 2, rel_tol=1e-14)
    assert ops.kl_div(np.log([[0.5, 0.5]]), [[0.5, 0.5]], reduction="sum") == 0
    # A target of 0 adds nothing, as in PyTorch.
    assert ops.kl_div([[-1.0, -2.0]], [[0.0, 1.0]], reduction="none").tolist() == [[0, 2]]


@pytest.mark.parametrize("log_target", [False, True])
def test_gradient_equals_differences(pair, log_target, finite_difference, assert_close_to_differences):
    y, t = pair[0], np.log(pair[1]) if log_target else pair[1]
    differences = finite_difference(lambda z: ops.kl_div(z, t, log_target=log_target), y, np.array(2.0))
    assert_close_to_differences(ops.kl_div_backward(2.0, y, t, log_target=log_target), differences)
    differences = finite_difference(lambda z: ops.kl_div(y, z, log_target=log_target), t, np.array(2.0))
    _, grad_targets = ops.KLDivLoss("mean", log_target).backward(np.array(2.0), y, t).inputs
    assert_close_to_differences(grad_targets, differences)


def test_forms_of_input(pair):
    y, t = pair
    assert np.isclose(ops.kl_div(y[::-1], t[::-1]), ops.kl_div(y, t), rtol=1e-14)
    single = np.float32(y), np.float32(t)
    assert ops.kl_div(*single).dtype == ops.kl_div_backward(np.float32(1), *single).dtype == np.float32
    assert ops.KLDivLoss().flops((4, 3), (4, 3)) == 36


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_working(pair, reduction, log_target, random, assert_adds_up):
    y, t = pair[0], np.log(pair[1]) if log_target else pair[1]
    op = ops.KLDivLoss(reduction, log_target)
    loss = op.forward(y, t)
    position = (3, 2) if reduction == "none" else ()
    assert_adds_up(op.working(position, y, t), loss[position])
    gradient = random.normal(size=loss.shape)
    assert_adds_up(op.gradient_working("input", (1, 0), gradient, y, t), op.backward(gradient, y, t).inputs[0][1, 0])


def test_working_as_text():
    text = str(ops.KLDivLoss("batchmean").working((), np.array([[-1.0, -2.0]] * 2), np.array([[1.0, 0.0]] * 2)))
    assert "sum over 4 values: each term is divided by 2, the number of samples" in text
    assert "L = 0.5 x 1 x 1 + 0.5 x 0 x 2 + 0.5 x 1 x 1 + 0.5 x 0 x 2 = 1" in text


def test_messages():
    with pytest.raises(UsageError, match=r"kl_div: `targets` must be 0 or more, got -0\.5\. .* log_target=True"):
        ops.kl_div([[-1.0]], [[-0.5]])
    with pytest.raises(UsageError, match=r"kl_div: `targets` must have the shape of the outputs \(1, 1\), got \(1,\)"):
        ops.kl_div([[-1.0]], [1.0])
    with pytest.raises(UsageError, match=r"kl_div_backward: `reduction` must be one of mean, sum, none, batchmean"):
        ops.kl_div_backward(1.0, [[-1.0]], [[1.0]], reduction="batch")
