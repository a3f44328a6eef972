import copy

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import nn

from striate.errors import UsageError
from striate.see.attribution import Attribution
from striate.see.trust import METHODS, _ranks, deletion_insertion, randomization_test, rank_correlation, shuffled


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
                         nn.Linear(128, 4)).eval()  # fmt: skip


def test_an_edge_detector_fails_and_the_gradient_passes():
    net, x = _network(), torch.randn(2, 1, 14, 14)

    def edges(model, given, *, of):
        values = np.gradient(given[0].numpy() if isinstance(given, tuple) else given.numpy(), axis=3)
        return Attribution(method="edges", values=values, units=("",), scores=np.zeros(1), inputs=values)

    fails = randomization_test(net, x, method=edges)
    np.testing.assert_allclose(fails.correlations, 1.0)
    assert not fails.passes
    assert "the image more than the network" in str(fails)
    assert randomization_test(net, x, method="gradient").passes


def test_layers_are_shuffled_from_the_last_to_the_first():
    net, x = _network(), torch.randn(1, 1, 14, 14)
    before = copy.deepcopy(net.state_dict())
    found = randomization_test(net, x, method="gradient")
    assert found.layers == ("6", "3", "0")
    assert found.correlations.shape == (3, 1)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))
    assert randomization_test(net, x, most=1).layers == ("0",)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_tested(method):
    assert randomization_test(_network(), torch.randn(1, 1, 14, 14), method=method, most=1).correlations.shape == (1, 1)


def test_curves_equal_a_loop():
    net, x = _network(), torch.randn(2, 1, 14, 14)
    heat = np.random.default_rng(0).random((2, 14, 14))
    found = deletion_insertion(net, x, heat, of=2, steps=4)
    for image in range(2):
        order = np.argsort(-heat[image].ravel())
        for step, share in enumerate(found.shares):
            first = order[: round(share * 196)]
            deleted, inserted = x[image].clone().flatten(), torch.zeros(196)
            deleted[first] = 0
            inserted[first] = x[image].flatten()[first]
            with torch.no_grad():
                expected = net(torch.stack([deleted, inserted]).reshape(2, 1, 14, 14)).softmax(1)[:, 2].numpy()
            np.testing.assert_allclose([found.deletion[image, step], found.insertion[image, step]], expected, rtol=1e-4)
    assert set(found.areas()) == {"deletion", "insertion", "deletion_by_chance", "insertion_by_chance"}
    again = deletion_insertion(net, x, heat, of=2, steps=4, chance=found)
    np.testing.assert_array_equal(again.deletion_by_chance, found.deletion_by_chance)
    assert "in random order" in str(found)


def test_the_right_pixel_beats_chance():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].weight[1, 5] = 6.0
    heat = np.zeros((1, 4, 4))
    heat[0, 1, 1] = 1.0
    areas = deletion_insertion(net, torch.ones(1, 1, 4, 4), heat, of=1, steps=16).areas()
    assert areas["deletion"] < areas["deletion_by_chance"]
    assert areas["insertion"] > areas["insertion_by_chance"]


def test_bad_arguments():
    net, x = _network(), torch.randn(1, 1, 14, 14)
    with pytest.raises(UsageError, match=r"must be one of .* Did you mean"):
        randomization_test(net, x, method="gradiant")
    with pytest.raises(UsageError, match="must have weights to shuffle"):
        randomization_test(nn.Flatten(), x)
    with pytest.raises(UsageError, match="one number a pixel"):
        deletion_insertion(net, x, np.zeros((1, 3, 3)))


def test_ranks_are_those_of_scipy():
    heat = np.random.default_rng(1).integers(0, 9, (6, 7)).astype(float)
    np.testing.assert_allclose(_ranks(heat), rankdata(heat.ravel()) - rankdata(heat.ravel()).mean())


def test_a_shuffled_copy_is_that_of_the_test():
    net, x = _network(), torch.randn(2, 1, 14, 14)
    copied = shuffled(net, x, seed=3)
    assert not torch.equal(copied[0].weight, net[0].weight)
    assert torch.equal(copied[0].weight.flatten().sort().values, net[0].weight.flatten().sort().values)
    of = 1
    found = rank_correlation(METHODS["gradient"](net, x, of=of), METHODS["gradient"](copied, x, of=of))
    expected = randomization_test(net, x, method="gradient", of=of, seed=3).correlations[-1]
    np.testing.assert_allclose(found, expected)


def test_one_image_through_a_network_in_training_mode():
    # In training mode batch normalisation refuses one value a channel: the network is looked at in evaluation mode.
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4),
                        nn.Flatten(), nn.Linear(4, 3)).train()  # fmt: skip
    assert randomization_test(net, torch.randn(1, 1, 8, 8), method="gradient").layers == ("6", "4", "1", "0")
    assert net.training
