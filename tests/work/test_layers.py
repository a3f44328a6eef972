"""`work.dense` and `work.batch_norm` against `ops`, what they show, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from striate import work
from striate.errors import UsageError
from striate.ops import dense, normalization

# Worked numbers 003-ex-c of the course examples.
WEIGHT = "0.8 -0.2 0.1 -0.2; 0.2 -0.6 0.5 -0.3; 0.5 0.3 -0.8 0.9"


def test_dense(assert_well_formed):
    answer = work.dense("0 10 0 10", WEIGHT, bias="0.1 -0.3 0.6", at=2, backward="1 0 -1")
    assert_well_formed(answer)
    np.testing.assert_allclose(answer.value, [-3.9, -9.3, 12.6], atol=1e-12)
    grads = dense.linear_backward([1, 0, -1], [0, 10, 0, 10], work.parse_array(WEIGHT))
    for name, expected in zip(("grad_input", "grad_weight", "grad_bias"), grads, strict=True):
        np.testing.assert_allclose(answer.numbers[name], expected, atol=1e-12)
    text = str(answer)
    assert "output[2] = 0.5 x 0 + 0.3 x 10 + (-0.8) x 0 + 0.9 x 10 + 0.6 = 12.6" in text
    assert "dL/dinput[0] = 1 x 0.8 + 0 x 0.2 + (-1) x 0.5 = 0.3" in text


def test_dense_without_bias_and_with_samples(assert_well_formed):
    answer = work.dense("0 10; 1 2", "1 2; 3 4; 5 6", at=(1, 2), backward=True)
    assert_well_formed(answer)
    assert answer.value.tolist() == [[20, 40, 60], [5, 11, 17]]
    assert answer.numbers["grad_bias"].tolist() == [2, 2, 2]
    assert "bias[o]" not in str(answer).split("dL/doutput")[0]
    assert "dL/dweight[2, 0] = 1 x 0 + 1 x 1 = 1" in str(answer)
    assert work.dense("1 2", "3 4").value.tolist() == [11]
    only = str(work.dense("1 2", "3 4; 5 6", backward=True, at="weight[1,0]"))
    assert "dL/dweight[1, 0] = " in only
    assert "dL/dinput[" not in only


def test_batch_norm_in_training(assert_well_formed):
    grad = [1.0, 0.0, 0.0, 0.0]
    answer = work.batch_norm("1 2 3 6", weight=2, bias=5, at=0, backward=grad)
    assert_well_formed(answer)
    x = np.array([[1.0], [2.0], [3.0], [6.0]])
    np.testing.assert_allclose(
        answer.value, normalization.batch_norm(x, None, None, [2], [5], training=True)[:, 0], atol=1e-12
    )
    expected = normalization.batch_norm_backward(np.array(grad)[:, None], x, None, None, [2], training=True)
    np.testing.assert_allclose(answer.numbers["grad_input"], expected[0][:, 0], atol=1e-12)
    np.testing.assert_allclose(answer.numbers["grad_weight"], expected[1], atol=1e-12)
    assert (answer.numbers["mean"].tolist(), answer.numbers["variance"].tolist()) == ([3], [3.5])
    text = str(answer)
    for words in ("4 values share one mean and one variance", "mean = 12 / 4 = 3", "variance = 14 / 4 = 3.5"):
        assert words in text


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (2, 2, 3, 4)])
def test_batch_norm_shapes(shape, assert_well_formed):
    x = np.random.default_rng(0).normal(size=shape)
    answer = work.batch_norm(x, backward=True)
    assert_well_formed(answer)
    assert answer.value.shape == shape
    whole = x.reshape((1,) * (4 - x.ndim) + x.shape)
    expected = normalization.batch_norm(whole, None, None, training=True).reshape(shape)
    np.testing.assert_allclose(answer.value, expected, atol=1e-12)


def test_batch_norm_in_inference(assert_well_formed):
    answer = work.batch_norm("1 2 | 3 6", mean="1 2", variance="4 9", eps=0, at=(1, 0, 1), backward=True)
    assert_well_formed(answer)
    np.testing.assert_allclose(answer.value, [[[0, 0.5]], [[1 / 3, 4 / 3]]], atol=1e-12)
    assert "running mean 2, running variance 9" in str(answer)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: work.dense("1 2 3", "1 2"),
            r"dense: `weight` must have one row an output and one number for each of the 3",
        ),
        (lambda: work.dense("1 2", "1 2", bias="1 2"), r"dense: `bias` must be one number an output, 1, got 2"),
        (lambda: work.dense("1 2", "1 2", at=1), r"dense: `at` must lie inside 1, got 1"),
        (lambda: work.batch_norm("1 2", mean=1), r"batch_norm: `mean` and `variance` must be given together"),
        (lambda: work.batch_norm("1"), r"batch_norm: `x` must have more than one value a channel"),
        (lambda: work.batch_norm("1 2", weight="1 2"), r"batch_norm: `weight` must have one value for each channel"),
        (lambda: work.batch_norm("1 2", eps=0), r"batch_norm: `eps` must be larger than 0"),
        (lambda: work.batch_norm(np.ones((1, 1, 1, 1, 2))), r"batch_norm: `input` must have at most 4 axes"),
        (
            lambda: work.batch_norm("1 2", mean=0, variance=-1),
            r"batch_norm: `variance` must hold no negative .* got -1",
        ),
        (lambda: work.batch_norm("1 2", mean="x", variance=1), r"batch_norm: `mean` must hold numbers"),
    ],
)
def test_errors(call, message):
    with pytest.raises(UsageError, match=message):
        call()
