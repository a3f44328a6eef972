"""Gates, switches and edges, with the answers of the course texts and of autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.work import gates
from striate.work._scene import read_scene

SCENE = read_scene(None, seed=0)
MEASURES = [getattr(gates, name) for name in gates.__all__]


def _values(finding):
    return {row.what: row.values for row in finding.rows}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
@pytest.mark.parametrize("seed", [1, 2])
def test_as_claimed(measure, seed):
    finding = measure(read_scene(None, seed=seed))
    assert [row.what for row in finding.rows if not row.is_as_claimed] == []


def test_edges():
    values = _values(gates.edge_kernels(SCENE))
    assert values["vertical-edge on the boundary"] == (30,) * 4  # 003-vertical-edge
    assert values["turned by 90 degrees, largest anywhere"] == (0,) * 4  # 003-horizontal-on-vertical


def test_zeros_by_pytorch():
    weights = SCENE.kernel(3) - SCENE.kernel(3).mean()
    maps = torch.nn.functional.conv2d(torch.tensor(SCENE.batch), torch.tensor(weights)[None, None])
    assert _values(gates.relu_gate(SCENE))["outputs that are 0"] == pytest.approx((float((maps <= 0).double().mean()),))


def test_the_share_of_pixels_by_autograd():
    x = torch.tensor(SCENE.batch, requires_grad=True)
    torch.nn.functional.max_pool2d(x, 2).sum().backward()
    share = float((x.grad != 0).double().mean())
    assert _values(gates.max_pool_switch(SCENE))["pixels that get a gradient, of all"] == (share,) == (0.25,)


def test_exclusive_or():
    values = _values(gates.nonlinearity(SCENE))
    # The best plane through the four corners is 1/2 everywhere.
    assert values["exclusive or: error of the best linear layer"] == pytest.approx((0.5,))
    assert values["exclusive or: error of two ReLU units"] == (0.0,)


def test_a_gate_that_leaks_does_not_pass(monkeypatch):
    monkeypatch.setattr(gates, "relu_backward", lambda gradient, x: gradient * np.where(x > 0, 1.0, 0.01))
    assert not gates.relu_gate(SCENE).rows[2].is_as_claimed


def test_a_switch_that_spreads_does_not_pass(monkeypatch):
    monkeypatch.setattr(
        gates,
        "max_pool2d_backward",
        lambda gradient, x, window: np.repeat(np.repeat(gradient, 2, axis=2), 2, axis=3) / 4,
    )
    assert not any(row.is_as_claimed for row in (gates.max_pool_switch(SCENE).rows[i] for i in (0, 1, 2, 3)))


def test_linear_units_do_not_solve_the_exclusive_or(monkeypatch):
    monkeypatch.setattr(gates, "relu", lambda x: x)
    rows = gates.nonlinearity(SCENE).rows
    assert not rows[1].is_as_claimed
    assert not rows[3].is_as_claimed
