"""GELU, SiLU, Mish, softplus and their stand-ins: PyTorch, kinks, finite differences, working, messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops import smooth_activation as ops

TABLE = [
    (ops.softplus, ops.softplus_backward, ops.Softplus(2.0, 5.0), F.softplus, {"beta": 2.0, "threshold": 5.0}),
    (ops.softplus, ops.softplus_backward, ops.Softplus(), F.softplus, {}),
    (ops.gelu, ops.gelu_backward, ops.GELU(), F.gelu, {}),
    (ops.gelu, ops.gelu_backward, ops.GELU("tanh"), F.gelu, {"approximate": "tanh"}),
    (ops.silu, ops.silu_backward, ops.SiLU(), F.silu, {}),
    (ops.hardsigmoid, ops.hardsigmoid_backward, ops.Hardsigmoid(), F.hardsigmoid, {}),
    (ops.hardswish, ops.hardswish_backward, ops.Hardswish(), F.hardswish, {}),
    (ops.mish, ops.mish_backward, ops.Mish(), F.mish, {}),
    (ops.softsign, ops.softsign_backward, ops.Softsign(), F.softsign, {}),
    (ops.logsigmoid, ops.logsigmoid_backward, ops.LogSigmoid(), F.logsigmoid, {}),
]


@pytest.fixture(params=TABLE, ids=[str(row[2]) for row in TABLE])
def row(request):
    return request.param


def test_values_and_gradients_equal_pytorch(row, random):
    forward, backward, op, reference, options = row
    # PyTorch 2.13 multiplies the gradient of hardsigmoid by 1/6 rounded to float32, even in float64.
    tolerance = 3e-8 if isinstance(op, ops.Hardsigmoid) else 1e-10
    x = np.concatenate([random.normal(scale=3, size=(60,)), [0.0, 3, -3, 2.5, 20, 10, -10, 40, -40, 300, -300]])
    gradient = random.normal(size=x.shape)
    tensor = torch.tensor(x, requires_grad=True)
    y = reference(tensor, **options)
    y.backward(torch.tensor(gradient))
    assert np.abs(forward(x, **options) - y.detach().numpy()).max() < 1e-12
    assert np.abs(backward(gradient, x, **options) - tensor.grad.numpy()).max() < tolerance


def test_gradient_equals_differences(row, random, finite_difference, assert_close_to_differences):
    forward, backward, _, _, options = row
    x, gradient = random.normal(size=(3, 5)) * 2, random.normal(size=(3, 5))
    differences = finite_difference(lambda z: forward(z, **options), x, gradient)
    assert_close_to_differences(backward(gradient, x, **options), differences)


def test_forms_of_input(row, random):
    forward, backward, op, _, options = row
    x = random.normal(size=(3, 5, 2))
    turned = np.asfortranarray(x)[::-1, :, ::-1]
    assert np.array_equal(forward(turned, **options), forward(turned.copy(), **options))
    single = x.astype(np.float32)
    assert forward(single, **options).dtype == backward(single, single, **options).dtype == np.float32
    assert forward(1.0, **options).shape == ()
    assert op.flops(x.shape) == op.flops_per_value * 30


@pytest.mark.parametrize("x", [-4.0, -1.5, 0.0, 0.25, 30.0])
def test_working(row, x, assert_adds_up):
    _, _, op, _, _ = row
    values, gradient = np.array([x]), np.array([-2.0])
    assert_adds_up(op.working((0,), values), op.forward(values)[0])
    assert_adds_up(op.gradient_working("input", (0,), gradient, values), op.backward(gradient, values).inputs[0][0])


def test_working_of_long_numbers_fits_the_screen(row, assert_adds_up):
    op = row[2]
    x = np.broadcast_to(-1.23456789e-05, (32, 1024, 112, 112))
    last = (31, 1023, 111, 111)
    assert_adds_up(op.working(last, x), op.value(np.float64(x[last])))
    assert_adds_up(op.gradient_working("input", last, x, x), x[last] * op.slope(np.float64(x[last])))


def test_working_as_text():
    assert "y = (-1) x Phi(-1) = (-1) x 0.158655 = -0.158655" in str(ops.GELU().working((0,), np.array([-1.0])))
    assert "y = ln(1 + exp(1 x 2)) / 1 = 2.12693" in str(ops.Softplus().working((0,), np.array([2.0])))
    assert "y = (-3) / (1 + |-3|) = -0.75" in str(ops.Softsign().working((0,), np.array([-3.0])))
    assert "y = -ln(1 + exp(-(-1))) = -1.31326" in str(ops.LogSigmoid().working((0,), np.array([-1.0])))
    assert "y = (-1) x tanh(ln(1 + exp(-1))) = -0.303401" in str(ops.Mish().working((0,), np.array([-1.0])))
    assert "y = 25 = 25" in str(ops.Softplus().working((0,), np.array([25.0])))


def test_known_values():
    # Phi(1) = 0.8413447460685429 (tables of the normal distribution), sigmoid(1) = e / (e + 1).
    assert np.allclose(ops.gelu([1.0]), 0.8413447460685429, rtol=1e-15)
    assert np.allclose(ops.silu([1.0]), math.e / (math.e + 1), rtol=1e-15)
    # Far out on the negative side every digit of -x Phi(x) still counts: -20 Phi(-20) = -20 erfc(20 / sqrt(2)) / 2.
    assert np.allclose(ops.gelu([-20.0]), -10 * math.erfc(20 / math.sqrt(2)), rtol=1e-13, atol=0)
    x = np.linspace(-6, 6, 1001)
    assert np.abs(ops.gelu(x) - ops.gelu(x, approximate="tanh")).max() < 5e-4  # as the docstring says


def test_messages():
    with pytest.raises(
        UsageError, match=r"gelu: `approximate` must be one of none, tanh, got 'tan'\. Did you mean `tanh`"
    ):
        ops.gelu([0.0], approximate="tan")
    with pytest.raises(UsageError, match=r"softplus: `beta` must be above 0, got 0\. Choose beta in that interval\."):
        ops.softplus([0.0], beta=0)
    with pytest.raises(UsageError, match=r"silu_backward: `grad_output` must have the output's shape"):
        ops.silu_backward([1.0], [1.0, 2.0])
