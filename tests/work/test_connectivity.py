"""Connections and parameters against PyTorch's own layers, and gradients of copies against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate import models
from striate.work import connectivity
from striate.work._scene import read_scene

SCENE = read_scene(None, seed=0)
MEASURES = [getattr(connectivity, name) for name in connectivity.__all__]


def _values(finding):
    return {row.what: row.values for row in finding.rows}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
@pytest.mark.parametrize("seed", [1, 2])
def test_as_claimed(measure, seed):
    finding = measure(read_scene(None, seed=seed))
    assert [row.what for row in finding.rows if not row.is_as_claimed] == []


def test_connections():
    values = _values(connectivity.sparse_connections(SCENE))
    # 004-params-counts: 614,656 to 7,056 to 9; of the 28 x 28 windows those at the border lose 3 or 5 of their 9.
    assert values["weights of a dense layer, n m"] == (614_656,)
    assert values["connections that are left, k m but for the borders"] == (7_056 - 4 * 5 - 4 * 26 * 3,)
    assert values["different weights among them"] == (9,)


@pytest.mark.parametrize(
    ("label", "model"),
    [
        ("MLP 784-128-64-10 for MNIST", "mlp_mnist"),
        ("LeNet-5 for MNIST", "lenet5"),
        ("MLP 3072-1536-768-384-128-10 for CIFAR-10", "mlp_cifar"),
        ("CNN 32-64-128-10 for CIFAR-10", "cnn_cifar"),
    ],
)
def test_parameters_are_those_of_the_networks(label, model):
    built = sum(parameter.numel() for parameter in models.create(model).parameters())
    assert _values(connectivity.dense_against_convolution(SCENE))[label] == (built,)


@pytest.mark.parametrize(
    ("label", "layer"),
    [
        ("dense, 784 to 30", torch.nn.Linear(784, 30)),
        ("20 filters of 5 x 5 on the same", torch.nn.Conv2d(1, 20, 5)),
    ],
)
def test_parameters_of_single_layers(label, layer):
    built = sum(parameter.numel() for parameter in layer.parameters())
    assert _values(connectivity.dense_against_convolution(SCENE))[label] == (built,)


def test_a_shared_weight_gets_the_sum_by_autograd():
    generator = SCENE.generator("gradient")
    weight = torch.tensor(generator.normal(size=(1, 1, 3, 3)))
    grad_output = torch.tensor(generator.normal(size=(1, 1, 10, 10)))
    patches = torch.nn.functional.unfold(torch.tensor(SCENE.centre(12, 12)[None, None]), 3)[0]  # (9, 100)
    copies = weight.reshape(9, 1).repeat(1, 100).requires_grad_()
    ((copies * patches).sum(dim=0) * grad_output.reshape(-1)).sum().backward()
    mean = copies.grad.mean(dim=1, keepdim=True)
    spread = ((copies.grad - mean) ** 2).mean().sqrt() / (mean**2).mean().sqrt()
    values = _values(connectivity.shared_gradient(SCENE))
    assert values["a copy's own gradient against their mean"] == pytest.approx((float(spread),))


def test_unshuffled_pixels_lose_nothing():
    values = _values(connectivity.pixel_order(SCENE))
    assert values["answers that the best 3 x 3 kernel misses, unshuffled"][0] < 1e-20
    assert values["answers that the best 3 x 3 kernel misses, shuffled"][0] > 0.9


def test_a_layer_that_is_not_the_matrix_does_not_pass(monkeypatch):
    original = connectivity.conv2d
    monkeypatch.setattr(connectivity, "conv2d", lambda x, w, **options: np.maximum(original(x, w, **options), 0))
    rows = {row.what: row.is_as_claimed for row in connectivity.sparse_connections(SCENE).rows}
    assert not rows["matrix times picture against convolution"]
