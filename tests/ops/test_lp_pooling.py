from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops import lp_pooling
from striate.ops._pooling import parse
from striate.ops.average_pooling import sum_pool2d
from striate.ops.lp_pooling import LpPool, lp_pool2d, lp_pool2d_backward

# dims, norm_type, kernel_size, stride, ceil_mode, sizes
SETTINGS = [
    (1, 2, 3, 2, False, (7,)),
    (1, 2, 2, 3, True, (9,)),
    (2, 2, 2, None, False, (5, 7)),
    (2, 4, 3, 2, True, (6, 7)),
    (2, 1, (3, 2), (1, 2), False, (7, 6)),
    (2, 2.5, 3, 1, False, (5, 5)),
    (3, 2, 2, 2, True, (5, 3, 4)),
    (3, 3, (1, 3, 2), (1, 2, 1), False, (3, 6, 5)),
]


@pytest.mark.parametrize(("dims", "p", "kernel", "stride", "ceil_mode", "sizes"), SETTINGS)
def test_forward_and_backward_are_pytorchs(random, dims, p, kernel, stride, ceil_mode, sizes):
    # Positive values where the root of a sum of odd or fractional powers would be NaN.
    x = random.normal(size=(2, 3, *sizes)) if p in (2, 4) else random.uniform(0.1, 2, (2, 3, *sizes))
    tensor = torch.tensor(x, requires_grad=True)
    expected = getattr(F, f"lp_pool{dims}d")(tensor, p, kernel, stride=stride, ceil_mode=ceil_mode)
    y = getattr(lp_pooling, f"lp_pool{dims}d")(x, p, kernel, stride=stride, ceil_mode=ceil_mode)
    assert np.abs(y - expected.detach().numpy()).max() < 1e-12
    grad_output = random.normal(size=y.shape)
    expected.backward(torch.tensor(grad_output))
    backward = getattr(lp_pooling, f"lp_pool{dims}d_backward")
    gradient = backward(grad_output, x, p, kernel, stride=stride, ceil_mode=ceil_mode)
    assert np.abs(gradient - tensor.grad.numpy()).max() < 1e-10


def test_powers_keep_their_sign_unless_told():
    x = np.array([[-1.0, -2.0], [1.0, -2.0]])[None, None]
    assert np.isnan(lp_pool2d(x, 3, 2)).all()  # the cube root of -16, NaN in PyTorch as well
    assert torch.isnan(F.lp_pool2d(torch.tensor(x), 3, 2)).all()
    assert abs(lp_pool2d(x, 3, 2, absolute=True).item() - np.linalg.norm(x.ravel(), 3)) < 1e-12
    assert lp_pool2d(x, 1, 2).item() == sum_pool2d(x, 2).item() == -4
    assert lp_pool2d(x, 1, 2, absolute=True).item() == 6


def test_known_values():
    assert lp_pool2d([[[[3.0, 4.0], [0.0, 12.0]]]], 2, 2).item() == 13  # 9 + 16 + 144 = 169
    # Two of four pixels lie inside: the sum 25 counts twice.
    assert abs(lp_pool2d([[[[0.0, 0.0, 3.0], [0.0, 0.0, 4.0]]]], 2, 2, ceil_mode=True)[0, 0, 0, 1] - 50**0.5) < 1e-12
    # The larger p, the nearer the largest value.
    assert abs(lp_pool2d([[[[3.0, 4.0], [0.0, 12.0]]]], 200, 2).item() - 12) < 1e-9


@pytest.mark.parametrize(("p", "absolute"), [(2, False), (2, True), (3, True), (1, True), (1.5, True)])
def test_finite_differences(random, finite_difference, assert_close_to_differences, p, absolute):
    x, grad_output = random.normal(size=(1, 2, 6, 5)), random.normal(size=(1, 2, 3, 3))
    options = {"stride": 2, "ceil_mode": True, "absolute": absolute}
    differences = finite_difference(lambda x: lp_pool2d(x, p, 2, **options), x, grad_output)
    assert_close_to_differences(lp_pool2d_backward(grad_output, x, p, 2, **options), differences)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("x", [[[0.0, 0.0], [0.0, 0.0]], [[1.0, -1.0], [0.0, 0.0]]])
def test_where_the_norm_is_zero_the_gradient_is_pytorchs_zero(p, x):
    tensor = torch.tensor([[x]], dtype=torch.float64, requires_grad=True)
    y = F.lp_pool2d(tensor, p, 2)
    y.backward(torch.ones(1, 1, 1, 1, dtype=torch.float64))
    gradient = lp_pool2d_backward(np.ones((1, 1, 1, 1)), [[x]], p, 2)
    assert np.abs(gradient - tensor.grad.numpy()).max() < 1e-12
    assert (gradient == 0).all() or y.item() != 0


def test_layouts_and_formats(random):
    x = random.normal(size=(7, 6, 3, 2)).transpose(3, 2, 0, 1).astype(np.float32)
    y = lp_pool2d(x, 2, 3, stride=2, ceil_mode=True)
    assert y.dtype == lp_pool2d_backward(y, x, 2, 3, stride=2, ceil_mode=True).dtype == np.float32
    assert (y == lp_pool2d(x.copy(), 2, 3, stride=2, ceil_mode=True)).all()


@pytest.mark.parametrize(("dims", "p", "kernel", "stride", "ceil_mode", "sizes"), SETTINGS[1::2])
@pytest.mark.parametrize("absolute", [False, True])
def test_working(random, assert_adds_up, dims, p, kernel, stride, ceil_mode, sizes, absolute):
    x = random.uniform(-1 if absolute else 0.1, 1, (2, 2, *sizes))
    words = {"dims": dims, "kernel_size": kernel, "stride": stride, "padding": 0}
    op = LpPool(**parse("test", x.shape, **words), ceil_mode=ceil_mode, norm_type=p, absolute=absolute)
    y = op.forward(x)
    grad_output = random.normal(size=y.shape)
    gradient = op.backward(grad_output, x).inputs[0]
    for place in itertools.islice(np.ndindex(*y.shape), 0, None, 9):
        assert_adds_up(op.working(place, x), y[place])
    for place in itertools.islice(np.ndindex(*x.shape), 0, None, 9):
        assert_adds_up(op.gradient_working("input", place, grad_output, x), gradient[place])


def test_working_shows_squares_and_scale():
    op = LpPool((2,), (2,), ((0, 0),), (1,), True, norm_type=2.0)
    text = str(op.working((0, 0, 1), np.array([[[1.0, 2.0, 3.0]]])))
    assert "y[i] = (sum over a of x[2i+a]^2)^(1/2)" in text
    assert "3 x 3 = 9" in text
    assert "its sum counts 2 times" in text
    assert "y = (9 x 2)^(1/2) = 4.24264" in text


def test_costs():
    op = LpPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))
    assert (op.name, op.macs((1, 4, 8, 8)), op.flops((1, 4, 8, 8))) == ("lp_pool2d", 0, 4 * 16 * 8)


@pytest.mark.parametrize("p", [0, -1, float("inf"), float("nan"), "2"])
def test_errors(p):
    with pytest.raises(UsageError, match="lp_pool2d: `norm_type` must be a finite number above 0, got"):
        lp_pool2d(np.zeros((1, 1, 4, 4)), p, 2)
