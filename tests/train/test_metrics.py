"""`striate.train.metrics` against scikit-learn, SciPy and hand-computed values."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from striate.errors import UsageError
from striate.train import metrics

EXACT = 1e-12


def _case(seed: int, num_samples: int, num_classes: int, strength: float):
    """Random probabilities with ties (rounded to 1/20) and random targets."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, num_classes, num_samples)
    weights = np.ceil(20 * random.random((num_samples, num_classes)))
    weights[np.arange(num_samples), targets] += np.round(20 * strength)
    return weights / weights.sum(axis=1, keepdims=True), targets


cases = st.builds(_case, st.integers(0, 2**32), st.integers(1, 60), st.integers(2, 8), st.floats(0, 1))


@given(cases)
@settings(deadline=None, max_examples=60)
def test_matches_sklearn(case):
    probabilities, targets = case
    num_classes, predictions = probabilities.shape[1], probabilities.argmax(axis=1)
    labels = np.arange(num_classes)
    result = metrics.measure(probabilities, targets)
    assert result.top1 == pytest.approx(sklearn_metrics.accuracy_score(targets, predictions), abs=EXACT)
    expected = sklearn_metrics.confusion_matrix(targets, predictions, labels=labels)
    assert np.array_equal(np.array(result.confusion), expected)
    assert result.loss == pytest.approx(sklearn_metrics.log_loss(targets, probabilities, labels=labels), abs=1e-9)
    averages = sklearn_metrics.precision_recall_fscore_support(targets, predictions, average="macro", zero_division=0)
    ours = (result.macro_precision, result.macro_recall, result.macro_f1)
    assert ours == pytest.approx(averages[:3], abs=EXACT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sklearn warns about predicted classes without targets; we drop them too
        balanced = sklearn_metrics.balanced_accuracy_score(targets, predictions)
    assert result.balanced_accuracy == pytest.approx(balanced, abs=EXACT)
    assert metrics.balanced_accuracy(np.array(result.confusion)) == result.balanced_accuracy
    per_class = sklearn_metrics.precision_recall_fscore_support(
        targets, predictions, labels=labels, zero_division=np.nan
    )
    for k, entry in enumerate(result.per_class):
        found = [np.nan if value is None else value for value in (entry.precision, entry.recall, entry.f1)]
        assert found == pytest.approx([per_class[i][k] for i in range(3)], abs=EXACT, nan_ok=True)
        assert entry.support == per_class[3][k]


@given(cases, st.integers(1, 8))
@settings(deadline=None, max_examples=60)
def test_top_k_matches_sklearn_with_ties(case, k):
    probabilities, targets = case
    num_classes = probabilities.shape[1]
    k = min(k, num_classes)
    # scikit-learn ranks equal scores highest index first, striate lowest first: so it sees the columns reversed.
    reversed_labels = num_classes - 1 - targets
    scores = probabilities[:, ::-1]
    order = np.argsort(scores, axis=1, kind="mergesort")[:, ::-1][:, :k]  # as top_k_accuracy_score does
    expected = float((order == reversed_labels[:, None]).any(axis=1).mean())
    if num_classes > 2 and k < num_classes:
        labels = np.arange(num_classes)
        assert expected == sklearn_metrics.top_k_accuracy_score(reversed_labels, scores, k=k, labels=labels)
    assert metrics.top_k_accuracy(probabilities, targets, k=k) == expected


@given(cases)
@settings(deadline=None, max_examples=60)
def test_calibration_error_matches_sklearn_curve(case):
    probabilities, targets = case
    confidence, is_correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    accuracy, mean_confidence = calibration_curve(is_correct, confidence, n_bins=15, strategy="uniform")
    bins = [entry for entry in metrics.reliability_bins(probabilities, targets) if entry.count]
    assert [entry.accuracy for entry in bins] == pytest.approx(list(accuracy))
    assert [entry.confidence for entry in bins] == pytest.approx(list(mean_confidence))
    expected = sum(e.count * abs(a - c) for e, a, c in zip(bins, accuracy, mean_confidence, strict=True)) / len(targets)
    assert metrics.calibration_error(probabilities, targets) == pytest.approx(expected)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 50), (50, 50), (7, 9), (9952, 10000)])
def test_wilson_matches_scipy(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert metrics.wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert metrics.wilson_interval(0, 0) is None


def test_known_values():
    # By hand: class 0 has 2 images, one right; class 1 has one, right; class 2 has none and is never predicted.
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.8, 0.1]])
    result = metrics.measure(probabilities, np.array([0, 0, 1]), class_names=["a", "b", "c"])
    assert result.confusion == ((1, 1, 0), (0, 1, 0), (0, 0, 0))
    assert (result.per_class[1].precision, result.per_class[1].recall) == (0.5, 1.0)
    assert (result.per_class[2].precision, result.per_class[2].recall_interval) == (None, None)
    assert result.macro_f1 == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert result.loss == pytest.approx(-np.log([0.7, 0.2, 0.8]).mean())
    assert result.top5 is None
    assert result.top_confusions() == [("a", "b", 1)]


def test_rounded_probability_of_zero_is_finite():
    # float32's smallest normal number is 1.17549435e-38: -ln of it is 87.3365.
    assert metrics.cross_entropy(np.array([[1, 0]], dtype=np.float32), np.array([1])) == pytest.approx(
        87.3365, abs=1e-3
    )


def test_intervals_are_seeded_and_hold_the_estimate():
    probabilities, targets = _case(3, 400, 6, 0.4)
    first, second = (metrics.measure(probabilities, targets, seed=1) for _ in range(2))
    assert first == second
    assert first.intervals != metrics.measure(probabilities, targets, seed=2).intervals
    assert set(first.intervals) == {"top1", "top5", "macro_f1", "balanced_accuracy", "calibration_error"}
    for name, (low, high) in first.intervals.items():
        assert 0 <= low <= getattr(first, name) <= high <= 1


def test_bootstrap_of_macro_f1_matches_resampling_images():
    # The same quantity the slow way: draw images with replacement, score each draw with scikit-learn.
    probabilities, targets = _case(5, 300, 3, 0.3)
    predictions = probabilities.argmax(axis=1)
    random = np.random.default_rng(0)
    draws = [random.integers(0, 300, 300) for _ in range(300)]
    scores = [sklearn_metrics.f1_score(targets[i], predictions[i], average="macro") for i in draws]
    low, high = metrics.measure(probabilities, targets).intervals["macro_f1"]
    # Two bootstraps of 300 and 1,000 draws: each end is known to about a tenth of the width.
    assert (low, high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), abs=0.2 * (high - low))


def test_calibration_interval_reaches_zero_for_a_calibrated_network():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 2000)
    targets = (random.random(2000) >= confidence).astype(int)  # class 0 with exactly the stated probability
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    assert metrics.measure(probabilities, targets).intervals["calibration_error"][0] == 0.0
    overconfident = np.stack([np.full(2000, 0.99), np.full(2000, 0.01)], axis=1)
    assert metrics.measure(overconfident, targets).intervals["calibration_error"][0] > 0.1


def test_round_trip_through_json():
    result = metrics.measure(*_case(1, 50, 7, 0.5))
    assert metrics.Evaluation.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))) == result


def test_from_dict_names_what_does_not_fit():
    fields = metrics.measure(*_case(1, 50, 7, 0.5)).to_dict()
    fields["accuracy"] = fields.pop("top1")
    with pytest.raises(UsageError, match=r"missing \['top1'\], unknown \['accuracy'\].*Evaluate the run again"):
        metrics.Evaluation.from_dict(fields)


@pytest.mark.parametrize("num_classes", [2, 10, 12, 40])
def test_text_fits_100_columns(num_classes):
    probabilities, targets = _case(2, 3000, num_classes, 0.9)
    names = [f"{index} \x1b[31m{'猫' * 30}\n" for index in range(num_classes)]
    text = metrics.measure(probabilities, targets, class_names=names).text()
    assert "\x1b" not in text
    assert max(sum(2 if character == "猫" else 1 for character in line) for line in text.splitlines()) <= 100
    assert "accuracy (top-1)" in text
    assert ("confusion matrix" in text) == (num_classes <= 12)
    assert ("10 more are not shown" in text) == (num_classes == 40)


def test_text_shows_the_numbers():
    probabilities = np.array([[0.7, 0.3], [0.2, 0.8], [0.9, 0.1], [0.6, 0.4]])
    lines = metrics.measure(probabilities, np.array([0, 1, 1, 0]), class_names=["cat", "dog"]).text().splitlines()
    # 3 of 4 right; Wilson's interval of 3/4 from SciPy: 0.3006, 0.9544.
    assert lines[1].split() == ["accuracy", "(top-1)", "75.00", "%", "30.06", "..", "95.44"]
    assert lines[-1].split() == ["dog", "1", "1"]


def test_root_mean_squared_error():
    assert metrics.root_mean_squared_error(np.array([[3.0], [1.0]]), np.array([[0.0], [5.0]])) == pytest.approx(
        12.5**0.5
    )
    with pytest.raises(UsageError, match=r"`predictions` must have the shape of `targets`.*got \(2, 1\) and \(2,\)"):
        metrics.root_mean_squared_error(np.zeros((2, 1)), np.zeros(2))


GOOD = np.array([[0.5, 0.5], [0.1, 0.9]])


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), r"measure: `probabilities` must have shape \(N, K\).*got shape \(0, 2\)"),
        (np.ones((2, 1)), np.zeros(2, int), r"K >= 2 classes, got shape \(2, 1\)"),
        (GOOD, np.zeros(3, int), r"`targets` must be 2 integers.*got int64 of shape \(3,\)"),
        (GOOD, np.zeros(2), r"`targets` must be 2 integers.*got float64.*not one-hot"),
        (GOOD, np.array([0, 2]), r"`targets` must lie in 0 \.\. 1, got 0 \.\. 2"),
        (GOOD * 3, np.array([0, 1]), r"add up to 1 in each row, got \[1.5 1.5\] at the start of row 0.*softmax"),
        (np.array([[0.5, 0.5], [np.nan, 1]]), np.array([0, 1]), r"must be finite.*row 1"),
        (np.array([[np.inf, -np.inf]]), np.array([0]), r"must be finite.*row 0"),
    ],
)
def test_errors(probabilities, targets, message):
    with pytest.raises(UsageError, match=message):
        metrics.measure(probabilities, targets)


def test_errors_of_arguments():
    with pytest.raises(UsageError, match=r"`class_names` must hold 2 names.*got 3"):
        metrics.measure(GOOD, np.array([0, 1]), class_names=["a", "b", "c"])
    with pytest.raises(UsageError, match=r"top_k_accuracy: `k` must lie in 1 \.\. 2.*got 3"):
        metrics.top_k_accuracy(GOOD, np.array([0, 1]), k=3)
    with pytest.raises(UsageError, match=r"must have the shape \(N,\) of `targets`, got \(2,\) and \(3,\)"):
        metrics.confusion_matrix(np.zeros(2, int), np.zeros(3, int), num_classes=2)
    with pytest.raises(UsageError, match=r"must lie in 0 \.\. 1, got 0 \.\. 5"):
        metrics.confusion_matrix(np.array([0, 5]), np.array([0, 1]), num_classes=2)
