"""The small CNN: layer shapes and learning."""

from __future__ import annotations

import torch

from striate import models


def test_shapes_of_the_course_text() -> None:
    # Source: the course network 3x3-32, pool, 3x3-64, pool, 4096-128-10.
    shapes = {key: tuple(p.shape) for key, p in models.create("cnn_cifar").named_parameters() if key.endswith("weight")}
    assert shapes == {
        "features.conv1.weight": (32, 3, 3, 3),
        "features.conv2.weight": (64, 32, 3, 3),
        "classifier.fc.weight": (128, 4096),
        "classifier.head.weight": (10, 128),
    }


def test_odd_image_sizes_round_down() -> None:
    model = models.create("cnn_cifar", image_size=31)
    assert model.classifier.fc.in_features == 64 * 7 * 7
    assert model(torch.zeros(2, 3, 31, 31)).shape == (2, 10)


def test_learns_a_few_images(loss_after) -> None:
    torch.manual_seed(0)
    assert loss_after(models.create("cnn_cifar", num_classes=4), (3, 32, 32), steps=20, lr=2e-3) < 0.05
