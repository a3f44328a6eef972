from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate import models
from striate.errors import ModelError
from striate.tune.head import find_head, put, replace_head

HEADS = {
    "lenet5": "classifier.head",
    "cnn_cifar": "classifier.head",
    "resnet18": "fc",
    "vgg11": "classifier.6",
    "alexnet": "classifier.6",
    "densenet121": "classifier",
    "mobilenet_v2": "classifier.1",
    "googlenet": "fc",
}


@pytest.mark.parametrize(("name", "head"), HEADS.items())
def test_heads_of_the_classics(name, head):
    info = models.info(name)
    network = models.create(name).train()
    found = find_head(network, torch.zeros(2, info.in_channels, info.image_size, info.image_size))
    assert (found.name, found.num_classes) == (head, info.num_classes)
    assert all(module.training for module in network.modules())


class Squeezing(nn.Module):
    """A head that is a convolution, then averaged, as in networks without dense layers."""

    def __init__(self, last):
        super().__init__()
        self.body, self.decide, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 1), last

    def forward(self, x):
        return self.last(self.decide(F.relu(self.body(x))))


def test_a_convolution_that_is_averaged_afterwards():
    network = Squeezing(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    assert find_head(network, torch.zeros(2, 3, 8, 8)).name == "decide"


def test_what_ends_in_something_else_is_refused_with_the_layers_it_has():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1))
    with pytest.raises(ModelError, match=r"got `softmax`.*head=PATH.*1, 3"):
        find_head(network, torch.zeros(2, 12))
    assert find_head(network, torch.zeros(2, 12), name="3").num_classes == 3


def test_a_name_that_is_no_head(small):
    with pytest.raises(ModelError, match=r"path of a layer, got 'fx'.*fc"):
        find_head(small(), torch.zeros(2, 1, 12, 12), name="fx")
    with pytest.raises(ModelError, match=r"a linear layer or a 1 x 1 convolution, got 'stem.0', a Conv2d"):
        find_head(small(), torch.zeros(2, 1, 12, 12), name="stem.0")


def test_a_new_head_has_its_own_size_and_the_same_weights_for_the_same_seed(small):
    first, second = small(), small()
    for network in (first, second):
        head = replace_head(network, find_head(network, torch.zeros(2, 1, 12, 12)), num_classes=7, seed=3)
        assert network.fc is head.module
        assert (head.num_classes, head.num_features) == (7, 16)
    assert torch.equal(first.fc.weight, second.fc.weight)
    assert first(torch.zeros(2, 1, 12, 12)).shape == (2, 7)


def test_putting_a_module_in_its_place(small):
    network = small()
    put(network, "stem.2", nn.Identity())
    assert isinstance(network.stem[2], nn.Identity)
