from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops.local_response import LocalResponseNorm, local_response_norm, local_response_norm_backward

STRONG = {"alpha": 0.7, "beta": 0.6, "k": 1.5}
# size, shape: odd and even windows, wider than the channels, 3 to 5 axes
SETTINGS = [(5, (2, 8, 3, 4)), (4, (2, 7, 5)), (1, (1, 3, 2, 2)), (6, (2, 3, 2, 2)), (2, (1, 5, 2, 1, 2))]


@pytest.mark.parametrize(("size", "shape"), SETTINGS)
@pytest.mark.parametrize("options", [STRONG, {}])
def test_forward_and_backward_are_pytorchs(random, size, shape, options):
    x, grad_output = random.normal(size=shape), random.normal(size=shape)
    tensor = torch.tensor(x, requires_grad=True)
    expected = F.local_response_norm(tensor, size, **options)
    assert np.abs(local_response_norm(x, size, **options) - expected.detach().numpy()).max() < 1e-12
    expected.backward(torch.tensor(grad_output))
    gradient = local_response_norm_backward(grad_output, x, size, **options)
    assert np.abs(gradient - tensor.grad.numpy()).max() < 1e-10


def test_naive_loop_with_the_constants_of_alexnets_paper(random):
    # Krizhevsky et al. 2012, section 3.3: a / (k + alpha sum a^2)^beta over n = 5 neighbours, alpha not divided by n.
    a = random.normal(size=(9,)) * 30
    y = local_response_norm(a[None, :, None], 5, k=2.0, alpha=5 * 1e-4, beta=0.75)
    for i in range(9):
        total = sum(a[j] ** 2 for j in range(max(0, i - 2), min(8, i + 2) + 1))
        assert abs(y[0, i, 0] - a[i] / (2 + 1e-4 * total) ** 0.75) < 1e-12


@pytest.mark.parametrize(("size", "shape"), SETTINGS)
def test_finite_differences(random, finite_difference, assert_close_to_differences, size, shape):
    x, grad_output = random.normal(size=shape), random.normal(size=shape)
    differences = finite_difference(lambda x: local_response_norm(x, size, **STRONG), x, grad_output)
    assert_close_to_differences(local_response_norm_backward(grad_output, x, size, **STRONG), differences)


def test_a_loud_neighbour_makes_quiet():
    quiet, loud = [[[1.0], [0.0], [0.0]]], [[[1.0], [9.0], [0.0]]]
    options = {"alpha": 3.0, "k": 1.0}
    assert local_response_norm(quiet, 3, **options)[0, 0, 0] > 10 * local_response_norm(loud, 3, **options)[0, 0, 0]


def test_layouts_and_formats(random):
    x = random.normal(size=(7, 6, 3, 2)).transpose(3, 2, 0, 1).astype(np.float32)
    y = local_response_norm(x, 3)
    assert y.dtype == local_response_norm_backward(y, x, 3).dtype == np.float32
    assert (y == local_response_norm(x.copy(), 3)).all()


@pytest.mark.parametrize(("size", "shape"), SETTINGS)
def test_working(random, assert_adds_up, size, shape):
    x, grad_output = random.normal(size=shape), random.normal(size=shape)
    op = LocalResponseNorm(size, **STRONG)
    y, gradient = op.forward(x), op.backward(grad_output, x).inputs[0]
    for place in itertools.islice(np.ndindex(*shape), 0, None, 7):
        assert_adds_up(op.working(place, x), y[place])
        assert_adds_up(op.gradient_working("input", place, grad_output, x), gradient[place])


def test_working_shows_the_window():
    # By hand: 9 + 16 = 25, d = 7 + 2 / 2 x 25 = 32, y = 4 / 32.
    op = LocalResponseNorm(2, alpha=2.0, beta=1.0, k=7.0)
    text = str(op.working((0, 1, 0), np.array([[[3.0], [4.0]]])))
    assert "window of 2: channels 0 to 1 of 2" in text
    assert "sum of squares = 3 x 3 + 4 x 4 = 25" in text
    assert "d = 7 + 2 / 2 x 25 = 32" in text
    assert "y = 4 / 32 = 0.125" in text
    assert "1 more would lie outside" in str(op.working((0, 0, 0), np.array([[[3.0], [4.0]]])))


def test_costs():
    op = LocalResponseNorm(5)
    assert (op.macs((2, 8, 3, 3)), op.flops((2, 8, 3, 3))) == (0, 9 * 144)
    assert op.reads(np.array([2]), axis=0, size=3).tolist() == [2]


def test_errors():
    x = np.zeros((1, 3, 2))
    with pytest.raises(
        UsageError, match=r"local_response_norm: `x` must have at least 3 axes \(N, C, ...\), got shape"
    ):
        local_response_norm(x[0], 3)
    with pytest.raises(
        UsageError, match="local_response_norm: `size` must be a whole number of channels from 1 on, got 0"
    ):
        local_response_norm(x, 0)
    with pytest.raises(UsageError, match=r"`k` must be above 0 and `alpha` at least 0.*got k=0, alpha=0.0001"):
        local_response_norm(x, 3, k=0)
    with pytest.raises(UsageError, match="local_response_norm_backward: `grad_output` must have the output's shape"):
        local_response_norm_backward(np.zeros((1, 3, 1)), x, 3)
    with pytest.raises(UsageError, match="`of` must be something this operation has a gradient for, got 'weight'"):
        LocalResponseNorm(3).gradient_working("weight", (0,), x, x)
