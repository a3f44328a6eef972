import numpy as np
import pytest
import torch
from torch import nn

from striate.errors import UsageError
from striate.see.transforms import TRANSFORMS, invariance, transformed


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1),
                         nn.Flatten(), nn.Linear(4, 3)).eval()  # fmt: skip


def _dot(row, column, side=9):
    x = torch.zeros(1, 1, side, side)
    x[0, 0, row, column] = 1.0
    return x


def test_images_are_moved_scaled_and_turned():
    assert torch.allclose(transformed(_dot(4, 4), "translation", 2), _dot(6, 4), atol=1e-5)
    assert torch.allclose(transformed(_dot(4, 4), "translation", -3), _dot(1, 4), atol=1e-5)
    assert torch.allclose(transformed(_dot(4, 6), "rotation", 90), _dot(2, 4), atol=1e-5)  # right goes up
    assert torch.allclose(transformed(_dot(4, 6), "rotation", 360), _dot(4, 6), atol=1e-5)
    bigger = transformed(_dot(4, 6), "scale", 2)
    assert float(bigger[0, 0, 4, 8]) == pytest.approx(1.0, abs=1e-5)  # twice as far from the middle


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_nothing_changes_where_nothing_is_done(transform):
    net, x = _network(), torch.randn(2, 1, 12, 12)
    found = invariance(net, x, transform=transform)
    still = {"translation": 0, "scale": 1, "rotation": 0}[transform]
    at = found.amounts.tolist().index(still)
    np.testing.assert_allclose(found.distances[:, at], 0, atol=1e-5)
    with torch.no_grad():
        answers = net(x).softmax(1).max(1).values.numpy()
    np.testing.assert_allclose(found.probabilities[at], answers, rtol=1e-5)
    assert found.nodes == ("1", "3", "6")
    assert found.distances.shape == (3, len(found.amounts), 2)
    assert len(found.figure().axes) == 2


def test_pooling_over_everything_makes_a_network_indifferent_to_small_moves():
    net = _network()
    x = torch.zeros(1, 1, 20, 20)
    x[:, :, 8:12, 8:12] = torch.randn(4, 4, generator=torch.Generator().manual_seed(2))
    found = invariance(net, x, transform="translation", amounts=(-2, 2))
    assert (found.distances[0] > 0.5).all()  # the first layer's maps move with the image
    np.testing.assert_allclose(found.distances[2], 0, atol=1e-4)  # the answer does not


def test_bad_arguments():
    with pytest.raises(UsageError, match="must be one of translation, scale, rotation, got 'rotate'"):
        invariance(_network(), torch.randn(1, 1, 9, 9), transform="rotate")
    with pytest.raises(UsageError, match="must be more than 0, got 0"):
        invariance(_network(), torch.randn(1, 1, 9, 9), transform="scale", amounts=(0,))
