"""Gradient descent and momentum: torch.optim over several steps, by hand, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops import optimizer as ops

MOMENTUM = [
    {},
    {"momentum": 0.0},
    {"momentum": 0.5, "weight_decay": 0.1},
    {"nesterov": True},
    {"nesterov": True, "weight_decay": 0.01, "momentum": 0.99},
]


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.3}], ids=str)
def test_sgd_equals_pytorch_over_steps(options, random, follow):
    ours, theirs = follow(ops.sgd_step, torch.optim.SGD, random, lr=0.05, **options)
    assert np.abs(ours - theirs).max() < 1e-12


@pytest.mark.parametrize("options", MOMENTUM, ids=str)
def test_momentum_equals_pytorch_over_steps(options, random, follow):
    ours, theirs = follow(ops.momentum_step, torch.optim.SGD, random, lr=0.05, **({"momentum": 0.9} | options))
    assert np.abs(ours - theirs).max() < 1e-12


@pytest.fixture
def follow():
    """Return a function that takes ten steps of both on the same gradients."""

    def run(step, optimizer, random, **options):
        w, state = random.normal(size=(3, 4)), None
        tensor = torch.nn.Parameter(torch.tensor(w))
        reference = optimizer([tensor], **options)
        for _ in range(10):
            gradient = random.normal(size=(3, 4))
            tensor.grad = torch.tensor(gradient)
            reference.step()
            w, state = step(w, gradient, state, **options)
        return w, tensor.detach().numpy()

    return run


def test_descent_goes_against_the_gradient():
    # L = w^2 / 2 has the gradient w: a step of 0.1 leaves 0.9 w. With a plus (as one text prints) it would grow.
    w = np.array([2.0])
    for _ in range(3):
        w, _ = ops.sgd_step(w, w, lr=0.1)
    assert np.allclose(w, 2 * 0.9**3, rtol=1e-15)


def test_arguments_are_left_as_they_were(random):
    w, g, v = (random.normal(size=3) for _ in range(3))
    before = [array.copy() for array in (w, g, v)]
    ops.momentum_step(w, g, v, lr=0.1)
    ops.sgd_step(w, g, lr=0.1)
    assert all(np.array_equal(a, b) for a, b in zip((w, g, v), before, strict=True))


def test_forms_of_input(random):
    w, g = np.asfortranarray(random.normal(size=(4, 3)))[::-1], random.normal(size=(4, 3))
    assert np.array_equal(ops.sgd_step(w, g, lr=0.1)[0], ops.sgd_step(w.copy(), g, lr=0.1)[0])
    single = np.ones(3, dtype=np.float32)
    new, velocity = ops.momentum_step(single, single, lr=0.1, weight_decay=0.1)
    assert new.dtype == velocity.dtype == ops.sgd_step(single, single, lr=0.1)[0].dtype == np.float32


@pytest.mark.parametrize("rule", [ops.SGD(0.1, 0.3), ops.Momentum(0.1), ops.Momentum(0.1, 0.8, True, 0.2)], ids=str)
def test_working(rule, random, assert_adds_up):
    w, g = random.normal(size=(2, 3)), random.normal(size=(2, 3))
    state = None if isinstance(rule, ops.SGD) else random.normal(size=(2, 3))
    assert_adds_up(rule.working((1, 2), w, g, state), rule.step(w, g, state)[0][1, 2])
    assert_adds_up(rule.working((0, 0), w, g), rule.step(w, g)[0][0, 0])


def test_working_as_text():
    assert str(ops.Momentum(0.1).working((0,), [1.0], [0.5], [2.0])).splitlines() == [
        "momentum_step at [0]",
        "  v <- momentum v + g, w <- w - lr v, g = dL/dw + weight_decay w",
        "  g = 0.5 + 0 x 1 = 0.5",
        "  v = 0.9 x 2 + 0.5 = 2.3",
        "  new w = 1 + (-0.1) x 2.3 = 0.77",
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.sgd_step([1.0], [1.0, 2], lr=0.1), r"sgd_step: `gradient` must have the parameter's shape \(1,\)"),
        (lambda: ops.sgd_step([1.0], [1.0], lr=-1), r"sgd_step: `lr` must be from 0 on, got -1"),
        (
            lambda: ops.sgd_step([1.0], [1.0], lr=1, weight_decay=-1),
            r"sgd_step: `weight_decay` must be from 0 on, got -1",
        ),
        (
            lambda: ops.momentum_step([1.0], [1.0], lr=1, momentum=1.0),
            r"momentum_step: `momentum` must be from 0 on and below 1, got 1\.0",
        ),
        (
            lambda: ops.momentum_step([1.0], [1.0], [1.0, 2], lr=1),
            r"momentum_step: `state` must have the parameter's shape \(1,\), got \(2,\)",
        ),
        (lambda: ops.SGD(0.1).working((1,), [1.0], [1.0]), r"sgd_step: `position` must be one index an axis"),
    ],
)
def test_messages(call, message):
    with pytest.raises(UsageError, match=message):
        call()
