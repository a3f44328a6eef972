from __future__ import annotations

import sys
import types

import pytest
import torch

import striate
from striate import models
from striate.errors import MissingExtraError, ModelError
from striate.files import write_tensors
from striate.tune.source import open_source


def test_a_run_brings_its_preprocessing_and_its_classes(tmp_path, arrays, small, silent):
    run = striate.train(arrays(80, classes=4, seed=0), model=small(4), output=tmp_path, epochs=1, **silent)
    source = open_source(run)
    assert source.preprocessing == run.config.preprocessing
    assert source.class_names == run.class_names
    assert source.example.shape == (2, 1, 12, 12)
    larger = open_source(run, image_size=20)
    assert (larger.spec.image_size, larger.preprocessing.image_size) == (20, 20)
    assert larger.preprocessing.mean == source.preprocessing.mean


def test_a_weights_file_is_known_by_its_names_and_shapes(tmp_path):
    path = tmp_path / "some.safetensors"
    network = models.create("resnet20", num_classes=7)
    write_tensors(path, network.state_dict())
    source = open_source(path)
    assert source.spec.name == "resnet20"
    assert torch.equal(source.network.conv1.weight, network.conv1.weight)
    assert open_source(path, model="resnet20").spec.name == "resnet20"


def test_weights_of_no_network(tmp_path):
    path = tmp_path / "some.safetensors"
    write_tensors(path, {"a": torch.zeros(2, 2)})
    with pytest.raises(ModelError, match="got names and shapes that fit none"):
        open_source(path)
    with pytest.raises(ModelError, match=r"there is no file"):
        open_source(tmp_path / "other.pth")


def test_a_grey_network_from_published_weights_sees_a_grey_image_as_three_equal_channels(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "resnet18.pth"
    colour = models.create("resnet18").eval()
    torch.save(colour.state_dict(), path)
    grey = open_source(path, model="resnet18", in_channels=1, image_size=64)
    full = open_source(path, model="resnet18", image_size=64)
    assert torch.equal(grey.network.conv1.weight, colour.conv1.weight.double().mean(1, keepdim=True).float())
    pixels = torch.rand(2, 1, 64, 64)
    mean, std = sum(full.preprocessing.mean) / 3, sum(full.preprocessing.std) / 3
    assert grey.preprocessing.mean[0] == pytest.approx(mean)
    one = (pixels - grey.preprocessing.mean[0]) / grey.preprocessing.std[0]
    three = ((pixels - mean) / std).expand(-1, 3, -1, -1)
    with torch.no_grad():
        torch.testing.assert_close(grey.network.eval()(one), colour(three), rtol=1e-3, atol=1e-3)


def test_names_without_published_weights():
    with pytest.raises(ModelError, match=r"`lenet5` has no published weights .* striate train DATA --model lenet5"):
        open_source("lenet5")


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_libraries_that_are_not_there(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=f"`{library}:resnet18` needs {library}"):
        open_source(f"{library}:resnet18")


def test_a_module_takes_the_size_of_the_images(small, splits):
    source = open_source(small())
    assert source.takes_size_of_data
    fitted = source.fitted_to(splits(40))
    assert (fitted.spec.image_size, fitted.spec.in_channels) == (12, 1)


def test_what_a_library_says_is_passed_on(monkeypatch):
    def refuse(name):
        raise ValueError(f"Unknown model {name}")

    library = types.SimpleNamespace(models=types.SimpleNamespace(get_model_weights=refuse))
    monkeypatch.setitem(sys.modules, "torchvision", library)
    with pytest.raises(
        ModelError, match=r"could not be had .* Unknown model resnet81\). Check the name in torchvision"
    ):
        open_source("torchvision:resnet81")
