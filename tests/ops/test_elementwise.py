"""Exponential, logarithm, roots, absolute value, reciprocal, powers: PyTorch, the edges of the domain, working."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops import elementwise as ops

POSITIVE, ANY = (0.1, 4.0), (-4.0, 4.0)
TABLE = [
    (ops.exp, ops.exp_backward, ops.Exp(), torch.exp, {}, ANY),
    (ops.log, ops.log_backward, ops.Log(), torch.log, {}, POSITIVE),
    (ops.sqrt, ops.sqrt_backward, ops.Sqrt(), torch.sqrt, {}, POSITIVE),
    (ops.rsqrt, ops.rsqrt_backward, ops.Rsqrt(), torch.rsqrt, {}, POSITIVE),
    (ops.abs, ops.abs_backward, ops.Abs(), torch.abs, {}, ANY),
    (ops.reciprocal, ops.reciprocal_backward, ops.Reciprocal(), torch.reciprocal, {}, ANY),
    *(
        (ops.pow, ops.pow_backward, ops.Pow(float(p)), torch.pow, {"exponent": p}, domain)
        for p, domain in [(3, ANY), (2, ANY), (1, ANY), (0, ANY), (-2, ANY), (0.5, POSITIVE), (1.7, POSITIVE)]
    ),
]


@pytest.fixture(params=TABLE, ids=[str(row[2]) for row in TABLE])
def row(request):
    return request.param


def numbers(random, domain, shape):
    """Return numbers in the domain, none within 0.1 of 0."""
    x = random.uniform(*domain, size=shape)
    return np.where(np.abs(x) < 0.1, 0.1, x)


def test_values_and_gradients_equal_pytorch(row, random):
    forward, backward, _, reference, options, domain = row
    x = numbers(random, domain, (4, 7))
    gradient = random.normal(size=x.shape)
    tensor = torch.tensor(x, requires_grad=True)
    y = reference(tensor, **options)
    y.backward(torch.tensor(gradient))
    # Relative, since 0.1^-3 is not of order 1.
    assert np.allclose(forward(x, **options), y.detach().numpy(), rtol=1e-12, atol=1e-12)
    assert np.allclose(backward(gradient, x, **options), tensor.grad.numpy(), rtol=1e-12, atol=1e-10)


def test_gradient_equals_differences(row, random, finite_difference, assert_close_to_differences):
    forward, backward, _, _, options, domain = row
    x, gradient = np.sign(domain[0]) * numbers(random, (0.5, 3.0), (3, 5)), random.normal(size=(3, 5))
    differences = finite_difference(lambda z: forward(z, **options), x, gradient)
    assert_close_to_differences(backward(gradient, x, **options), differences)


@pytest.mark.parametrize("x", [0.0, -0.5, -3.0, math.inf, math.nan, 800.0, -800.0])
def test_outside_the_domain_as_in_pytorch(row, x):
    # Infinities and nan arise where PyTorch has them, without a warning; so do they in gradients, also in that of 0.
    forward, backward, op, reference, options, _ = row
    tensor = torch.tensor([x, x], dtype=torch.float64, requires_grad=True)
    y = reference(tensor, **options)
    y.backward(torch.tensor([2.0, 0.0], dtype=torch.float64))
    assert np.allclose(forward([x, x], **options), y.detach().numpy(), rtol=1e-12, equal_nan=True)
    assert np.allclose(backward([2.0, 0.0], [x, x], **options), tensor.grad.numpy(), rtol=1e-12, equal_nan=True)
    assert np.allclose(op.working((0,), np.array([x])).value, y[0].item(), rtol=1e-12, equal_nan=True)


def test_forms_of_input(row, random):
    forward, backward, op, _, options, _ = row
    x = random.uniform(0.5, 2, size=(3, 5, 2))
    turned = np.asfortranarray(x)[::-1, :, ::-1]
    assert np.array_equal(forward(turned, **options), forward(turned.copy(), **options))
    single = x.astype(np.float32)
    assert forward(single, **options).dtype == backward(single, single, **options).dtype == np.float32
    assert forward(1, **options).shape == ()
    assert op.output_shape(x.shape) == x.shape
    assert op.flops(x.shape) == op.flops_per_value * 30


@pytest.mark.parametrize("x", [-2.5, 0.25, 3.0])
def test_working(row, x, assert_adds_up):
    op, domain = row[2], row[5]
    values, gradient = np.array([abs(x) if domain is POSITIVE else x]), np.array([-2.0])
    assert_adds_up(op.working((0,), values), op.forward(values)[0])
    assert_adds_up(op.gradient_working("input", (0,), gradient, values), op.backward(gradient, values).inputs[0][0])


@pytest.mark.parametrize(
    ("op", "x", "line"),
    [
        (ops.Exp(), -1.0, "y = exp(-1) = 0.367879"),
        (ops.Rsqrt(), 4.0, "y = 1 / sqrt(4) = 0.5"),
        (ops.Abs(), -3.0, "y = |-3| = 3"),
        (ops.Reciprocal(), -4.0, "y = 1 / (-4) = -0.25"),
        (ops.Pow(3.0), -2.0, "y = (-2)^3 = -8"),
        (ops.Log(), 0.0, "y = ln(0) = -inf"),
    ],
)
def test_working_as_text(op, x, line):
    assert line in str(op.working((0,), np.array([x])))


def test_messages():
    with pytest.raises(
        UsageError, match=r"exp_backward: `grad_output` must have the output's shape \(2,\), got \(1,\)"
    ):
        ops.exp_backward([1.0], [1.0, 2.0])
    with pytest.raises(UsageError, match=r"log: `x` must hold real numbers, got complex128"):
        ops.log([1j])
    with pytest.raises(
        UsageError, match=r"sqrt: `of` must be something this operation has a gradient for, got 'weight'"
    ):
        ops.Sqrt().gradient_working("weight", (0,), np.ones(1), np.ones(1))
