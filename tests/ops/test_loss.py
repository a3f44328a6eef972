"""Cross-entropy and negative log likelihood: PyTorch, by hand, finite differences, working, messages."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops.information import categorical_cross_entropy
from striate.ops.loss import CrossEntropy, NLLLoss, cross_entropy, cross_entropy_backward, nll_loss, nll_loss_backward
from striate.ops.softmax import log_softmax, softmax

REDUCTIONS = ["mean", "sum", "none"]
SHAPES = [(5,), (4, 5), (2, 5, 3), (2, 5, 3, 2)]


def problem(random, shape, kind):
    """Return scores, targets of the kind, and weights of the classes."""
    logits = random.normal(size=shape) * 3
    axis = min(1, len(shape) - 1)
    samples = shape[:axis] + shape[axis + 1 :]
    if kind == "classes":
        return logits, random.integers(0, 5, size=samples), random.uniform(0.5, 2, size=5)
    return logits, softmax(random.normal(size=shape), axis=axis), random.uniform(0.5, 2, size=5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("shape", "kind"), [*itertools.product(SHAPES, ["classes", "probabilities"])], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_equals_pytorch(reduction, shape, kind, smoothing, weighted, random):
    logits, targets, weight = problem(random, shape, kind)
    options = {"label_smoothing": smoothing, "reduction": reduction}
    scores = torch.tensor(logits, requires_grad=True)
    wanted = torch.tensor(targets, requires_grad=kind == "probabilities")
    expected = F.cross_entropy(scores, wanted, weight=torch.tensor(weight) if weighted else None, **options)
    gradient = random.normal(size=tuple(expected.shape))
    expected.backward(torch.tensor(gradient))
    weight = weight if weighted else None
    assert np.abs(cross_entropy(logits, targets, weight=weight, **options) - expected.detach().numpy()).max() < 1e-12
    ours = cross_entropy_backward(gradient, logits, targets, weight=weight, **options)
    assert np.abs(ours - scores.grad.numpy()).max() < 1e-10
    parameters = {"weight": weight} if weighted else {}
    _, grad_targets = CrossEntropy(reduction, smoothing).backward(gradient, logits, targets, **parameters).inputs
    expected_targets = wanted.grad.numpy() if kind == "probabilities" else np.zeros(targets.shape)
    assert np.abs(grad_targets - expected_targets).max() < 1e-10


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nll_loss_equals_pytorch(reduction, shape, random):
    logits, targets, weight = problem(random, shape, "classes")
    logarithms = log_softmax(logits, axis=min(1, len(shape) - 1))
    scores = torch.tensor(logarithms, requires_grad=True)
    expected = F.nll_loss(scores, torch.tensor(targets), weight=torch.tensor(weight), reduction=reduction)
    gradient = random.normal(size=tuple(expected.shape))
    expected.backward(torch.tensor(gradient))
    ours = nll_loss(logarithms, targets, weight=weight, reduction=reduction)
    assert np.abs(ours - expected.detach().numpy()).max() < 1e-12
    ours = nll_loss_backward(gradient, logarithms, targets, weight=weight, reduction=reduction)
    assert np.abs(ours - scores.grad.numpy()).max() < 1e-10
    if reduction == "mean":
        assert np.allclose(nll_loss(logarithms, targets), cross_entropy(logits, targets), rtol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("index", "shape"), [(-100, (4, 5)), (2, (4, 5)), (-1, (2, 5, 3)), (7, (2, 5, 3))])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ignored_samples_do_not_count_as_in_pytorch(reduction, index, shape, smoothing, random, assert_adds_up):
    logits, targets, weight = problem(random, shape, "classes")
    targets = np.where(random.random(size=targets.shape) < 0.4, index, targets)
    options = {"label_smoothing": smoothing, "reduction": reduction, "ignore_index": index}
    scores = torch.tensor(logits, requires_grad=True)
    expected = F.cross_entropy(scores, torch.tensor(targets), weight=torch.tensor(weight), **options)
    gradient = random.normal(size=tuple(expected.shape))
    expected.backward(torch.tensor(gradient))
    found = cross_entropy(logits, targets, weight=weight, **options)
    assert np.abs(found - expected.detach().numpy()).max() < 1e-12
    grad_logits = cross_entropy_backward(gradient, logits, targets, weight=weight, **options)
    assert np.abs(grad_logits - scores.grad.numpy()).max() < 1e-10
    op = CrossEntropy(reduction, smoothing, index)
    last = tuple(n - 1 for n in found.shape)
    assert_adds_up(op.working(last, logits, targets, weight=weight), found[last])
    last = tuple(n - 1 for n in shape)
    assert_adds_up(op.gradient_working("input", last, gradient, logits, targets, weight=weight), grad_logits[last])


def test_nothing_but_ignored_samples():
    # PyTorch: the mean over none is nan, its gradient 0, the sum 0.
    logits, targets = np.ones((2, 3)), np.array([-100, -100])
    scores = torch.tensor(logits, requires_grad=True)
    expected = F.cross_entropy(scores, torch.tensor(targets))
    expected.backward()
    assert np.isnan(cross_entropy(logits, targets))
    assert torch.isnan(expected)
    assert cross_entropy_backward(1.0, logits, targets).tolist() == scores.grad.tolist() == [[0] * 3] * 2
    assert nll_loss(logits, targets, reduction="sum") == nll_loss([1.0, 2.0], -100, reduction="sum") == 0
    assert "2 of 2 targets are -100 and do not count" in str(CrossEntropy().working((), logits, targets))
    with pytest.raises(UsageError, match=r"`targets` must be from 0 to 2, got -100"):
        nll_loss(logits, targets, ignore_index=1)


@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_gradient_equals_differences(kind, random, finite_difference, assert_close_to_differences):
    logits, targets, weight = problem(random, (3, 5), kind)
    options = {"weight": weight, "label_smoothing": 0.2}
    differences = finite_difference(lambda z: cross_entropy(z, targets, **options), logits, np.array(1.7))
    assert_close_to_differences(cross_entropy_backward(1.7, logits, targets, **options), differences)


def test_gradient_is_p_minus_t(random):
    logits, targets, _ = problem(random, (4, 5), "probabilities")
    gradient = cross_entropy_backward(1.0, logits, targets, reduction="sum")
    assert np.allclose(gradient, softmax(logits) - targets, atol=1e-15)
    assert np.allclose(gradient.sum(axis=1), 0, atol=1e-15)


def test_course_value():
    # 002-softmax-dog and 002-CE-first: 0.3677 bits of the rounded 0.775; in nats 0.2549, here unrounded.
    loss = cross_entropy([3.2, 1.3, 0.2, 0.8], [1, 0, 0, 0])
    bits = categorical_cross_entropy([1, 0, 0, 0], softmax([3.2, 1.3, 0.2, 0.8]), base=2)
    assert np.isclose(loss, bits * np.log(2), rtol=1e-14)
    assert round(float(loss), 3) == 0.255


def test_forms_of_input(random):
    logits, targets, _ = problem(random, (4, 5, 3), "classes")
    turned = np.asfortranarray(logits)[::-1]
    assert np.allclose(cross_entropy(turned, targets), cross_entropy(turned.copy(), targets), rtol=1e-15)
    single = logits.astype(np.float32)
    assert cross_entropy(single, targets).dtype == np.float32
    assert cross_entropy_backward(np.float32(1), single, targets).dtype == np.float32
    assert cross_entropy([[2.0, 1.0]], [[1, 0]]) == cross_entropy([[2.0, 1.0]], [0])
    op = CrossEntropy("none")
    assert op.output_shape((4, 5, 3), (4, 3)) == (4, 3)
    assert op.flops((4, 5, 3), (4, 3)) == 7 * 60
    assert NLLLoss().flops((4, 5), (4,)) == 40


def test_a_target_of_0_makes_minus_infinity_not_count():
    assert cross_entropy([[0.0, -np.inf]], [0]) == 0
    assert nll_loss([0.0, -np.inf], [1.0, 0.0]) == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("op", [CrossEntropy, NLLLoss])
def test_working(op, reduction, kind, smoothing, random, assert_adds_up):
    op = op(reduction, smoothing)
    scores, targets, weight = problem(random, (3, 5), kind)
    if isinstance(op, NLLLoss):
        scores = log_softmax(scores)
    loss = op.forward(scores, targets, weight=weight)
    position = (2,) if reduction == "none" else ()
    assert_adds_up(op.working(position, scores, targets, weight=weight), loss[position])
    gradient = random.normal(size=loss.shape)
    grad_scores = op.backward(gradient, scores, targets, weight=weight).inputs[0]
    working = op.gradient_working("input", (2, 1), gradient, scores, targets, weight=weight)
    assert_adds_up(working, grad_scores[2, 1])


def test_working_of_many_samples_fits_the_screen(random, assert_adds_up):
    logits, targets = random.normal(size=(200, 10)), random.integers(0, 10, size=200)
    assert_adds_up(CrossEntropy().working((), logits, targets), cross_entropy(logits, targets))


def test_working_as_text():
    logits, targets = np.array([[3.2, 1.3, 0.2, 0.8]]), np.array([0])
    assert str(CrossEntropy().working((), logits, targets)).splitlines() == [
        "cross_entropy at []",
        "  L = -sum over k of q[k] ln p[k], p = softmax(logits)",
        "  p[0, 0] = 0.77515, -ln p = 0.254699",
        "  mean: each weight q is divided by 1",
        "  L = 1 x 0.254699 = 0.254699",
    ]
    gradient = CrossEntropy().gradient_working("input", (0, 0), np.array(1.0), logits, targets)
    assert "dL/dinput = 1 x 0.77515 x 1 + (-1) x 1 = -0.22485" in str(gradient)


Z = [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cross_entropy(Z, [3]), r"cross_entropy: `targets` must be from 0 to 2, got 3\. Count classes from 0"),
        (lambda: cross_entropy(Z, [-1]), r"cross_entropy: `targets` must be from 0 to 2, got -1"),
        (lambda: cross_entropy(Z, [0.5]), r"cross_entropy: `targets` must be whole numbers"),
        (
            lambda: cross_entropy(Z, [0, 1]),
            r"cross_entropy: `targets` must be class indices \(1,\) or probabilities \(1, 3\), got \(2,\)",
        ),
        (lambda: cross_entropy(1.0, 0), r"cross_entropy: `logits` must have an axis of classes, got one number"),
        (
            lambda: cross_entropy(Z, [0], weight=[1.0, 2.0]),
            r"cross_entropy: `weight` must have one number a class, \(3,\), got \(2,\)\. Count the network's outputs",
        ),
        (
            lambda: cross_entropy(Z, [0], label_smoothing=1.0),
            r"cross_entropy: `label_smoothing` must be from 0 on and below 1, got 1\.0",
        ),
        (lambda: nll_loss(Z, [0], reduction="avg"), r"nll_loss: `reduction` must be one of mean, sum, none, got 'avg'"),
        (lambda: nll_loss_backward([1.0], Z, [0]), r"nll_loss_backward: `grad_output` must have .* \(\), got \(1,\)"),
        (
            lambda: CrossEntropy().gradient_working("input1", (0,), np.array(1.0), np.array(Z), np.array([0])),
            r"cross_entropy: `of` must be something this operation has a gradient for, got 'input1'",
        ),
        (
            lambda: CrossEntropy("none").working((1,), np.array(Z), np.array([0])),
            r"cross_entropy: `position` must be one index an axis",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
