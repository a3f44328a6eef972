"""MobileNet: torchvision's layers, counts of version 1, strides of the CIFAR form."""

from __future__ import annotations

import torch
from torch import nn

from striate import models
from striate.models.mobilenet import V1_BLOCKS, InvertedResidual


def test_layers_are_those_of_torchvision(torchvision_shapes) -> None:
    with torch.device("meta"):
        model = models.create("mobilenet_v2")
    shapes, num_params = torchvision_shapes("mobilenet_v2")
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == shapes
    assert models.info("mobilenet_v2").num_params == num_params


def test_counts_of_version_1_by_hand() -> None:
    # Source: arXiv:1704.04861, table 1; a normalised map has two parameters.
    expected, channels = 3 * 32 * 9 + 2 * 32, 32
    for out_channels, _ in V1_BLOCKS:
        expected += channels * 9 + 2 * channels + channels * out_channels + 2 * out_channels
        channels = out_channels
    expected += 1024 * 1000 + 1000
    assert models.info("mobilenet_v1").num_params == expected


def test_v2_without_batch_normalisation_has_the_count_the_deviation_states() -> None:
    with torch.device("meta"):
        model = models.create("mobilenet_v2")
    norms = sum(p.numel() for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    stated = models.info("mobilenet_v2").deviations[0].here
    assert f"{models.info('mobilenet_v2').num_params - norms:,} without batch normalisation" in stated


def test_last_maps() -> None:
    for name, size, side in (
        ("mobilenet_v1", 224, 7),
        ("mobilenet_v2", 224, 7),
        ("mobilenet_v2", 32, 1),
        ("mobilenet_v2_cifar", 32, 4),
    ):
        with torch.device("meta"):
            features = models.create(name).eval().features(torch.zeros(1, 3, size, size))
        assert features.shape[-1] == side, name


def test_inverted_residual_adds_its_input_only_where_it_fits() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 6)
    for out_channels, stride, adds in ((8, 1, True), (8, 2, False), (16, 1, False)):
        block = InvertedResidual(in_channels=8, out_channels=out_channels, expansion=6, stride=stride)
        nn.init.zeros_(block.conv[-1].weight)
        out = block(x.clone())
        assert torch.equal(out, x) if adds else not out.any()


def test_depthwise_filters_see_one_channel_each() -> None:
    with torch.device("meta"):
        model = models.create("mobilenet_v1")
    depthwise = [block[0][0] for block in list(model.features)[1:]]
    assert all(layer.groups == layer.in_channels == layer.out_channels for layer in depthwise)
