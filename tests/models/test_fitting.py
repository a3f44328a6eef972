"""Which networks weights are of; names under another prefix; first kernels for another number of channels."""

from __future__ import annotations

import pytest
import torch

from striate import models
from striate.errors import ModelError
from striate.files import write_tensors
from striate.models.fitting import networks_that_fit


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "resnet50", "vgg16_bn", "mobilenet_v2", "densenet121"])
def test_each_network_is_known_by_its_own_weights_with_another_head_and_input(name):
    with torch.device("meta"):
        network = models.create(name, num_classes=7)
    assert name in networks_that_fit(network.state_dict())


def test_weights_of_no_network_fit_none():
    assert networks_that_fit({"conv.weight": torch.zeros(3, 3, 1, 1)}) == ()
    state = models.create("resnet20").state_dict()
    state["layer1.0.conv1.weight"] = torch.zeros(16, 16, 5, 5)
    assert networks_that_fit(state) == ()


@pytest.fixture
def resnet18(tmp_path):
    torch.manual_seed(1)
    network = models.create("resnet18").eval()
    path = tmp_path / "resnet18.pth"
    torch.save(network.state_dict(), path)
    return network, path


@pytest.mark.parametrize("prefix", ["backbone.", "model.", "net.encoder.", "module.model."])
def test_a_prefix_is_taken_off(resnet18, tmp_path, prefix):
    network, _ = resnet18
    path = tmp_path / "renamed.pth"
    torch.save({prefix + key: value for key, value in network.state_dict().items()}, path)
    other = models.create("resnet18").eval()
    loaded = models.load_weights(other, path)
    assert loaded.prefix == "-" + prefix.removeprefix("module.")
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(other(x), network(x))
    assert models.which_fit(path) == ("resnet18",)


def test_a_prefix_is_put_before_the_names(resnet18):
    network, path = resnet18
    wrapped = torch.nn.ModuleDict({"body": models.create("resnet18")})
    assert models.load_weights(wrapped, path).prefix == "+body."
    assert torch.equal(wrapped["body"].fc.weight, network.fc.weight)


def test_what_is_beside_the_prefix_is_surplus_and_named(resnet18, tmp_path):
    network, _ = resnet18
    state = {f"encoder.{key}": value for key, value in network.state_dict().items() if not key.startswith("fc.")}
    path = tmp_path / "encoder.pth"
    torch.save({**state, "projection.weight": torch.zeros(4, 4)}, path)
    with pytest.raises(ModelError, match=r"2 missing \(fc.weight, fc.bias\); 1 surplus \(projection.weight\)"):
        models.load_weights(models.create("resnet18"), path)
    loaded = models.load_weights(models.create("resnet18"), path, strict=False)
    assert (loaded.prefix, loaded.kept, loaded.unused) == (
        "-encoder.",
        ("fc.weight", "fc.bias"),
        ("projection.weight",),
    )


def test_two_networks_in_one_file_are_not_guessed(resnet18, tmp_path):
    network, _ = resnet18
    path = tmp_path / "two.pth"
    torch.save(
        {f"{who}.{key}": value for who in ("student", "teacher") for key, value in network.state_dict().items()}, path
    )
    with pytest.raises(ModelError, match="missing"):
        models.load_weights(models.create("resnet18"), path)


def test_the_mean_of_the_kernels_for_grey_images(resnet18):
    network, path = resnet18
    grey = models.create("resnet18", in_channels=1)
    with pytest.raises(ModelError, match=r"1 misshapen \(conv1.weight .*new_input=True"):
        models.load_weights(grey, path)
    loaded = models.load_weights(grey, path, new_input=True)
    assert loaded.adapted == ("conv1.weight",)
    assert torch.equal(grey.conv1.weight, network.conv1.weight.double().mean(1, keepdim=True).float())


def test_grey_kernels_for_colours(tmp_path):
    grey, colour = models.create("resnet18", in_channels=1), models.create("resnet18", num_classes=5)
    path = tmp_path / "grey.safetensors"
    write_tensors(path, grey.state_dict())
    loaded = models.load_weights(colour, path, new_head=True, new_input=True)
    assert loaded.adapted == ("conv1.weight",)
    assert colour.fc.weight.shape[0] == 5
    torch.testing.assert_close(colour.conv1.weight.sum(1, keepdim=True), grey.conv1.weight)


def test_another_architecture_is_answered_with_the_one_that_fits(resnet18):
    _, path = resnet18
    with pytest.raises(ModelError, match=r"Build the network .*; they fit resnet18\."):
        models.load_weights(models.create("resnet34"), path)
    with pytest.raises(ModelError, match=r"`source` must be a weights file, got 'nothing\.pth'"):
        models.which_fit("nothing.pth")
