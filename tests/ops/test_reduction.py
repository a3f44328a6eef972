"""Mean, sum, product, largest and smallest value over axes: PyTorch, ties, zeros, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops import reduction as ops

SHAPE = (2, 3, 4, 5)
TABLE = [
    (ops.mean, ops.mean_backward, ops.Mean, torch.mean),
    (ops.sum, ops.sum_backward, ops.Total, torch.sum),
    (ops.amax, ops.amax_backward, ops.Amax, torch.amax),
    (ops.amin, ops.amin_backward, ops.Amin, torch.amin),
    (ops.prod, ops.prod_backward, ops.Prod, lambda x, *, dim, keepdim: _product(x, dim, keepdim=keepdim)),
]


def _product(x, dim, *, keepdim):
    """PyTorch multiplies over one axis at a time."""
    dims = (dim,) if isinstance(dim, int) else dim
    for axis in dims:
        x = x.prod(axis, keepdim=True)
    return x if keepdim else x.reshape([n for i, n in enumerate(x.shape) if i not in {axis % 4 for axis in dims}])


@pytest.fixture(params=TABLE, ids=[row[2].name for row in TABLE])
def row(request):
    return request.param


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (2, 3), (3, 0), (-2,)], ids=str)
def test_equals_pytorch(row, axis, keepdim, random, assert_adds_up):
    forward, backward, kind, reference = row
    x = random.normal(size=SHAPE).round(1)  # rounded, so that some largest values are ties
    dims = tuple(range(4)) if axis is None else axis
    tensor = torch.tensor(x, requires_grad=True)
    y = reference(tensor, dim=dims, keepdim=keepdim)
    gradient = random.normal(size=tuple(y.shape))
    y.backward(torch.tensor(gradient))
    y = y.detach().numpy()
    assert np.abs(forward(x, axis=axis, keepdim=keepdim) - y).max() < 1e-12
    grad_input = backward(gradient, x, axis=axis, keepdim=keepdim)
    assert np.abs(grad_input - tensor.grad.numpy()).max() < 1e-10
    axes = tuple(sorted(a % 4 for a in np.atleast_1d(dims)))
    op = kind(axes, keepdim)
    assert op.output_shape(SHAPE) == y.shape
    last = tuple(n - 1 for n in y.shape)
    assert_adds_up(op.working(last, x), y[last])
    assert_adds_up(op.gradient_working("input", (1, 2, 3, 4), gradient, x), grad_input[1, 2, 3, 4])


def test_gradient_equals_differences(row, random, finite_difference, assert_close_to_differences):
    forward, backward, _, _ = row
    x, gradient = random.normal(size=(3, 4)), random.normal(size=3)
    differences = finite_difference(lambda z: forward(z, axis=1), x, gradient)
    assert_close_to_differences(backward(gradient, x, axis=1), differences)


def test_forms_of_input(row, random):
    forward, backward, kind, _ = row
    x = np.asfortranarray(random.normal(size=SHAPE))[:, ::-1]
    assert np.allclose(forward(x, axis=(1, 2)), forward(x.copy(), axis=(1, 2)), atol=1e-14)
    single = x.astype(np.float32)
    assert forward(single).dtype == backward(np.float32(1), single).dtype == np.float32
    assert forward(3).shape == ()
    assert kind((2, 3)).flops(SHAPE) == 120
    assert kind((2,)).reads(np.array([1]), axis=0, size=4).tolist() == [0, 1, 2, 3]
    assert kind((2,)).reads(np.array([1]), axis=1, size=5).tolist() == [1]


def test_global_average_pooling_of_googlenet():
    # 001-googlenet-flatten: 7 x 7 x 1024 becomes 1,024 numbers.
    assert ops.Mean((2, 3)).output_shape((1, 1024, 7, 7)) == (1, 1024)


@pytest.mark.parametrize("zeros", [(), (1,), (0, 3)])
def test_product_with_zeros_equals_pytorch(zeros):
    # A quotient y / x would be nan at the zeros; with one zero the others get 0, with two all do.
    x = np.array([2.0, -3.0, 0.5, 4.0])
    x[list(zeros)] = 0
    tensor = torch.tensor(x, requires_grad=True)
    tensor.prod().backward()
    assert np.allclose(ops.prod_backward(1.0, x), tensor.grad.numpy(), rtol=1e-14)


def test_working_as_text():
    x = np.array([[1.0, 2], [3, 6]])
    assert "y = 1 x 2 x 3 x 6 = 36" in str(ops.Prod((0, 1)).working((), x))
    long = str(ops.Prod((0,)).working((), np.full(30, -1.234567)))
    assert f"y = product of 30 values = {1.234567**30:.6g}" in long
    smallest = str(ops.Amin((2, 3)).working((0, 0), x[None, None]))
    assert "smallest: x[0, 0, 0, 0] = 1" in smallest
    assert str(ops.Mean((0, 1)).working((), x)).splitlines() == [
        "mean at []",
        "  y = sum of x / number of values",
        "  sum = 1 + 2 + 3 + 6 = 12",
        "  y = 12 / 4 = 3",
    ]
    largest = str(ops.Amax((2, 3)).working((0, 0), x[None, None]))
    assert "largest: x[0, 0, 1, 1] = 6" in largest
    assert "[6]" in largest
    assert "dL/dx = 2 x 0.25 = 0.5" in str(ops.Mean((0, 1)).gradient_working("input", (0, 1), np.array(2.0), x))


def test_messages():
    with pytest.raises(UsageError, match=r"mean: `axis` must be a whole number from -2 to 1, got 2"):
        ops.mean([[1.0]], axis=2)
    with pytest.raises(UsageError, match=r"sum: `axis` must name each axis once, got \(0, -2\)\. Leave the repeated"):
        ops.sum([[1.0]], axis=(0, -2))
    with pytest.raises(UsageError, match=r"amax: `x` must have values along the axes \(0,\), got shape \(0, 3\)"):
        ops.amax(np.ones((0, 3)), axis=0)
    with pytest.raises(UsageError, match=r"mean_backward: `grad_output` must have the output's shape \(\), got \(1,\)"):
        ops.mean_backward([1.0], [1.0, 2.0])
    with pytest.raises(UsageError, match=r"mean: `of` must be"):
        ops.Mean((0,)).gradient_working("weight", (0,), np.array(1.0), np.ones(2))
