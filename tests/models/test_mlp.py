"""Perceptrons: known numbers, flattening, learning."""

from __future__ import annotations

import torch
from torch import nn

from striate import models
from striate.models.mlp import MLP


def test_known_values() -> None:
    # By hand: 2-2-1, hidden = relu(1*1 + 2*2 + 0, -1*1 - 1*2 + 1) = (5, 0), logit = 3*5 + 7*0 - 1 = 14.
    model = MLP(in_features=2, hidden_widths=(2,), num_classes=1)
    with torch.no_grad():
        model.layers.fc1.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, -1.0]]))
        model.layers.fc1.bias.copy_(torch.tensor([0.0, 1.0]))
        model.layers.head.weight.copy_(torch.tensor([[3.0, 7.0]]))
        model.layers.head.bias.fill_(-1.0)
    assert model(torch.tensor([[1.0, 2.0]])).item() == 14.0


def test_images_are_flattened_channels_first() -> None:
    model = models.create("mlp_mnist", in_channels=2, image_size=3).eval()
    images = torch.randn(4, 2, 3, 3)
    torch.testing.assert_close(model(images), model(images.reshape(4, 18)))


def test_hidden_units_have_relu_and_the_logits_none() -> None:
    kinds = [type(layer) for layer in models.create("mlp_cifar").layers]
    assert kinds.count(nn.Linear) == 5
    assert kinds.count(nn.ReLU) == 4
    assert kinds[-1] is nn.Linear


def test_learns_a_few_vectors(loss_after) -> None:
    torch.manual_seed(0)
    assert loss_after(models.create("mlp_iris", num_classes=4), (4,), steps=400, lr=0.02) < 0.05
