"""The arithmetic behind one number of a network, forward and backward, against PyTorch."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate import models
from striate.errors import UsageError
from striate.ops.working import Working
from striate.work.network import Place, parse_place, unfold


class Branching(nn.Module):
    """Functional calls, a skip, a concatenation, a shared layer and an in-place activation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu_(self.norm(self.conv1(x)))
        z = F.max_pool2d(y + self.conv2(y), 2)
        both = torch.cat((z, torch.sigmoid(self.conv2(z))), dim=1)
        return self.fc(both.mean(dim=(2, 3)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    model = Branching().eval()
    model.norm.running_mean.normal_()
    model.norm.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture
def image():
    return torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def _workings(working):
    found = [part for part in working.parts if isinstance(part, Working)]
    return found + [inner for part in found for inner in _workings(part)]


@pytest.mark.parametrize("at", ["conv1[3,0,5]", "norm[1,2,2]", "conv2[2,4,4]", "add[0,1,1]", "max_pool2d[3,2,0]",
                                "cat[5,1,1]", "conv2:2[1,0,2]", "mean[7]", "fc[2]"])  # fmt: skip
def test_every_node_ends_at_what_pytorch_computes(network, image, at):
    working = unfold(network, image, at)
    node = _workings(working)[0]
    assert node.value == pytest.approx(working.value, abs=1e-12)
    assert "difference" in str(working)
    assert all(len(line) <= 100 for line in str(working).splitlines())
    assert json.loads(json.dumps(working.to_dict()))["value"] == working.value


def test_the_value_is_the_networks(network, image):
    with torch.no_grad():
        expected = copy.deepcopy(network).double().conv1(image.double())[0, 3, 0, 5]
    assert unfold(network, image, "conv1[3,0,5]").value == pytest.approx(float(expected), abs=1e-12)


def test_what_normalisation_and_activation_make_of_it(network, image):
    text = str(unfold(network, image, "conv1[3,2,2]"))
    assert [line.strip() for line in text.splitlines() if " at [" in line] == [
        "conv2d at [0, 3, 2, 2]",
        "batch_norm at [0, 3, 2, 2]",
        "relu at [0, 3, 2, 2]",
    ]
    assert "read by conv2, add" in text


def test_the_receptive_field_in_the_image(network, image):
    assert "receptive field 3 x 3 pixels of the input: rows 0 to 1, columns 4 to 5, else padding" in str(
        unfold(network, image, "conv1[3,0,5]")
    )
    # Source: 3 x 3 after 3 x 3 sees 5 x 5.
    assert "receptive field 5 x 5 pixels of the input: rows 1 to 5, columns 0 to 4" in str(
        unfold(network, image, "conv2[0,3,2]")
    )


@pytest.mark.parametrize("at", ["conv1[3,0,5]", "norm[1,2,2]", "add[0,1,1]", "cat[5,1,1]", "input[1,2,3]", "fc[2]"])
def test_gradients_equal_autograd_and_finite_differences(network, image, at):
    working = unfold(network, image, at, gradient=True, target=1)
    compared = [part for part in working.parts if isinstance(part, Working) and part.title.startswith("dL/d")]
    assert compared
    for part in compared:
        terms, autograd, difference = (float(line.text.split()[-1]) for line in part.parts)
        assert terms == pytest.approx(autograd, abs=1e-10)
        assert difference == pytest.approx(autograd, rel=1e-6, abs=1e-9)


def test_the_gradient_of_a_pixel_is_autograds(network, image):
    x = image.double().requires_grad_()
    F.cross_entropy(copy.deepcopy(network).double()(x), torch.tensor([2])).backward()
    working = unfold(network, image, "input[1,2,3]", gradient=True, target=2)
    compared = next(part for part in working.parts if isinstance(part, Working) and part.title.startswith("dL/d"))
    assert compared.value == pytest.approx(float(x.grad[0, 1, 2, 3]), abs=1e-12)


def test_a_weight_of_ones_choice(network, image):
    text = str(unfold(network, image, "conv1[3,2,2]", gradient=True, tap=(3, 1, 0, 2)))
    assert "dL/dconv1.weight[3,1,0,2]" in text
    with pytest.raises(
        UsageError, match=r"`tap` must be an index of the weight \(4, 2, 3, 3\) of `conv1`, got \(3, 2\)"
    ):
        unfold(network, image, "conv1[3,2,2]", gradient=True, tap=(3, 2))


def test_the_network_is_left_alone(network, image):
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    unfold(network, image.repeat(3, 1, 1, 1), "conv1[0,0,0]", gradient=True)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_one_slope_for_all_channels():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.PReLU(), nn.Flatten(), nn.Linear(27, 2)).eval()
    text = str(unfold(network, torch.randn(1, 1, 5, 5), "1[2,1,1]", gradient=True))
    assert "dL/d1.weight[0]" in text


class Unknown(nn.Module):
    """An operation that striate has no definition of, between two it has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.cumsum(self.conv(x), dim=2).mean(dim=(2, 3)))


def test_what_striate_does_not_know_it_says():
    torch.manual_seed(0)
    network, image = Unknown().eval(), torch.randn(1, 1, 5, 5)
    with pytest.raises(UsageError, match=r"must be an operation that striate knows, got cumsum.*PyTorch computed"):
        unfold(network, image, "cumsum[0,1,1]")
    text = str(unfold(network, image, "conv[0,1,1]", gradient=True))
    assert "its terms are unknown" in text
    assert "finite difference  none" in text
    assert "receptive field unknown" in str(unfold(network, image, "mean[1]"))


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("conv1", r"`at` must name a node and a place in it, got 'conv1'\. Write layer3\.conv2\[17,4,9\]"),
        ("conv3[0,0,0]", r"`at` must name a node of the network, got 'conv3'\. Did you mean `conv"),
        ("conv1[4,0,0]", r"`at` must be a place in `conv1`, from \[0,0,0\] to \[3,5,5\], got \[4, 0, 0\]"),
        ("fc[0,0,0]", r"`at` must be a place in `fc`, from \[0\] to \[2\]"),
    ],
)
def test_places_that_are_none(network, image, at, message):
    with pytest.raises(UsageError, match=message):
        unfold(network, image, at)


def test_the_nodes_of_a_block_are_named():
    network = models.create("resnet18", num_classes=4).eval()
    with pytest.raises(UsageError, match=r"got 'layer1\.0'\. It holds layer1\.0\.conv1, "):
        unfold(network, torch.zeros(1, 3, 32, 32), "layer1.0[0,0,0]")


def test_other_errors(network, image):
    with pytest.raises(UsageError, match=r"`target` must be a class from 0 to 2, got 3"):
        unfold(network, image, "conv1[0,0,0]", gradient=True, target=3)
    with pytest.raises(UsageError, match=r"`model` must return logits \(N, num_classes\) to have a gradient, got"):
        unfold(nn.Sequential(nn.Conv2d(2, 2, 1)), image, "0[0,0,0]", gradient=True)


def test_places_as_people_write_them():
    assert parse_place(" layer1.0.conv1 [ 1, 2 ,3 ] ") == Place("layer1.0.conv1", (1, 2, 3))
    assert parse_place("chunk[1][0,2,3]") == Place("chunk[1]", (0, 2, 3))
    assert str(Place("fc", (3,))) == "fc[3]"


def test_the_value_of_a_residual_network():
    network = models.create("resnet18", num_classes=4, image_size=64).eval()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    kept = []
    network.layer2[0].conv2.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        network(x)
    expected = float(kept[0][0, 17, 3, 5])
    network.layer2[0].conv2._forward_hooks.clear()
    assert unfold(network, x, "layer2.0.conv2[17,3,5]").value == pytest.approx(expected, rel=1e-4, abs=1e-5)
    np.testing.assert_equal(len(kept), 1)
