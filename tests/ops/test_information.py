"""Entropy and cross-entropy in any base: course values, identities, finite differences, working, messages."""

from __future__ import annotations

import math

import numpy as np
import pytest

from striate.errors import UsageError
from striate.ops import information as ops
from striate.ops.binary_loss import binary_cross_entropy
from striate.ops.softmax import softmax


def test_course_values():
    # 002-entropy-*, 002-CE-* of the course examples; their logarithms are of base 2.
    first, second, third = ([26 / 30, 4 / 30], [0.5, 0.5], [1 / 30, 29 / 30])
    assert round(float(ops.entropy(first)), 4) == 0.5665
    assert round(float(ops.entropy(third)), 4) == 0.2108
    assert ops.entropy(third) < ops.entropy(first) < ops.entropy(second) == 1
    target = [1, 0, 0, 0]
    assert round(float(ops.categorical_cross_entropy(target, [0.775, 0.116, 0.039, 0.07])), 4) == 0.3677
    # -log2(0.938) is 0.0923; the text prints 0.095.
    better = float(ops.categorical_cross_entropy(target, [0.938, 0.02, 0.02, 0.022]))
    assert round(better, 4) == 0.0923
    assert better < 0.3677
    assert ops.categorical_cross_entropy(target, target) == 0


def test_the_misprinted_probability_is_noticed():
    # 002-CE-first prints 0.126 where softmax gives 0.116; the four then sum to 1.01.
    with pytest.raises(UsageError, match=r"`predictions` must sum to 1 over the last axis, got 1\.01\. Divide counts"):
        ops.categorical_cross_entropy([1, 0, 0, 0], [0.775, 0.126, 0.039, 0.07])


@pytest.mark.parametrize("base", [2, math.e, 10])
def test_by_the_definition(base, random):
    p, t = softmax(random.normal(size=(2, 3, 5))), softmax(random.normal(size=(2, 3, 5)))
    expected = [[-sum(v * math.log(v, base) for v in row) for row in block] for block in p]
    assert np.allclose(ops.entropy(p, base=base), expected, rtol=1e-13)
    expected = [-sum(a * math.log(b, base) for a, b in zip(x, y, strict=True)) for x, y in zip(t[0], p[0], strict=True)]
    assert np.allclose(ops.categorical_cross_entropy(t, p, base=base)[0], expected, rtol=1e-13)
    # Gibbs: no prediction costs less than the truth itself.
    assert (ops.categorical_cross_entropy(t, p, base=base) >= ops.entropy(t, base=base)).all()
    assert np.isclose(ops.entropy(np.full(8, 1 / 8), base=base), math.log(8, base), rtol=1e-14)


def test_zero_log_zero_is_0_and_a_zero_on_the_target_is_infinite():
    assert ops.entropy([1.0, 0.0]) == 0
    assert not np.signbit(ops.entropy([1.0, 0.0]))
    assert ops.categorical_cross_entropy([1.0, 0.0], [0.0, 1.0]) == np.inf
    assert ops.categorical_cross_entropy([0.5, 0.5, 0.0], [0.5, 0.5, 0.0]) == 1


def test_two_classes_are_the_binary_form(random):
    t, p = random.uniform(size=20), random.uniform(size=20)
    both = ops.categorical_cross_entropy(np.stack([t, 1 - t], -1), np.stack([p, 1 - p], -1), base=math.e)
    assert np.allclose(both, binary_cross_entropy(p, t, reduction="none"), rtol=1e-12)
    assert np.allclose(ops.binary_entropy(p), [ops.entropy([x, 1 - x]) for x in p], rtol=1e-14)
    assert ops.binary_entropy(0.5, base=math.e) == math.log(2)


def test_differential_entropy_of_a_normal_distribution():
    # ln(2 pi e sigma^2) / 2, Shannon 1948, section 20.
    x = np.linspace(-30, 30, 20001)
    density = np.exp(-(x**2) / (2 * 9)) / math.sqrt(2 * math.pi * 9)
    expected = math.log(2 * math.pi * math.e * 9) / 2
    assert np.isclose(ops.differential_entropy(density, x, base=math.e), expected, rtol=1e-10)
    assert ops.differential_entropy([4.0, 4.0], [0.0, 0.25]) == -2


@pytest.mark.parametrize("base", [2, math.e])
def test_gradients_equal_differences(base, random, finite_difference, assert_close_to_differences):
    p, t = softmax(random.normal(size=(2, 4))), softmax(random.normal(size=(2, 4)))
    gradient = random.normal(size=2)
    differences = finite_difference(lambda z: ops.Entropy(base).forward(z), p, gradient)
    assert_close_to_differences(ops.entropy_backward(gradient, p, base=base), differences)
    op = ops.CategoricalCrossEntropy(base)
    grad_targets, grad_predictions = ops.categorical_cross_entropy_backward(gradient, t, p, base=base)
    assert_close_to_differences(grad_predictions, finite_difference(lambda z: op.forward(t, z), p, gradient))
    assert_close_to_differences(grad_targets, finite_difference(lambda z: op.forward(z, p), t, gradient))


def test_through_softmax_the_gradient_is_p_minus_t(random):
    from striate.ops.softmax import softmax_backward

    z, t = random.normal(size=5), softmax(random.normal(size=5))
    _, grad_predictions = ops.categorical_cross_entropy_backward(1.0, t, softmax(z), base=math.e)
    assert np.allclose(softmax_backward(grad_predictions, z), softmax(z) - t, atol=1e-15)


def test_forms_of_input(random):
    p = softmax(random.normal(size=(4, 5)))
    turned = np.asfortranarray(p)[::-1]
    assert np.allclose(ops.entropy(turned), ops.entropy(turned.copy()), rtol=1e-15)
    single = p.astype(np.float32)
    assert ops.entropy(single).dtype == np.float32
    assert ops.categorical_cross_entropy_backward(single[:, 0], single, single)[1].dtype == np.float32
    assert ops.Entropy().flops((4, 5)) == ops.CategoricalCrossEntropy().flops((4, 5), (4, 5)) == 60


def test_working(random, assert_adds_up):
    p, t = softmax(random.normal(size=(2, 4))), np.array([[0.0, 1, 0, 0], [0.25, 0.5, 0, 0.25]])
    gradient = random.normal(size=2)
    entropy, cross = ops.Entropy(10.0), ops.CategoricalCrossEntropy(2.0)
    assert_adds_up(entropy.working((1,), p), entropy.forward(p)[1])
    assert_adds_up(entropy.working((0,), t), 0)
    assert_adds_up(cross.working((1,), t, p), cross.forward(t, p)[1])
    working = entropy.gradient_working("input", (1, 2), gradient, p)
    assert_adds_up(working, entropy.backward(gradient, p).inputs[0][1, 2])
    for position in [(0, 0), (1, 3)]:
        working = cross.gradient_working("input1", position, gradient, t, p)
        assert_adds_up(working, cross.backward(gradient, t, p).inputs[1][position])


def test_working_as_text():
    working = ops.CategoricalCrossEntropy().working((), np.array([1.0, 0, 0]), np.array([0.775, 0.155, 0.07]))
    assert str(working).splitlines() == [
        "categorical_cross_entropy at []",
        "  CE = -sum over i of t[i] log p[i]",
        "  -log p[0] = -log(0.775) = 0.367732, base 2",
        "  2 of 3 terms have the weight 0 and count 0",
        "  total = 1 x 0.367732 = 0.367732",
    ]


HALVES = [0.5, 0.5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.entropy([0.5, 0.4]), r"entropy: `p` must sum to 1 over the last axis, got 0\.9"),
        (lambda: ops.entropy([1.5, -0.5]), r"entropy: `p` must hold no negative number, got -0\.5\. Apply softmax"),
        (lambda: ops.entropy([np.nan, 1.0]), r"entropy: `p` must hold no negative number, got nan"),
        (lambda: ops.entropy(1.0), r"entropy: `p` must have an axis of classes, got one number\. Use binary_entropy"),
        (lambda: ops.entropy(HALVES, base=1), r"entropy: `base` must be above 1, got 1"),
        (
            lambda: ops.entropy_backward([1.0], HALVES),
            r"entropy_backward: `grad_output` must have the output's shape \(\)",
        ),
        (lambda: ops.binary_entropy(1.5), r"binary_entropy: `p` must be from 0 to 1, got 1\.5"),
        (
            lambda: ops.categorical_cross_entropy([1, 1], HALVES),
            r"categorical_cross_entropy: `targets` must sum to 1 over the last axis, got 2",
        ),
        (
            lambda: ops.categorical_cross_entropy([1], HALVES),
            r"`targets` must have the shape of the predictions \(2,\), .* got \(1,\)\. Turn class indices into rows",
        ),
        (
            lambda: ops.differential_entropy([1.0, 1.0], [1.0, 0.0]),
            r"differential_entropy: `x` must be one ascending point for each value",
        ),
        (
            lambda: ops.differential_entropy([1.0, 1.0], [0.0, 2.0]),
            r"differential_entropy: `density` must be nowhere negative and have the integral 1, got 2\. Take",
        ),
        (
            lambda: ops.CategoricalCrossEntropy().gradient_working("input", (0,), np.ones(()), np.ones(1), np.ones(1)),
            r"categorical_cross_entropy: `of` must be",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
