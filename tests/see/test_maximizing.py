import numpy as np
import pytest
import torch
from torch import nn

from striate import models
from striate.errors import UsageError
from striate.see.maximizing import activation_maximization


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_the_image_beats_a_thousand_random_ones(name):
    torch.manual_seed(0)
    net = models.create(name).eval()
    shape = models.info(name).input_size
    found = activation_maximization(net, torch.zeros(1, *shape), of=[0, 3], steps=64)
    with torch.no_grad():
        random = net(torch.empty(1000, *shape).uniform_(-2, 2))
        reached = net(torch.from_numpy(found.values))
    for row, target in enumerate((0, 3)):
        assert found.scores[row] > float(random[:, target].max())
        assert found.scores[row] == pytest.approx(float(reached[row, target]), rel=1e-3)
    assert np.abs(found.values).max() <= 2
    assert found.trace.shape == (64, 2)
    assert len(found.figure().axes) == 2


def test_a_channel_is_maximised_in_the_middle_and_the_seed_decides():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).eval()
    once = activation_maximization(net, torch.zeros(1, 1, 9, 9), of="0[1]", steps=20, seed=4)
    assert once.units == ("0[1,3,3]",)
    again = activation_maximization(net, torch.zeros(1, 1, 9, 9), of="0[1]", steps=20, seed=4)
    np.testing.assert_array_equal(once.values, again.values)


def test_limits_by_channel():
    net = nn.Sequential(nn.Conv2d(3, 1, 3), nn.Flatten())
    low, high = torch.tensor([-1.0, -2.0, 0.0]).reshape(3, 1, 1), torch.tensor([1.0, 3.0, 0.5]).reshape(3, 1, 1)
    values = activation_maximization(net, torch.zeros(1, 3, 8, 8), of=0, steps=5, low=low, high=high).values
    assert (values >= low.numpy()).all()
    assert (values <= high.numpy()).all()


def test_bad_arguments():
    net, x = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), torch.zeros(1, 1, 8, 8)
    with pytest.raises(UsageError, match=r"must be one image \(1, C, H, W\)"):
        activation_maximization(net, x, of=0, steps=0)
    with pytest.raises(UsageError, match="channel or class from 0 to 1, got 0\\[2\\]"):
        activation_maximization(net, x, of="0[2]")
    with pytest.raises(UsageError, match=r"position within \(6, 6\)"):
        activation_maximization(net, x, of="0[1,7,0]")
