"""L1 and L2 penalties: autograd, PyTorch's weight_decay, finite differences, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops import penalty as ops
from striate.ops.optimizer import sgd_step

TABLE = [
    (ops.l2_penalty, ops.l2_penalty_backward, ops.L2Penalty, lambda w: (w * w).sum() / 2),
    (ops.l1_penalty, ops.l1_penalty_backward, ops.L1Penalty, lambda w: w.abs().sum()),
]


@pytest.fixture(params=TABLE, ids=[row[2].name for row in TABLE])
def row(request):
    return request.param


def test_equals_pytorch(row, random, finite_difference, assert_close_to_differences):
    forward, backward, _, reference = row
    w = np.append(random.normal(size=11), 0.0).reshape(3, 4)
    tensor = torch.tensor(w, requires_grad=True)
    y = 0.3 * reference(tensor)
    y.backward(torch.tensor(2.0, dtype=torch.float64))
    assert abs(forward(w, strength=0.3) - y.item()) < 1e-12
    assert np.abs(backward(2.0, w, strength=0.3) - tensor.grad.numpy()).max() < 1e-10
    differences = finite_difference(lambda z: forward(z, strength=0.3), w, np.array(2.0))
    assert_close_to_differences(backward(2.0, w, strength=0.3), differences)


def test_l2_is_the_weight_decay_of_the_optimizers(random):
    w, g = random.normal(size=5), random.normal(size=5)
    added = sgd_step(w, g + ops.l2_penalty_backward(1.0, w, strength=0.2), lr=0.1)[0]
    assert np.allclose(added, sgd_step(w, g, lr=0.1, weight_decay=0.2)[0], rtol=1e-14)


def test_forms_of_input(row, random):
    forward, backward, kind, _ = row
    w = np.asfortranarray(random.normal(size=(4, 3)))[::-1]
    assert np.isclose(forward(w, strength=1), forward(w.copy(), strength=1), rtol=1e-15)
    single = w.astype(np.float32)
    assert forward(single, strength=0.1).dtype == np.float32
    assert backward(np.float32(1), single, strength=0.1).dtype == np.float32
    assert kind(0.1).output_shape((4, 3)) == ()
    assert kind(0.1).flops((4, 3)) == 25


def test_working(row, random, assert_adds_up):
    w = random.normal(size=(4, 3))
    op = row[2](0.3)
    assert_adds_up(op.working((), w), op.forward(w))
    working = op.gradient_working("input", (3, 1), np.array(2.0), w)
    assert_adds_up(working, op.backward(np.array(2.0), w).inputs[0][3, 1])


def test_working_as_text():
    assert "P = 0.05 x 3 x 3 + 0.05 x (-4) x (-4) = 1.25" in str(ops.L2Penalty(0.1).working((), np.array([3.0, -4.0])))
    assert "P = 0.1 x 3 + 0.1 x 4 = 0.7" in str(ops.L1Penalty(0.1).working((), np.array([3.0, -4.0])))


def test_messages():
    with pytest.raises(UsageError, match=r"l2_penalty: `strength` must be from 0 on, got -0\.1"):
        ops.l2_penalty([1.0], strength=-0.1)
    with pytest.raises(
        UsageError, match=r"l1_penalty_backward: `grad_output` must have the output's shape \(\), got \(1,\)"
    ):
        ops.l1_penalty_backward([1.0], [1.0], strength=0.1)
    with pytest.raises(UsageError, match=r"l1_penalty: `of` must be"):
        ops.L1Penalty(0.1).gradient_working("weight", (0,), np.array(1.0), np.ones(1))
