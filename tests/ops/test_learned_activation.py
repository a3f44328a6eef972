"""PReLU: by hand, PyTorch, finite differences, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops import learned_activation as ops

CASES = [((2, 3, 4, 5), 3), ((2, 3, 4, 5), 1), ((4, 3), 3), ((2, 3, 5), 3), ((5,), 1), ((2, 1, 3), 1)]


@pytest.mark.parametrize(("shape", "slopes"), CASES, ids=str)
def test_equals_pytorch(assert_agrees, shape, slopes, random):
    x, weight = random.normal(size=shape), random.normal(size=slopes)
    assert_agrees([x, weight], forward=ops.prelu, backward=ops.prelu_backward, reference=F.prelu, seed=0)


def test_the_kink_as_in_pytorch():
    x, weight = torch.tensor([[-1.0, 0.0, 2.0]], requires_grad=True), torch.tensor([0.25], requires_grad=True)
    F.prelu(x, weight).sum().backward()
    grad_input, grad_weight = ops.prelu_backward(np.ones((1, 3)), x.detach().numpy(), weight.detach().numpy())
    assert grad_input.tolist() == x.grad.tolist() == [[0.25, 0.25, 1.0]]
    assert grad_weight.tolist() == weight.grad.tolist() == [-1.0]


def test_gradients_equal_differences(random, finite_difference, assert_close_to_differences):
    x, weight, gradient = random.normal(size=(2, 3, 4)), random.normal(size=3), random.normal(size=(2, 3, 4))
    grad_input, grad_weight = ops.prelu_backward(gradient, x, weight)
    assert_close_to_differences(grad_input, finite_difference(lambda z: ops.prelu(z, weight), x, gradient))
    assert_close_to_differences(grad_weight, finite_difference(lambda w: ops.prelu(x, w), weight, gradient))


def test_forms_of_input(random):
    x = np.asfortranarray(random.normal(size=(2, 3, 5)))[::-1, :, ::-1]
    assert np.array_equal(ops.prelu(x, [0.1, 0.2, 0.3]), ops.prelu(x.copy(), [0.1, 0.2, 0.3]))
    single = x.astype(np.float32)
    slope = np.float32([0.5])
    assert ops.prelu(single, slope).dtype == np.float32
    assert all(gradient.dtype == np.float32 for gradient in ops.prelu_backward(single, single, slope))
    assert ops.prelu(-4, 0.5) == -2  # one number, one slope without an axis
    assert ops.PReLU().flops((2, 3, 5), weight=(3,)) == 60


@pytest.mark.parametrize(("shape", "slopes"), CASES, ids=str)
def test_working(assert_workings_add_up, shape, slopes, random):
    x, weight = random.normal(size=shape), random.normal(size=slopes)
    for seed in range(4):
        assert_workings_add_up(ops.PReLU(), x, weight=weight, seed=seed)


def test_working_as_text():
    x, weight = np.array([[-4.0, 3.0], [-1.0, -2.0]]), np.array([0.25, 0.5])
    assert str(ops.PReLU().working((0, 0), x, weight=weight)).splitlines() == [
        "prelu at [0, 0]",
        "  y = x if x > 0, else a x",
        "  x[0, 0] = -4, a[0] = 0.25",
        "  y = 0.25 x (-4) = -1",
        "  slope there: a[0] = 0.25",
    ]
    assert "y = 3 = 3" in str(ops.PReLU().working((0, 1), x, weight=weight))
    gradient = np.array([[1.0, 2.0], [3.0, 4.0]])
    text = str(ops.PReLU().gradient_working("weight", (0,), gradient, x, weight=weight))
    assert "2 values that are not positive" in text
    assert "dL/da = 1 x (-4) + 3 x (-1) = -7" in text
    text = str(ops.PReLU().gradient_working("input", (1, 1), gradient, x, weight=weight))
    assert "x[1, 1] = -2 is not positive: the slope is a[1]" in text


@pytest.mark.parametrize("slopes", [2, 4])
def test_messages(slopes):
    message = (
        rf"prelu: `weight` must have one slope, \(1,\), or one a channel, \(3,\) for x \(2, 3, 5\), got \({slopes},\)"
    )
    with pytest.raises(UsageError, match=message):
        ops.prelu(np.ones((2, 3, 5)), np.ones(slopes))
    with pytest.raises(UsageError, match=r"prelu: `weight` must have one slope, \(1,\), or one a channel, \(1,\)"):
        ops.prelu(np.ones(3), np.ones(3))
    with pytest.raises(UsageError, match=r"prelu_backward: `grad_output` must have the output's shape \(2, 3\)"):
        ops.prelu_backward(np.ones(3), np.ones((2, 3)), [0.1])
    with pytest.raises(UsageError, match=r"prelu: `of` must be something .* got 'bias'"):
        ops.PReLU().gradient_working("bias", (0,), np.ones((1, 1)), np.ones((1, 1)), weight=np.ones(1))
