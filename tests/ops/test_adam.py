"""Adam and AdamW: torch.optim over several steps, working, messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.ops import adam as ops

OPTIONS = [{}, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.2}, {"weight_decay": 0.05}]


@pytest.mark.parametrize(
    ("step", "optimizer"), [(ops.adam_step, torch.optim.Adam), (ops.adamw_step, torch.optim.AdamW)]
)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_pytorch_over_steps(step, optimizer, options, random):
    w, state = random.normal(size=(3, 4)), None
    tensor = torch.nn.Parameter(torch.tensor(w))
    reference = optimizer([tensor], **options)
    for number in range(1, 11):
        gradient = random.normal(size=(3, 4)) * 10.0 ** random.integers(-4, 4, size=(3, 4))
        tensor.grad = torch.tensor(gradient)
        reference.step()
        w, state = step(w, gradient, state, **options)
        assert np.abs(w - tensor.detach().numpy()).max() < 1e-12
        assert state.step == number


def test_first_step_has_the_length_of_the_rate():
    # After one step m / (1 - beta1) = g and s / (1 - beta2) = g^2: the step is lr g / (|g| + eps).
    w, _ = ops.adam_step([0.0, 0.0, 0.0], [1e-3, -50.0, 0.0], lr=0.01)
    assert np.allclose(w, [-0.01, 0.01, 0], rtol=1e-4)


def test_decay_of_adam_is_scaled_by_the_root_and_that_of_adamw_is_not():
    w, g = np.array([4.0, 4.0]), np.array([100.0, 0.0])
    assert np.allclose(ops.adamw_step(w, g, lr=0.1, weight_decay=0.5)[0], [4 - 0.2 - 0.1, 4 - 0.2], rtol=1e-8)
    assert np.allclose(ops.adam_step(w, g, lr=0.1, weight_decay=0.5)[0], [4 - 0.1, 4 - 0.1], rtol=1e-8)


def test_arguments_are_left_as_they_were_and_forms_of_input(random):
    w, g = np.asfortranarray(random.normal(size=(4, 3)))[::-1], random.normal(size=(4, 3))
    before = w.copy()
    _, state = ops.adam_step(w, g)
    mean = state.mean.copy()
    ops.adam_step(w, g, state)
    assert np.array_equal(w, before)
    assert np.array_equal(state.mean, mean)
    single = np.ones(3, dtype=np.float32)
    new, state = ops.adamw_step(single, single)
    assert new.dtype == state.mean.dtype == state.square.dtype == np.float32


@pytest.mark.parametrize("rule", [ops.Adam(weight_decay=0.1), ops.AdamW(lr=0.1)], ids=str)
def test_working(rule, random, assert_adds_up):
    w, g = random.normal(size=(2, 3)), random.normal(size=(2, 3))
    new, state = rule.step(w, g)
    assert_adds_up(rule.working((1, 2), w, g), new[1, 2])
    assert_adds_up(rule.working((1, 2), w, g, state), rule.step(w, g, state)[0][1, 2])


def test_working_as_text():
    assert str(ops.Adam(lr=0.1).working((0,), [1.0], [2.0])).splitlines() == [
        "adam_step at [0]",
        "  w <- w - lr (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)",
        "  g = 2 + 0 x 1 = 2",
        "  m = 0.9 x 0 + 0.1 x 2 = 0.2",
        "  s = 0.999 x 0 + 0.001 x 2 x 2 = 0.004",
        "  corrected: 0.2 / (1 - 0.9^1) = 2",
        "  corrected: 0.004 / (1 - 0.999^1) = 4",
        "  d = 2 / (sqrt(4) + 1e-08) = 1",
        "  new w = 1 + (-0.1) x 1 = 0.9",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1}, r"adam_step: `lr` must be from 0 on, got -1"),
        ({"betas": (0.9, 1.0)}, r"adam_step: `betas` must be from 0 on and below 1, got 1\.0"),
        ({"eps": -1e-8}, r"adam_step: `eps` must be from 0 on, got -1e-08"),
        ({"weight_decay": -0.1}, r"adam_step: `weight_decay` must be from 0 on, got -0\.1"),
        (
            {"state": ops.AdamState(1, np.zeros(2), np.zeros(2))},
            r"adam_step: `state` must have the parameter's shape \(1,\), got \(2,\)",
        ),
    ],
)
def test_messages(options, message):
    with pytest.raises(UsageError, match=message):
        ops.adam_step([1.0], [1.0], **options)


def test_message_of_adamw():
    with pytest.raises(UsageError, match=r"adamw_step: `gradient` must have the parameter's shape \(1,\), got \(2,\)"):
        ops.adamw_step([1.0], [1.0, 2.0])
