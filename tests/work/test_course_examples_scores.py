"""The worked numbers of the course texts: probabilities, losses, entropies, encodings, activations, dense layers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from striate import ops, work
from striate.errors import UsageError

GROUP = "scores"


def softmax(*, scores: str) -> Any:
    return work.softmax(scores).value


def exponentials(*, scores: str) -> Any:
    # Beside a score of 0 the odds of softmax are the exponential.
    pairs = [ops.softmax([score, 0.0]) for score in work.parse_array(scores)]
    return [float(first / second) for first, second in pairs]


def plain_normalisation(*, scores: str) -> Any:
    answer = work.softmax(scores)
    np.testing.assert_array_equal(answer.numbers["normalized"], ops.normalize(work.parse_array(scores)))
    assert answer.value.min() > 0
    return {"normalized": answer.numbers["normalized"], "softmax": answer.value}


def cross_entropy(*, target: str, probabilities: str, base: float, misprint: str | None = None) -> Any:
    if misprint is not None:
        with pytest.raises(UsageError, match=r"`predictions` must sum to 1 over the last axis, got 1\.01"):
            work.cross_entropy(misprint, target, probabilities=True, base=base)
    return work.cross_entropy(probabilities, target, probabilities=True, base=base).value


def losses_fall(*, probabilities: list[float], base: float) -> Any:
    losses = [cross_entropy(target="1 0", probabilities=f"{p} {1 - p}", base=base) for p in probabilities]
    return all(later < earlier for earlier, later in itertools.pairwise(losses))


def entropy(*, p: str, base: float) -> Any:
    return float(ops.entropy(work.parse_array(p), base=base))


def entropies_rise(*, p: list[str], base: float) -> Any:
    entropies = [entropy(p=text, base=base) for text in p]
    return all(later > earlier for earlier, later in itertools.pairwise(entropies))


def binary_cross_entropy(*, target: float, probability: float, base: float) -> Any:
    two = ops.categorical_cross_entropy([target, 1 - target], [probability, 1 - probability], base=base)
    return {
        "binary": float(ops.binary_cross_entropy([probability], [target])) / math.log(base),
        "two classes": float(two),
    }


def squared_errors(*, targets: str, outputs: str) -> Any:
    t, y = work.parse_array(targets), work.parse_array(outputs)
    return {"half sum": float(ops.half_squared_error(y, t)), "mean": float(ops.mse_loss(y, t))}


def integer_encoding(*, labels: list[str]) -> Any:
    codes, classes = ops.integer_encoding(labels)
    return dict(zip(classes, codes.tolist(), strict=True))


def one_hot(*, labels: list[str]) -> Any:
    codes, classes = ops.integer_encoding(labels)
    return ops.one_hot(codes, num_classes=len(classes))


def label_from_1(*, probabilities: str) -> Any:
    p = work.parse_array(probabilities)
    return 1 + next(k for k in range(len(p)) if ops.accuracy([p], [k]) == 1)


def reported_error(*, wrong: int, of: int, runner_up: float) -> Any:
    scores = np.tile([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], (of, 1))
    error = 100 * ops.top_k_error(scores, [5] * wrong + [0] * (of - wrong), k=5)
    share = error / runner_up
    assert share > 0.5  # the texts say that the error was nearly halved
    return {"top5": error, "share of the runner-up": share}


def relu(*, x: str) -> Any:
    return ops.relu(work.parse_array(x))


def leaky_relu(*, x: str, negative_slope: float) -> Any:
    return ops.leaky_relu(work.parse_array(x), negative_slope=negative_slope)


def flatten(*, x: str) -> Any:
    return ops.flatten(work.parse_array(x))


def dense(*, input: str, weight: str) -> Any:
    return work.dense(input, weight).value


ANSWERS = {
    "binary cross-entropy": binary_cross_entropy,
    "cross-entropy": cross_entropy,
    "dense": dense,
    "entropies rise": entropies_rise,
    "entropy": entropy,
    "exponentials": exponentials,
    "flatten": flatten,
    "integer encoding": integer_encoding,
    "label from 1": label_from_1,
    "leaky relu": leaky_relu,
    "losses fall": losses_fall,
    "one-hot encoding": one_hot,
    "plain normalisation": plain_normalisation,
    "relu": relu,
    "reported error": reported_error,
    "softmax": softmax,
    "squared errors": squared_errors,
}


def test_example(example, assert_right):
    assert_right(ANSWERS[example["kind"]](**example["inputs"]), example)
