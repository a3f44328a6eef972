"""Binary cross-entropy of probabilities and of logits: PyTorch, finite differences, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from striate.errors import UsageError
from striate.ops import binary_loss as ops
from striate.ops.activation import sigmoid

TABLE = [
    (ops.binary_cross_entropy, ops.binary_cross_entropy_backward, ops.BinaryCrossEntropy, F.binary_cross_entropy),
    (
        ops.binary_cross_entropy_with_logits,
        ops.binary_cross_entropy_with_logits_backward,
        ops.BinaryCrossEntropyWithLogits,
        F.binary_cross_entropy_with_logits,
    ),
]


@pytest.fixture(params=TABLE, ids=[row[2].name for row in TABLE])
def row(request):
    return request.param


@pytest.fixture
def outputs(row, random):
    z = random.normal(size=(4, 3)) * 3
    return sigmoid(z) if row[2] is ops.BinaryCrossEntropy else z


@pytest.fixture
def targets(random):
    return np.concatenate([random.uniform(size=(2, 3)), random.integers(0, 2, size=(2, 3))])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_equals_pytorch(row, outputs, targets, reduction, random):
    forward, backward, kind, reference = row
    y, t = torch.tensor(outputs, requires_grad=True), torch.tensor(targets, requires_grad=True)
    expected = reference(y, t, reduction=reduction)
    gradient = random.normal(size=tuple(expected.shape))
    expected.backward(torch.tensor(gradient))
    assert np.abs(forward(outputs, targets, reduction=reduction) - expected.detach().numpy()).max() < 1e-12
    assert np.abs(backward(gradient, outputs, targets, reduction=reduction) - y.grad.numpy()).max() < 1e-10
    grad_targets = kind(reduction).backward(gradient, outputs, targets).inputs[1]
    assert np.abs(grad_targets - t.grad.numpy()).max() < 1e-10


def test_gradient_equals_differences(row, outputs, targets, finite_difference, assert_close_to_differences):
    forward, backward, _, _ = row
    inside = np.clip(outputs, 0.05, 0.95)  # away from the ends, where the loss bends too much for differences
    differences = finite_difference(lambda y: forward(y, targets), inside, np.array(1.5))
    assert_close_to_differences(backward(1.5, inside, targets), differences)


def test_forms_of_input(row, outputs, targets):
    forward, backward, kind, _ = row
    turned = np.asfortranarray(outputs)[::-1]
    assert np.isclose(forward(turned, targets), forward(turned.copy(), targets), rtol=1e-15)
    single, wanted = outputs.astype(np.float32), targets.astype(np.float32)
    assert forward(single, wanted).dtype == backward(np.float32(1), single, wanted).dtype == np.float32
    assert kind("none").output_shape((4, 3), (4, 3)) == (4, 3)
    assert kind().flops((4, 3), (4, 3)) == 84


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_working(row, outputs, targets, reduction, random, assert_adds_up):
    op = row[2](reduction)
    loss = op.forward(outputs, targets)
    position = (3, 2) if reduction == "none" else ()
    assert_adds_up(op.working(position, outputs, targets), loss[position])
    gradient = random.normal(size=loss.shape)
    working = op.gradient_working("input", (3, 2), gradient, outputs, targets)
    assert_adds_up(working, op.backward(gradient, outputs, targets).inputs[0][3, 2])


def test_working_as_text():
    op = ops.BinaryCrossEntropy()
    assert str(op.working((), np.array([0.9, 0.2]), np.array([1.0, 0.0]))).splitlines() == [
        "binary_cross_entropy at []",
        "  L = -(t ln p + (1 - t) ln(1 - p))",
        "  mean over 2 values: each term is divided by 2",
        "  L = 0.5 x 0.105361 + 0.5 x 0.223144 = 0.164252",
    ]


def test_ends_of_the_range_as_in_pytorch():
    p, t = np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0])
    tensor = torch.tensor(p, requires_grad=True)
    F.binary_cross_entropy(tensor, torch.tensor(t), reduction="sum").backward()
    assert ops.binary_cross_entropy(p, t, reduction="none").tolist() == [100, 100, 0, 0]
    # PyTorch 2.13 holds its limit 1e-12 in float32, even for float64.
    gradient = ops.binary_cross_entropy_backward(1.0, p, t, reduction="sum")
    assert np.allclose(gradient, tensor.grad.numpy(), rtol=1e-8, atol=0)


def test_logits_far_out_and_the_gradient_p_minus_t():
    z, t = np.array([-800.0, 800.0, 0.0]), np.array([1.0, 1.0, 0.0])
    assert ops.binary_cross_entropy_with_logits(z, t, reduction="none").tolist() == [800, 0, np.log(2)]
    assert ops.binary_cross_entropy_with_logits_backward(1.0, z, t, reduction="sum").tolist() == [-1, 0, 0.5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.binary_cross_entropy([1.5], [1]),
            r"binary_cross_entropy: `probabilities` must be from 0 to 1, got 1\.5\. Of raw scores take",
        ),
        (
            lambda: ops.binary_cross_entropy([0.5], [2]),
            r"binary_cross_entropy: `targets` must be from 0 to 1, got 2\.0",
        ),
        (
            lambda: ops.binary_cross_entropy_with_logits([0.5], [-1]),
            r"binary_cross_entropy_with_logits: `targets` must be from 0 to 1, got -1",
        ),
        (
            lambda: ops.binary_cross_entropy([0.5], [[1]]),
            r"binary_cross_entropy: `targets` must have the shape of the outputs \(1,\), got \(1, 1\)",
        ),
        (lambda: ops.binary_cross_entropy([0.5], [1], reduction="x"), r"`reduction` must be one of mean, sum, none"),
        (
            lambda: ops.binary_cross_entropy_with_logits_backward([1.0], [0.5], [1]),
            r"binary_cross_entropy_with_logits_backward: `grad_output` must have the output's shape \(\), got \(1,\)",
        ),
        (
            lambda: ops.BinaryCrossEntropy().gradient_working("input1", (0,), np.array(1.0), np.ones(1), np.ones(1)),
            r"binary_cross_entropy: `of` must be",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
