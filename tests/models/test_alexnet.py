"""AlexNet: torchvision's layers; counts, towers and starting weights of 2012."""

from __future__ import annotations

import torch
from torch import nn

from striate import models


def test_layers_are_those_of_torchvision(torchvision_shapes) -> None:
    with torch.device("meta"):
        model = models.create("alexnet")
    shapes, num_params = torchvision_shapes("alexnet")
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == shapes
    assert models.info("alexnet").num_params == num_params


def test_counts_of_2012_layer_by_layer() -> None:
    # Source: figure 2 of the paper; a kernel of layers 2, 4 and 5 sees the maps of its own tower only.
    with torch.device("meta"):
        model = models.create("alexnet_2012")
    counts = [
        sum(parameter.numel() for parameter in layer.parameters())
        for layer in (*model.features, *model.classifier)
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    assert counts == [
        96 * (3 * 11 * 11 + 1),
        256 * (48 * 5 * 5 + 1),
        384 * (256 * 3 * 3 + 1),
        384 * (192 * 3 * 3 + 1),
        256 * (192 * 3 * 3 + 1),
        4096 * (256 * 6 * 6 + 1),
        4096 * (4096 + 1),
        1000 * (4096 + 1),
    ]


def test_maps_of_2012_have_the_published_sizes() -> None:
    # Source: figure 2, sides of 55, 27, 13, 13 and 13 with twice the 48, 128, 192, 192 and 128 maps of one tower.
    with torch.device("meta"):
        model, x = models.create("alexnet_2012"), torch.zeros(1, 3, 224, 224)
        shapes = []
        for layer in model.features:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                shapes.append(tuple(x.shape[1:]))
    assert shapes == [(96, 55, 55), (256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13)]


def test_a_tower_does_not_see_the_other() -> None:
    torch.manual_seed(0)
    model = models.create("alexnet_2012", image_size=63, num_classes=2)
    second = model.features[4]
    x = torch.randn(1, 96, 7, 7)
    changed = x.clone()
    changed[:, 48:] += 1
    same = second(x) == second(changed)
    assert same[:, :128].all()
    assert not same[:, 128:].any()


def test_response_norm_is_the_formula_of_the_paper() -> None:
    # Section 3.3: b_i = a_i / (k + alpha * sum over 5 neighbours of a_j^2)^beta, k = 2, alpha = 1e-4, beta = 0.75.
    with torch.device("meta"):
        norm = models.create("alexnet_2012").features[2]
    a = torch.arange(1.0, 8.0)[None, :, None, None] * 100
    squares = [sum((100.0 * j) ** 2 for j in range(max(1, i - 2), min(7, i + 2) + 1)) for i in range(1, 8)]
    expected = torch.tensor([100.0 * i / (2 + 1e-4 * s) ** 0.75 for i, s in zip(range(1, 8), squares, strict=True)])
    torch.testing.assert_close(norm(a).flatten(), expected)


def test_starting_weights_of_2012() -> None:
    torch.manual_seed(0)
    model = models.create("alexnet_2012", image_size=63, num_classes=2)
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    # Section 5: bias 1 in the second, fourth and fifth convolution and in the hidden dense layers.
    assert [layer.bias.unique().tolist() for layer in layers] == [[0], [1], [0], [1], [1], [1], [1], [0]]
    assert abs(layers[2].weight.std().item() - 0.01) < 1e-4
