"""`work.softmax` and `work.cross_entropy` against `ops`, what they show, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from striate import work
from striate.errors import UsageError
from striate.ops.information import categorical_cross_entropy, categorical_cross_entropy_backward
from striate.ops.loss import cross_entropy, cross_entropy_backward
from striate.ops.softmax import softmax, softmax_backward

SCORES = "3.2 1.3 0.2 0.8"  # worked number 002-softmax-dog of the course examples
Z = np.array([3.2, 1.3, 0.2, 0.8])


def test_softmax(assert_well_formed):
    answer = work.softmax(SCORES, at=1, backward="1 0 0 0")
    assert_well_formed(answer)
    np.testing.assert_array_equal(answer.value, softmax(Z))
    np.testing.assert_allclose(answer.numbers["grad_input"], softmax_backward([1, 0, 0, 0], Z), atol=1e-15)
    np.testing.assert_allclose(answer.numbers["normalized"], Z / 5.5)
    lines = str(answer).splitlines()
    assert "  sum of exp(input - max) = 1 + 0.149569 + 0.0497871 + 0.090718 = 1.29007" in lines
    assert any(line.split()[:4] == ["1", "1.3", "-1.9", "0.149569"] for line in lines)


def test_softmax_of_scores_that_sum_to_0_and_of_many(assert_well_formed):
    answer = work.softmax("-1 1")
    assert_well_formed(answer)
    assert answer.numbers["normalized"] is None
    assert answer.to_dict()["numbers"]["normalized"] is None
    many = work.softmax(np.arange(50), at=49, backward=True)
    assert_well_formed(many)
    assert len(str(many).splitlines()) < 40


def test_cross_entropy_of_scores(assert_well_formed):
    answer = work.cross_entropy(SCORES, 0, backward=True)
    assert_well_formed(answer)
    assert answer.value == pytest.approx(float(cross_entropy(Z[None], [0])), abs=1e-12)
    np.testing.assert_allclose(answer.numbers["grad_input"], cross_entropy_backward(1.0, Z[None], [0])[0], atol=1e-12)
    text = str(answer)
    assert "loss = 1 x 0.254699 = 0.254699" in text
    assert "dL/dinput[0] = 1 x 0.77515 x 1 + (-1) x 1 = -0.22485" in text


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_bases_and_smoothing(smoothing, assert_well_formed):
    answer = work.cross_entropy(SCORES, "1", base=2, label_smoothing=smoothing, backward="3")
    assert_well_formed(answer)
    nats = float(cross_entropy(Z[None], [1], label_smoothing=smoothing))
    assert answer.value == pytest.approx(nats / math.log(2), abs=1e-12)
    expected = 3 / math.log(2) * cross_entropy_backward(1.0, Z[None], [1], label_smoothing=smoothing)[0]
    np.testing.assert_allclose(answer.numbers["grad_input"], expected, atol=1e-12)
    assert "divided by ln base = 0.693147" in str(answer)


def test_cross_entropy_of_probabilities(assert_well_formed):
    answer = work.cross_entropy("0.775 0.116 0.039 0.07", "1 0 0 0", probabilities=True, base="2", backward=True)
    assert_well_formed(answer)
    p, t = np.array([0.775, 0.116, 0.039, 0.07]), np.array([1.0, 0, 0, 0])
    assert answer.value == pytest.approx(float(categorical_cross_entropy(t, p)), abs=1e-12)
    _, expected = categorical_cross_entropy_backward(np.array(1.0), t, p)
    np.testing.assert_allclose(answer.numbers["grad_input"], expected, atol=1e-12)
    # 0 x log 0 counts nothing
    assert work.cross_entropy("1 0", 0, probabilities=True).value == 0
    assert work.cross_entropy("0 1", 0, probabilities=True).value == math.inf


@pytest.mark.parametrize("probabilities", [False, True])
def test_several_samples(probabilities, assert_well_formed):
    rows = np.array([[0.5, 0.5], [0.2, 0.8]])
    answer = work.cross_entropy(rows, "0 1", probabilities=probabilities, at="input[1,1]", backward=True)
    assert_well_formed(answer)
    logits = np.log(rows) if probabilities else rows
    assert answer.value == pytest.approx(float(cross_entropy(logits, [0, 1])), abs=1e-12)
    assert "dL/dinput[1, 1] = " in str(answer)
    if not probabilities:
        np.testing.assert_allclose(answer.numbers["grad_input"], cross_entropy_backward(1.0, rows, [0, 1]), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: work.softmax("1; 2"), r"softmax: `input` must be one row of scores, got 2 x 1"),
        (lambda: work.softmax("1 2", at=2), r"softmax: `at` must lie inside 2, got 2"),
        (lambda: work.cross_entropy("1 2", 2), r"cross_entropy: `target` must be from 0 to 1, got 2"),
        (lambda: work.cross_entropy("1 2", 0.5), r"cross_entropy: `target` must be whole numbers"),
        (lambda: work.cross_entropy("1 2", "0 1 0"), r"cross_entropy: `target` must be one class a sample \(1\) or"),
        (lambda: work.cross_entropy("1 2", 0, base=1), r"cross_entropy: `base` must be e or a number above 1, got 1"),
        (lambda: work.cross_entropy("1 2", 0, probabilities=True), r"`predictions` must sum to 1"),
        (
            lambda: work.cross_entropy("1 2", 0, label_smoothing=1),
            r"cross_entropy: `label_smoothing` must be from 0 on",
        ),
        (
            lambda: work.cross_entropy("1 2", 0, backward="1 2"),
            r"cross_entropy: `grad_output` must be one number, got 2",
        ),
        (lambda: work.cross_entropy(np.ones((1, 2, 2)), 0), r"cross_entropy: `input` must be one row of scores"),
    ],
)
def test_errors(call, message):
    with pytest.raises(UsageError, match=message):
        call()
