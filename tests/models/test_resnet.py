"""Residual networks: torchvision's layers, counts of the CIFAR networks, shortcuts, learning."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate import models
from striate.models.resnet import BasicBlock, Bottleneck, ZeroPadShortcut

IMAGENET = [name for name in models.list() if name.startswith("resnet") and models.info(name).num_classes == 1000]


@pytest.mark.parametrize("name", IMAGENET)
def test_layers_are_those_of_torchvision(name: str, torchvision_shapes) -> None:
    with torch.device("meta"):
        model = models.create(name)
    shapes, num_params = torchvision_shapes(name)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == shapes
    assert models.info(name).num_params == num_params


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_counts_of_the_cifar_networks_by_hand(depth: int) -> None:
    # Source: arXiv:1512.03385, section 4.2: 6n + 2 layers, no parameters in shortcuts; two per normalised map.
    blocks = (depth - 2) // 6
    expected = 3 * 16 * 9 + 2 * 16 + 64 * 10 + 10
    for before, width in ((16, 16), (16, 32), (32, 64)):
        expected += (before + width * (2 * blocks - 1)) * width * 9 + 2 * blocks * 2 * width
    assert models.info(f"resnet{depth}").num_params == expected


@pytest.mark.parametrize("name", [f"resnet{depth}" for depth in (20, 32, 44, 56, 110)])
def test_the_name_counts_the_layers_with_weights(name: str) -> None:
    with torch.device("meta"):
        layers = [m for m in models.create(name).modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert f"resnet{len(layers)}" == name


def test_zero_pad_shortcut_known_value() -> None:
    # Every second pixel of a 4 x 4 ramp; one channel of zeros before and one after.
    out = ZeroPadShortcut(1, 3, 2)(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert out[0].tolist() == [[[0, 0], [0, 0]], [[0, 2], [8, 10]], [[0, 0], [0, 0]]]


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_block_with_silent_branch_is_the_relu_of_its_input(block: type[BasicBlock] | type[Bottleneck]) -> None:
    module = block(in_channels=8 * block.expansion, width=8, stride=1, shortcut=ZeroPadShortcut)
    assert module.downsample is None
    nn.init.zeros_((module.bn2 if block is BasicBlock else module.bn3).weight)
    x = torch.randn(2, 8 * block.expansion, 5, 5)
    torch.testing.assert_close(module(x.clone()), x.relu())


def test_bottleneck_strides_in_its_3x3_convolution() -> None:
    with torch.device("meta"):
        block = models.create("resnet50").layer2[0]
    assert (block.conv1.stride, block.conv2.stride, block.downsample[0].stride) == ((1, 1), (2, 2), (2, 2))


@pytest.mark.parametrize(("name", "side"), [("resnet18_cifar", 4), ("resnet20", 8), ("resnet18", 1)])
def test_side_of_the_last_map_of_32_pixel_images(name: str, side: int) -> None:
    with torch.device("meta"):
        model, seen = models.create(name).eval(), []
        model.avgpool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
        model(torch.zeros(1, 3, 32, 32))
    assert seen == [side]


def test_learns_a_few_images(loss_after) -> None:
    torch.manual_seed(0)
    assert loss_after(models.create("resnet20", num_classes=4), (3, 32, 32), steps=25, lr=5e-3) < 0.05
