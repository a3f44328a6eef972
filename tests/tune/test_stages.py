from __future__ import annotations

import pytest
import torch
from torch import nn

from striate import models
from striate.tune.head import find_head
from striate.tune.stages import divide, learning


def _divided(name):
    info = models.info(name)
    network = models.create(name)
    return network, divide(network, find_head(network, torch.zeros(2, info.in_channels, *[info.image_size] * 2)))


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]),
        ("lenet5", ["features.conv1", "features.conv2", "classifier.fc1", "classifier.fc2", "classifier.head"]),
    ],
)
def test_stages_of_the_classics(name, stages):
    assert [stage.name for stage in _divided(name)[1]] == stages


@pytest.mark.parametrize("name", ["vgg11", "vgg16_bn", "densenet121", "mobilenet_v2", "googlenet", "resnet20"])
def test_every_parameter_is_in_one_stage_and_there_are_not_many(name):
    network, stages = _divided(name)
    owned = [
        f"{path}.{own}" for stage in stages for path in stage.layers
        for own, _ in network.get_submodule(path).named_parameters(recurse=False)
    ]  # fmt: skip
    assert sorted(owned) == sorted(key for key, _ in network.named_parameters())
    assert 3 <= len(stages) <= 7
    assert len({stage.name for stage in stages}) == len(stages)


def test_normalisation_goes_with_the_layer_before_it():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3)
    )
    stages = divide(network, find_head(network, torch.zeros(2, 1, 8, 8)))
    assert [stage.layers for stage in stages] == [("0", "1"), ("2", "3"), ("5",)]


def test_the_last_stages_learn_and_the_others_are_in_evaluation_mode(small):
    network = small()
    stages = divide(network, find_head(network, torch.zeros(2, 1, 12, 12)))
    groups = learning(network, stages, count=2)
    assert [len(group) for group in groups] == [4, 2]
    assert {name.partition(".")[0] for name, p in network.named_parameters() if p.requires_grad} == {"top", "fc"}
    modes = {path: module.training for path, module in network.named_modules()}
    assert modes["top.1"]
    assert modes["drop"]  # comes before the head, which learns
    assert not modes["middle.1"]
    assert not modes["stem"]
