"""Fans, Glorot and He: PyTorch's fans, bounds and variances, what they keep, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops import initialization as ops
from striate.ops.activation import relu

SHAPES = [(10, 784), (16, 6, 5, 5), (8, 1, 3), (4, 2, 3, 3, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fans_equal_pytorch(shape):
    assert ops.fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@pytest.mark.parametrize("shape", [(300, 200), (64, 32, 3, 3)], ids=str)
@pytest.mark.parametrize(
    ("draw", "options", "variance"),
    [
        (ops.glorot_uniform, {}, lambda n_in, n_out: 2 / (n_in + n_out)),
        (ops.glorot_normal, {"gain": 1.5}, lambda n_in, n_out: 1.5**2 * 2 / (n_in + n_out)),
        (ops.he_uniform, {}, lambda n_in, n_out: 2 / n_in),
        (ops.he_normal, {"negative_slope": 0.5}, lambda n_in, n_out: 2 / (1.25 * n_in)),
    ],
)
def test_variance(draw, options, variance, shape, random):
    weight = draw(shape, generator=random, **options)
    expected = variance(*ops.fans(shape))
    assert weight.shape == shape
    # 18,432 numbers and more: the variance of a sample lies within 4 % of the true one (4 standard deviations).
    assert abs(weight.var() / expected - 1) < 0.05
    assert abs(weight.mean()) < 4 * np.sqrt(expected / weight.size)
    if draw in (ops.glorot_uniform, ops.he_uniform):
        bound = np.sqrt(3 * expected)
        assert 0.99 * bound < np.abs(weight).max() <= bound


@pytest.mark.parametrize(
    ("draw", "reference"),
    [(ops.glorot_uniform, torch.nn.init.xavier_uniform_), (ops.he_uniform, torch.nn.init.kaiming_uniform_)],
)
def test_bound_equals_pytorch(draw, reference, random):
    tensor = torch.empty(300, 400)
    options = {"nonlinearity": "relu"} if draw is ops.he_uniform else {}
    reference(tensor, **options, generator=torch.Generator().manual_seed(0))
    ours = np.abs(draw((300, 400), generator=random)).max()
    assert abs(ours / tensor.abs().max().item() - 1) < 1e-3  # both maxima lie within 1e-4 of the bound


def test_he_keeps_the_size_of_signals_through_relu_and_glorot_halves_it(random):
    # With He a layer doubles the mean square and ReLU halves it; Glorot's variance is half as large for equal fans, so
    # that 2^-10 is left after 10 layers.
    he = glorot = random.normal(size=(200, 500))
    for _ in range(10):
        he = relu(he @ ops.he_normal((500, 500), generator=random).T)
        glorot = relu(glorot @ ops.glorot_normal((500, 500), generator=random).T)
    assert 0.5 < (he**2).mean() < 2
    assert 0.5 < (glorot**2).mean() * 2**10 < 2


def test_the_same_generator_gives_the_same_weights():
    first, second = (ops.he_normal((3, 4), generator=np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, second)


def test_messages():
    for shape in [(5,), (3, 0)]:
        with pytest.raises(UsageError, match=r"fans: `shape` must have 2 axes or more, none of length 0, got"):
            ops.fans(shape)
    with pytest.raises(UsageError, match=r"fans: `shape` must .* Biases have no fans: start them at 0\."):
        ops.he_normal((5,), generator=np.random.default_rng(0))
