import numpy as np
import pytest
import torch
from torch import nn

from striate.errors import UsageError
from striate.see.maps import feature_maps


def _network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 5, 2),
        nn.Flatten(),
        nn.Linear(20, 2),
    )


def test_maps_are_what_the_layers_return():
    net, x = _network(), torch.randn(2, 1, 8, 8)
    first, second = feature_maps(net, x)
    assert [first.node, second.node] == ["2", "4"]
    with torch.no_grad():
        np.testing.assert_allclose(first.values, net.eval()[:3](x).numpy(), atol=1e-6)
        np.testing.assert_allclose(second.values, net[:5](x).numpy(), atol=1e-6)


def test_named_layers_and_the_strongest_channels():
    net, x = _network(), torch.randn(1, 1, 8, 8)
    (pooled,) = feature_maps(net, x, nodes="3")
    sums = pooled.values.sum(axis=(2, 3))[0]
    assert pooled.strongest(2)[0].tolist() == sorted(range(3), key=lambda c: -sums[c])[:2]
    assert len(pooled.figure().axes) >= 4


def test_layers_without_positions():
    net, x = _network(), torch.randn(1, 1, 8, 8)
    with pytest.raises(UsageError, match=r"must have positions, .* got `6`"):
        feature_maps(net, x, nodes=["6"])
    with pytest.raises(UsageError, match="no convolution of images"):
        feature_maps(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), x)
