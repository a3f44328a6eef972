"""The dense layer: known values, PyTorch, finite differences, its working and its errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops.dense import Linear, linear, linear_backward

SHAPES = [((3,), 4), ((2, 3), 4), ((1, 1), 1), ((2, 3, 5), 7)]


@pytest.mark.parametrize(("shape", "outputs"), SHAPES)
@pytest.mark.parametrize("has_bias", [True, False])
def test_as_in_pytorch(random, shape, outputs, has_bias):
    x, weight = random.normal(size=shape), random.normal(size=(outputs, shape[-1]))
    bias, grad = random.normal(size=outputs), random.normal(size=(*shape[:-1], outputs))
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, weight, bias)]
    expected = F.linear(*tensors[:2], tensors[2] if has_bias else None)
    expected.backward(torch.tensor(grad))
    np.testing.assert_allclose(linear(x, weight, bias if has_bias else None), expected.detach(), atol=1e-12)
    gradients = linear_backward(grad, x, weight)
    for mine, tensor in zip(gradients[: 3 if has_bias else 2], tensors, strict=False):
        np.testing.assert_allclose(mine, tensor.grad, atol=1e-10)


def test_gradients_are_the_finite_differences(random, finite_difference, assert_close_to_differences):
    x, weight, bias = random.normal(size=(2, 3)), random.normal(size=(4, 3)), random.normal(size=4)
    grad = random.normal(size=(2, 4))
    gradients = linear_backward(grad, x, weight)
    for number, array in enumerate((x, weight, bias)):
        arrays = [x, weight, bias]

        def forward(changed, number=number, arrays=arrays):
            return linear(*[*arrays[:number], changed, *arrays[number + 1 :]])

        assert_close_to_differences(gradients[number], finite_difference(forward, array, grad))


def test_non_contiguous_and_single_precision(random):
    x, weight = random.normal(size=(6, 3)).T, random.normal(size=(6, 4)).T
    np.testing.assert_allclose(linear(x, weight), np.einsum("ni,oi->no", x, weight), atol=1e-12)
    assert linear(x.astype(np.float32), weight.astype(np.float32)).dtype == np.float32
    assert linear([[1, 2]], [[3, 4]]).dtype == np.float64


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3)])
def test_the_working_adds_up(random, assert_adds_up, shape):
    x, grad = random.normal(size=shape), random.normal(size=(*shape[:-1], 4))
    parameters = {"weight": random.normal(size=(4, 3)), "bias": random.normal(size=4)}
    op = Linear()
    position = (*(length - 1 for length in shape[:-1]), 2)
    assert_adds_up(op.working(position, x, **parameters), op.forward(x, **parameters)[position])
    gradients = op.backward(grad, x, **parameters)
    at = tuple(length - 1 for length in shape)
    assert_adds_up(op.gradient_working("input", at, grad, x, **parameters), gradients.inputs[0][at])
    for name, at in (("weight", (1, 2)), ("bias", (3,))):
        assert_adds_up(op.gradient_working(name, at, grad, x, **parameters), gradients.parameters[name][at])
    with pytest.raises(UsageError, match="`of` must be something this operation has a gradient for, got 'wait'"):
        op.gradient_working("wait", (0, 0), grad, x, **parameters)


def test_the_working_of_an_exercise():
    # Source: 0.5 x 2 + (-1) x 3 + 0.25 = -1.75, by hand.
    working = Linear().working((0, 0), np.array([[2.0, 3.0]]), weight=np.array([[0.5, -1.0]]), bias=np.array([0.25]))
    assert working.value == -1.75
    assert "y = 0.5 x 2 + (-1) x 3 + 0.25 = -1.75" in str(working)


def test_counts():
    # Source: the first layer of 784-128-64-10 has 784 x 128 weights, each met once per image.
    assert Linear().macs((32, 784), weight=(128, 784)) == 32 * 784 * 128
    assert Linear().flops((1, 784), weight=(128, 784)) == 2 * 784 * 128
    assert Linear().reads(np.array([3]), axis=0, size=5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 400), (120, 256)), r"`x` must have in_features = 256 values in its last axis, got shape \(2, 400\)"),
        (((2, 4), (3, 4, 1)), r"`weight` must have 2 axes \(out_features, in_features\), got \(3, 4, 1\)"),
        (((2, 4), (3, 4), (4,)), r"`bias` must have one value an output, \(3,\), got \(4,\)"),
        (((), (3, 4)), r"`x` must have in_features = 4 values"),
    ],
)
def test_errors(shapes, message):
    with pytest.raises(UsageError, match=message):
        linear(*(np.zeros(shape) for shape in shapes))


def test_other_errors():
    with pytest.raises(UsageError, match="`x` must hold real numbers, got complex128"):
        linear(np.zeros((1, 2), dtype=complex), np.zeros((1, 2)))
    with pytest.raises(UsageError, match=r"`grad_output` must have the output's shape \(2, 3\), got \(2, 4\)"):
        linear_backward(np.zeros((2, 4)), np.zeros((2, 5)), np.zeros((3, 5)))
