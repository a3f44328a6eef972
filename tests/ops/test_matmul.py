"""Matrix product: PyTorch with broadcasting, naive sums, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops.matmul import Matmul, matmul, matmul_backward

SHAPES = [((2, 3), (3, 4)), ((5, 2, 3), (5, 3, 1)), ((2, 3), (5, 3, 4)), ((4, 1, 2, 3), (5, 3, 2))]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_equals_pytorch(shapes, random, assert_adds_up):
    a, b = (random.normal(size=shape) for shape in shapes)
    x, other = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    y = x @ other
    gradient = random.normal(size=tuple(y.shape))
    y.backward(torch.tensor(gradient))
    assert np.abs(matmul(a, b) - y.detach().numpy()).max() < 1e-12
    gradients = matmul_backward(gradient, a, b)
    for ours, tensor in zip(gradients, (x, other), strict=True):
        assert np.abs(ours - tensor.grad.numpy()).max() < 1e-10
    op = Matmul()
    assert op.output_shape(*shapes) == tuple(y.shape)
    assert op.macs(*shapes) == y.numel() * 3
    last = tuple(n - 1 for n in y.shape)
    assert_adds_up(op.working(last, a, b), y.detach().numpy()[last])
    for of, grad in zip(("input", "input1"), gradients, strict=True):
        last = tuple(n - 1 for n in grad.shape)
        assert_adds_up(op.gradient_working(of, last, gradient, a, b), grad[last])


def test_gradient_equals_differences(random, finite_difference, assert_close_to_differences):
    a, b, gradient = random.normal(size=(2, 3)), random.normal(size=(5, 3, 2)), random.normal(size=(5, 2, 2))
    grad_a, grad_b = matmul_backward(gradient, a, b)
    assert_close_to_differences(grad_a, finite_difference(lambda z: matmul(z, b), a, gradient))
    assert_close_to_differences(grad_b, finite_difference(lambda z: matmul(a, z), b, gradient))


def test_by_the_definition_and_forms_of_input(random):
    a, b = random.normal(size=(3, 4)).T, random.normal(size=(5, 3)).T[::-1]
    naive = [[sum(a[n, k] * b[k, m] for k in range(3)) for m in range(5)] for n in range(4)]
    assert np.allclose(matmul(a, b), naive, atol=1e-14)
    single = np.ones((2, 2), dtype=np.float32)
    assert matmul(single, single).dtype == np.float32
    assert Matmul().reads(np.array([1]), axis=0, size=3).tolist() == [0, 1, 2]
    assert "y = 1 x 3 + 2 x 4 = 11" in str(Matmul().working((0, 0), np.array([[1.0, 2]]), np.array([[3.0], [4]])))


def test_messages():
    with pytest.raises(
        UsageError, match=r"matmul: `other` must have 2 axes or more and as many rows as x \(2, 3\) has"
    ):
        matmul(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(
        UsageError, match=r"matmul: `other` must have 2 axes .* got \(3,\)\. Transpose it, or add an axis"
    ):
        matmul(np.ones((2, 3)), np.ones(3))
    with pytest.raises(UsageError, match=r"matmul: `other` must have the shape \(4,\), or lengths of 1"):
        matmul(np.ones((4, 2, 3)), np.ones((5, 3, 2)))
    with pytest.raises(UsageError, match=r"matmul_backward: `grad_output` must have the output's shape \(1, 1\)"):
        matmul_backward([1.0], [[1.0]], [[1.0]])
    with pytest.raises(UsageError, match=r"matmul: `of` must be"):
        Matmul().gradient_working("weight", (0, 0), *[np.ones((1, 1))] * 3)
