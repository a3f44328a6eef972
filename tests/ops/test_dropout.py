from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops.dropout import Dropout, dropout, dropout_backward, dropout_mask


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_forward_and_backward_are_pytorchs_under_its_mask(random, p):
    x, grad_output = random.normal(size=(4, 3, 5, 5)), random.normal(size=(4, 3, 5, 5))
    torch.manual_seed(0)
    tensor = torch.tensor(x, requires_grad=True)
    expected = F.dropout(tensor, p)
    expected.backward(torch.tensor(grad_output))
    mask = (expected != 0).numpy()
    assert np.abs(dropout(x, p=p, mask=mask) - expected.detach().numpy()).max() < 1e-12
    assert np.abs(dropout_backward(grad_output, x, p=p, mask=mask) - tensor.grad.numpy()).max() < 1e-10


def test_inference_changes_nothing(random):
    x = random.normal(size=(4, 3))
    assert (dropout(x, p=0.5, training=False) == x).all()
    assert (dropout_backward(x, x, p=0.5, training=False) == x).all()


def test_known_values():
    assert dropout([1.0, 2.0, 3.0], p=0.75, mask=[1, 0, 1]).tolist() == [4, 0, 12]  # 1 / (1 - 0.75) = 4


@pytest.mark.parametrize("whole_channels", [False, True])
def test_finite_differences(random, finite_difference, assert_close_to_differences, whole_channels):
    x, grad_output = random.normal(size=(3, 4, 2, 2)), random.normal(size=(3, 4, 2, 2))
    options = {"p": 0.4, "seed": 3, "whole_channels": whole_channels}
    differences = finite_difference(lambda x: dropout(x, **options), x, grad_output)
    assert_close_to_differences(dropout_backward(grad_output, x, **options), differences)


def test_mask_is_a_fair_coin():
    # 100,000 draws: the share deviates by 0.0015 (one standard deviation); five of them are allowed.
    for p, seed in itertools.product((0.1, 0.5, 0.8), (0, 1, -7)):
        mask = dropout_mask((100, 1000), p=p, seed=seed)
        assert abs(mask.mean() - (1 - p)) < 5 * (p * (1 - p) / 1e5) ** 0.5
    first, second = (dropout_mask((10_000,), seed=seed) for seed in (0, 1))
    assert abs((first == second).mean() - 0.5) < 0.025  # seeds are independent
    assert abs((first[1:] == first[:-1]).mean() - 0.5) < 0.025  # and so are neighbours


def _split_mix(state: int) -> int:
    """Return the output of SplitMix64 from a state, in Python's integers (Vigna's reference code, splitmix64.c)."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def test_mask_is_split_mix_of_seed_and_index():
    assert _split_mix(0) == 0xE220A8397B1DCDAF  # the first output of the reference code from 0
    key = _split_mix(5)
    draws = [_split_mix((key + i * 0x9E3779B97F4A7C15) % 2**64) / 2**64 for i in range(12)]
    assert dropout_mask((12,), p=0.4, seed=5).tolist() == [draw >= 0.4 for draw in draws]
    assert (dropout_mask((3, 4), seed=5).ravel() == dropout_mask((12,), seed=5)).all()
    assert (dropout_mask((12,), seed=5)[:7] == dropout_mask((7,), seed=5)).all()
    assert (dropout_mask((12,), seed=2**64 + 5) == dropout_mask((12,), seed=5)).all()


def test_whole_channels_are_silenced_together(random):
    x = random.uniform(1, 2, (50, 20, 3, 3))
    y = dropout(x, p=0.3, seed=4, whole_channels=True)
    silenced = (y == 0).all(axis=(2, 3))
    assert (silenced == (y == 0).any(axis=(2, 3))).all()
    assert abs(silenced.mean() - 0.3) < 0.07
    assert dropout_mask(x.shape, p=0.3, seed=4, whole_channels=True).shape == (50, 20, 1, 1)


def test_expectation_is_kept(random):
    x = random.normal(size=(2, 3))
    mean = np.mean([dropout(x, p=0.5, seed=seed) for seed in range(4000)], axis=0)
    assert np.abs(mean - x).max() < 5 * np.abs(x).max() / 4000**0.5


def test_layouts_and_formats(random):
    x = random.normal(size=(7, 6, 3, 2)).transpose(3, 2, 0, 1).astype(np.float32)
    y = dropout(x, p=0.3)
    assert y.dtype == dropout_backward(y, x, p=0.3).dtype == dropout(x, p=0.3, training=False).dtype == np.float32
    assert (y == dropout(x.copy(), p=0.3)).all()


@pytest.mark.parametrize(
    "op", [Dropout(0.4), Dropout(0.4, whole_channels=True, seed=2), Dropout(training=False), Dropout(1.0), Dropout(0.0)]
)
@pytest.mark.parametrize("is_given", [False, True])
def test_working(random, assert_adds_up, op, is_given):
    x, grad_output = random.normal(size=(2, 3, 4)), random.normal(size=(2, 3, 4))
    parameters = {"mask": random.integers(0, 2, (2, 3, 1)).astype(float)} if is_given else {}
    y, gradient = op.forward(x, **parameters), op.backward(grad_output, x, **parameters).inputs[0]
    for place in itertools.islice(np.ndindex(*x.shape), 0, None, 3):
        assert_adds_up(op.working(place, x, **parameters), y[place])
        assert_adds_up(op.gradient_working("input", place, grad_output, x, **parameters), gradient[place])


def test_working_says_what_was_drawn():
    x = np.array([4.0, 4.0])
    # The mask of seed 1 begins with 0, 1 (see the example of dropout_mask).
    silenced, kept = (str(Dropout(0.5, seed=1).working((i,), x)) for i in range(2))
    assert "< p = 0.5, so it is silenced" in silenced
    assert "y = 0 x 4 = 0" in silenced
    assert ">= p = 0.5, so it stays; 1 / (1 - p) = 2" in kept
    assert "y = 2 x 4 = 8" in kept
    assert "inference: nothing is silenced" in str(Dropout(training=False).working((0,), x))


def test_costs():
    assert (Dropout().flops((2, 3)), Dropout(training=False).flops((2, 3)), Dropout().macs((2, 3))) == (6, 0, 0)


ERRORS = [
    ({"p": 1.5}, "dropout: `p` must be a probability from 0 to 1, got 1.5"),
    ({"p": float("nan")}, "dropout: `p` must be a probability from 0 to 1, got nan"),
    ({"seed": 0.5}, "dropout: `seed` must be a whole number, got 0.5"),
    ({"mask": [0, 2, 1]}, "dropout: `mask` must hold 0 and 1 only, got values from 0 to 2"),
    ({"mask": [0, 1]}, r"dropout: `mask` must have the shape of x, \(4, 3\), or 1 along some axes, got \(2,\)"),
    ({"mask": np.ones((1, 4, 3))}, "dropout: `mask` must have the shape of x"),
    ({"whole_channels": True}, r"dropout: `x` must have at least 3 axes \(N, C, ...\) with whole_channels, got"),
]


@pytest.mark.parametrize(("changed", "message"), ERRORS)
def test_errors(changed, message):
    with pytest.raises(UsageError, match=message):
        dropout(np.ones((4, 3)), **changed)


def test_errors_of_gradients():
    with pytest.raises(UsageError, match="dropout_backward: `grad_output` must have the output's shape"):
        dropout_backward(np.ones(3), np.ones(4))
    with pytest.raises(UsageError, match="`of` must be something this operation has a gradient for, got 'mask'"):
        Dropout().gradient_working("mask", (0,), np.ones(3), np.ones(3))
