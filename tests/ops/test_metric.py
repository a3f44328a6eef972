"""Accuracy, top-k error and RMSE: by hand, by torch.topk, ties, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops.metric import accuracy, rmse, top_k_error


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_top_k_error_equals_topk_of_pytorch(k, random):
    logits, targets = random.normal(size=(200, 9)), random.integers(0, 9, size=200)
    guesses = torch.tensor(logits).topk(k).indices.numpy()
    expected = 1 - np.mean([target in row for target, row in zip(targets, guesses, strict=True)])
    assert abs(top_k_error(logits, targets, k=k) - expected) < 1e-12
    if k == 1:
        assert abs(accuracy(logits, targets) - np.mean(logits.argmax(axis=1) == targets)) < 1e-12


def test_ties_go_to_the_lowest_class():
    same = np.zeros((3, 3))
    assert accuracy(same, [0, 1, 2]) == 1 / 3
    assert [top_k_error(same, [2, 2, 2], k=k) for k in (1, 2, 3)] == [1, 1, 0]


def test_not_a_number_counts_against_the_network():
    assert accuracy([[np.nan, 1.0], [np.nan, 1.0]], [0, 1]) == 0


def test_rmse_by_hand(random):
    assert rmse([1, 2, 3], [1, 2, 6]) == pytest.approx(3**0.5, rel=1e-15)
    y, t = random.normal(size=(4, 6)), random.normal(size=(4, 6))
    assert rmse(y[::2, ::-1], t[::2, ::-1]) == pytest.approx(np.sqrt(((y - t)[::2] ** 2).mean()), rel=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: accuracy([1.0, 2.0], [0]), r"accuracy: `logits` must have 2 axes \(N, K\).* got \(2,\)"),
        (lambda: accuracy(np.zeros((0, 2)), []), r"accuracy: `logits` must have .* at least one sample, got \(0, 2\)"),
        (lambda: accuracy([[1.0, 2.0]], [2]), r"accuracy: `targets` must be from 0 to 1, got 2"),
        (
            lambda: accuracy([[1.0, 2.0]], [[0, 1]]),
            r"accuracy: `targets` must be one class a sample, \(1,\), .* argmax",
        ),
        (
            lambda: top_k_error([[1.0, 2.0]], [0], k=3),
            r"top_k_error: `k` must be from 1 to the number of classes, 2, got 3",
        ),
        (
            lambda: rmse([1.0], [[1.0]]),
            r"rmse: `targets` must have the shape of the predictions .* got \(1, 1\) for \(1,\)",
        ),
        (lambda: rmse([], []), r"rmse: `targets` must have .* at least one value"),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
