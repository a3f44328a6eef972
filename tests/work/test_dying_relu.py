"""Dead units against a training in PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from striate.ops.activation import LeakyReLU, ReLU
from striate.work import dying_relu
from striate.work._scene import read_scene
from striate.work._small_network import BATCH, SmallNetwork
from striate.work.dying_relu import RATES, STEPS, dead_units_stay, dying_units

SCENE = read_scene(None, seed=0)


@pytest.mark.parametrize("measure", [dying_units, dead_units_stay])
@pytest.mark.parametrize("seed", [1, 2])
def test_as_claimed(measure, seed):
    finding = measure(read_scene(None, seed=seed))
    assert [row.what for row in finding.rows if not row.is_as_claimed] == []


def _by_pytorch(scene, *, lr, slope, steps):
    """Return the share of dead units and of samples that are right after the same training in PyTorch."""
    start = SmallNetwork(scene, ReLU())
    x, targets = torch.tensor(start.x), torch.tensor(start.targets)
    parameters = [torch.tensor(array, requires_grad=True) for array in (*start.weights, *start.biases)]
    weights, biases = parameters[:3], parameters[3:]
    optimizer, batches = torch.optim.SGD(parameters, lr=lr), scene.generator("batches")

    def sums(values):
        found = [values @ weights[0].T + biases[0]]
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            found.append(torch.nn.functional.leaky_relu(found[-1], slope) @ weight.T + bias)
        return found

    for _ in range(steps):
        chosen = batches.integers(0, len(x), BATCH)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(sums(x[chosen])[-1], targets[chosen]).backward()
        optimizer.step()
    with torch.no_grad():
        hidden, logits = sums(x)[:-1], sums(x)[-1]
    dead = torch.cat([(z <= 0).all(dim=0) for z in hidden]).double().mean()
    return float(dead), float((logits.argmax(dim=1) == targets).double().mean())


@pytest.mark.parametrize("lr", [0.1, 1.0])
def test_training_by_pytorch(lr):
    network = SmallNetwork(SCENE, ReLU())
    network.train(lr=lr, steps=60)
    assert (network.dead, network.right) == pytest.approx(_by_pytorch(SCENE, lr=lr, slope=0.0, steps=60))
    leaky = SmallNetwork(SCENE, LeakyReLU(0.01))
    leaky.train(lr=lr, steps=60)
    assert leaky.dead == 0.0
    assert leaky.right == pytest.approx(_by_pytorch(SCENE, lr=lr, slope=0.01, steps=60)[1])


def test_dead_units_get_no_gradient():
    network = SmallNetwork(SCENE, ReLU())
    network.train(lr=1.5, steps=STEPS)
    gradients = network.gradients()
    silent = network.silent()
    assert sum(units.sum() for units in silent) / 128 == network.dead > 0
    for (grad_weight, grad_bias), units in zip(gradients, silent, strict=False):
        assert not grad_weight[units].any()
        assert not grad_bias[units].any()


def test_a_divergence_is_said():
    network = SmallNetwork(SCENE, LeakyReLU(0.01))
    network.train(lr=1e6, steps=50)
    assert network.has_diverged
    assert math.isnan(network.dead)
    assert math.isnan(network.right)


def test_the_table_has_a_row_a_rate():
    finding = dying_units(SCENE)
    rows = {row.what: row.values for row in finding.rows}
    assert [row.what for row in finding.rows[: len(RATES)]] == [f"learning rate {lr:g}" for lr in RATES]
    dead = [rows[f"learning rate {lr:g}"][0] for lr in RATES]
    assert rows["ReLU: dead at most"] == (np.nanmax(dead),)
    diverged = any(math.isnan(value) for lr in RATES for value in rows[f"learning rate {lr:g}"])
    assert ("Training diverged with" in finding.verdict) == diverged != ("No training diverged." in finding.verdict)


def test_units_that_never_die_do_not_pass(monkeypatch):
    monkeypatch.setattr(dying_relu, "ReLU", lambda: LeakyReLU(0.2))
    rows = {row.what: row.is_as_claimed for row in dying_units(SCENE).rows}
    assert not rows["ReLU: dead at most"]
