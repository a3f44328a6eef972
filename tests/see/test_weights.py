import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate import models
from striate.errors import UsageError
from striate.see.weights import Filters, filters, hand_made, similarity

SOBEL = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])


def _filters(values):
    return Filters(node="conv1", values=np.asarray(values, dtype=np.float32))


def test_filters_are_the_weights_of_the_first_or_a_named_convolution():
    net = models.create("lenet5").eval()
    x = torch.zeros(1, 1, 28, 28)
    first = filters(net, x)
    np.testing.assert_array_equal(first.values, next(net.parameters()).detach().numpy())
    assert first.tiles().shape == (6, 5, 5, 3)
    assert filters(net, x, node="features.conv2").values.shape == (16, 6, 5, 5)
    assert len(first.figure().axes) == 6


def test_without_an_example_modules_are_found():
    net = models.create("lenet5")
    np.testing.assert_array_equal(filters(net).values, filters(net, torch.zeros(1, 1, 28, 28)).values)
    assert filters(net, node="features.conv2").node == "features.conv2"
    with pytest.raises(UsageError, match=r"an nn.Conv2d named 'conv9', got features.conv1"):
        filters(net, node="conv9")
    with pytest.raises(UsageError, match="Give an example"):
        filters(nn.Linear(3, 2))


def test_functional_convolutions_count():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(2, 3, 3, 3))

        def forward(self, x):
            return F.conv2d(x, self.kernel)

    net = Functional()
    np.testing.assert_array_equal(filters(net, torch.zeros(1, 3, 5, 5)).values, net.kernel.detach().numpy())


def test_grey_is_zero_and_three_channels_are_colours():
    values = np.zeros((1, 3, 1, 2))
    values[0, 0, 0, 1] = 2.0
    np.testing.assert_allclose(_filters(values).tiles()[0, 0], [[0.5, 0.5, 0.5], [1.0, 0.5, 0.5]])


def test_a_network_is_like_itself_in_any_order():
    own = np.random.default_rng(0).normal(size=(5, 1, 5, 5))
    order = [3, 0, 4, 1, 2]
    found = similarity(_filters(own), _filters(-own[order]))
    np.testing.assert_allclose(found.magnitudes, 1.0, rtol=1e-6)
    assert all(order[second] == first for first, second in found.pairs)
    assert found.by_chance < 0.8
    assert "5 pairs" in str(found)


def test_filters_made_by_hand_are_recognised():
    found = hand_made(_filters(np.stack([SOBEL, -3 * SOBEL.T])[:, None]))
    assert all("sobel" in name for name in found.names)
    np.testing.assert_allclose(np.abs(found.cosines), 1.0, rtol=1e-6)
    assert found.by_chance < 1
    assert "conv1[1]" in str(found)


def test_bad_filters():
    with pytest.raises(UsageError, match="`second` must have filters of shape"):
        similarity(_filters(np.ones((1, 1, 3, 3))), _filters(np.ones((1, 1, 5, 5))))
    with pytest.raises(UsageError, match="at least 3 x 3, got 1 x 1"):
        hand_made(_filters(np.ones((1, 1, 1, 1))))
    with pytest.raises(UsageError, match="must be or hold a convolution"):
        filters(nn.Linear(3, 2), torch.zeros(1, 3))
    with pytest.raises(UsageError, match="`node` '1' must be or hold"):
        filters(nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU()), torch.zeros(1, 1, 5, 5), node="1")
