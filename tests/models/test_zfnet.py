"""ZFNet: sizes of figure 3 and counts."""

from __future__ import annotations

import torch
from torch import nn

from striate import models


def test_maps_have_the_published_sizes() -> None:
    # Source: figure 3 of arXiv:1311.2901: 110 -> 55 -> 26 -> 13 -> 13 -> 13 -> 13 -> 6.
    with torch.device("meta"):
        model, x = models.create("zfnet"), torch.zeros(1, 3, 224, 224)
        sides = []
        for layer in model.features:
            x = layer(x)
            if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
                sides.append(x.shape[-1])
    assert sides == [110, 55, 26, 13, 13, 13, 13, 6]


def test_counts_layer_by_layer() -> None:
    # By hand from figure 3.
    with torch.device("meta"):
        model = models.create("zfnet")
    convolutions = [sum(p.numel() for p in m.parameters()) for m in model.features if isinstance(m, nn.Conv2d)]
    assert convolutions == [
        96 * (3 * 49 + 1),
        256 * (96 * 25 + 1),
        384 * (256 * 9 + 1),
        384 * (384 * 9 + 1),
        256 * (384 * 9 + 1),
    ]
    assert model.classifier.fc6.in_features == 256 * 6 * 6


def test_a_forward_pass_on_small_images() -> None:
    model = models.create("zfnet", image_size=47, num_classes=3).eval()
    assert model(torch.randn(2, 3, 47, 47)).shape == (2, 3)
