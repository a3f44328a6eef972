"""The gradient of the first layer against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.ops.initialization import glorot_normal, he_normal
from striate.work import gradients_by_depth as depth
from striate.work._scene import read_scene

SCENE = read_scene(None, seed=0)
ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "ReLU": torch.relu}


def _by_autograd(activation, layers, shortcuts):
    x = torch.tensor(depth._patches(SCENE))
    targets = torch.tensor(SCENE.generator("targets").integers(0, depth.CLASSES, size=len(x)))
    generator = SCENE.generator("depth")
    draw = he_normal if activation == "ReLU" else glorot_normal
    shapes = [(depth.WIDTH, x.shape[1]), *[(depth.WIDTH, depth.WIDTH)] * (layers - 1), (depth.CLASSES, depth.WIDTH)]
    weights = [torch.tensor(draw(shape, generator=generator), requires_grad=True) for shape in shapes]
    for number, weight in enumerate(weights[:-1]):
        answer = ACTIVATIONS[activation](x @ weight.T)
        x = answer + x if shortcuts and number else answer
    torch.nn.functional.cross_entropy(x @ weights[-1].T, targets).backward()
    return float(weights[0].grad.norm())


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("layers", [1, 2, 7, 20])
@pytest.mark.parametrize("shortcuts", [False, True])
def test_gradients_by_autograd(activation, layers, shortcuts):
    (norm,) = depth.first_layer_gradients(SCENE, activation, depths=(layers,), shortcuts=shortcuts)
    assert norm == pytest.approx(_by_autograd(activation, layers, shortcuts), rel=1e-9)


@pytest.mark.parametrize("measure", [depth.slopes, depth.vanishing_gradients, depth.residual_shortcuts])
@pytest.mark.parametrize("seed", [1, 2])
def test_as_claimed(measure, seed):
    finding = measure(read_scene(None, seed=seed))
    assert [row.what for row in finding.rows if not row.is_as_claimed] == []


def test_one_row_for_each_depth():
    rows = depth.vanishing_gradients(SCENE).rows
    assert [row.what for row in rows[:20]] == [f"{n} hidden layer{'s' if n > 1 else ''}" for n in range(1, 21)]
    sigmoid = [row.values[0] for row in rows[:20]]
    # The slope is at most 1/4, and a Glorot weight keeps the size of what goes through it.
    assert np.all(np.diff(sigmoid) < 0)
    assert rows[20].values[0] == pytest.approx((sigmoid[-1] / sigmoid[0]) ** (1 / 19))


def test_slopes_of_the_texts():
    rows = {row.what: row.values for row in depth.slopes(SCENE).rows}
    # 000-sigmoid-limits
    assert rows["sigmoid"][0] == pytest.approx(4.248354255291589e-18, rel=1e-12)
    assert rows["sigmoid"][3] == 0.25
    assert rows["ReLU"] == (0, 0, 0, 0, 1, 1, 1)


def test_activations_that_do_not_saturate_do_not_pass_for_sigmoids(monkeypatch):
    monkeypatch.setitem(depth.ACTIVATIONS, "sigmoid", depth.ReLU())
    rows = {row.what: row.is_as_claimed for row in depth.vanishing_gradients(SCENE).rows}
    assert not rows["20 layers, of 1 layer: sigmoid"]


def test_a_black_picture_has_no_gradient():
    black = read_scene(np.zeros((40, 40)), seed=0)
    assert not all(row.is_as_claimed for row in depth.vanishing_gradients(black).rows)
