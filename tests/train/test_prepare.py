"""What is settled before the first step: weights, batch size, preprocessing."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn

from striate import models
from striate.data import load
from striate.errors import UsageError
from striate.train import Progress, Recipe, prepare


@pytest.fixture(scope="module")
def splits():
    return load("digits")


def test_a_seed_gives_the_same_weights_and_another_does_not(splits):
    def weights(seed):
        return prepare.build("cnn_cifar", splits, weights=None, seed=seed)[0].features.conv1.weight

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_the_specification_follows_the_data(splits):
    network, spec, own = prepare.build(None, splits, weights=None, seed=0)
    assert (spec.name, spec.num_classes, spec.in_channels, spec.image_size) == ("cnn_cifar", 10, 1, 8)
    assert own is None
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    network, spec, own = prepare.build(module, splits, weights=None, seed=0)
    assert network is own is module
    assert spec.name == "class Sequential"


def test_a_batch_of_the_recipe_shrinks_to_small_data_and_one_that_was_asked_for_is_refused(splits):
    large = Recipe(batch_size=5000)
    # Source: a quarter of the 1,259 training images of the digits.
    assert prepare.fitting_batch(large, splits, asked=False).batch_size == 1259 // 4
    assert prepare.fitting_batch(Recipe(), splits, asked=True) == Recipe()
    with pytest.raises(UsageError, match=r"`batch_size` must be at most 1259, .*, got 5000\. Use --batch-size 314\."):
        prepare.fitting_batch(large, splits, asked=True)


def test_statistics_are_those_of_the_training_images(splits):
    spec = prepare.build(None, splits, weights=None, seed=0)[1]
    measured = prepare.measure_preprocessing(splits, spec, weights=None)
    pixels = splits.train.images.gather(np.arange(len(splits.train))).pixels.double() / 255
    assert measured.mean == pytest.approx((pixels.mean().item(),), rel=1e-12)
    assert measured.std == pytest.approx((pixels.std(correction=0).item(),), rel=1e-12)


def test_published_weights_bring_their_own_normalisation():
    images = np.zeros((40, 32, 32, 3), dtype=np.uint8)
    splits = load((images, np.arange(40) % 2))
    spec = prepare.build("resnet18", splits, weights=None, seed=0)[1]
    measured = prepare.measure_preprocessing(splits, spec, weights="imagenet")
    assert measured.mean == (0.485, 0.456, 0.406)  # Source: torchvision's documentation of its ImageNet weights.


def test_published_weights_see_grey_images_as_they_saw_three_equal_channels(splits):
    spec = prepare.build("resnet18", splits, weights=None, seed=0)[1]
    measured = prepare.measure_preprocessing(splits, spec, weights="imagenet")
    # Source: the mean of the numbers above; a third of that of the deviations 0.229, 0.224 and 0.225, as the first
    # kernels become the mean of three and not their sum.
    assert measured.mean == pytest.approx((0.449,), abs=1e-12)
    assert measured.std == pytest.approx((0.226 / 3,), abs=1e-12)


def test_weights_for_rgb_start_a_training_on_grey_images_and_the_other_way_round(splits, tmp_path):
    rgb, grey = (models.create("resnet20", num_classes=5, in_channels=channels) for channels in (3, 1))
    torch.save({f"backbone.{key}": value for key, value in rgb.state_dict().items()}, tmp_path / "rgb.pth")
    torch.save(grey.state_dict(), tmp_path / "grey.pth")
    shown = io.StringIO()
    show = Progress(stream=shown, environ={})
    network = prepare.build("resnet20", splits, weights=tmp_path / "rgb.pth", seed=0, show=show)[0]
    assert torch.equal(network.conv1.weight, rgb.conv1.weight.double().mean(dim=1, keepdim=True).float())
    assert torch.equal(network.layer1[0].conv1.weight, rgb.layer1[0].conv1.weight)
    assert network.fc.out_features == 10
    colours = load((np.zeros((40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 2))
    network = prepare.build("resnet20", colours, weights=tmp_path / "grey.pth", seed=0, show=show)[0]
    assert torch.equal(network.conv1.weight[:, 2:], (grey.conv1.weight.double() / 3).float())
    assert shown.getvalue().splitlines() == [
        "weights  `backbone.` taken off the file's names",
        "weights  conv1.weight is the mean of the file's RGB kernels, to fit the images",
        "weights  conv1.weight is a third of the file's grey kernels, to fit the images",
    ]


def test_the_first_batch_is_plain(splits):
    spec = prepare.build(None, splits, weights=None, seed=0)[1]
    preprocessing = prepare.measure_preprocessing(splits, spec, weights=None)
    recipe = Recipe(batch_size=16).with_overrides({"rotation_degrees": 30, "mixup": 0.5})
    batch = prepare.first_batch(splits, preprocessing, recipe, seed=0, device="cpu")
    assert torch.equal(batch.inputs, preprocessing.from_canvas(splits.train.images.gather(batch.indices.numpy())))
    assert batch.mix_weight is None


def test_initialisation_by_name_and_what_is_pretrained_stays():
    images = torch.randn(8, 3, 32, 32)
    network = models.create("airbench94")
    before = network.whitening.weight.clone()
    prepare.initialize(network, Recipe(init="whitening"), images=images, seed=0, pretrained=True)
    assert torch.equal(network.whitening.weight, before)
    prepare.initialize(network, Recipe(init="whitening"), images=images, seed=0, pretrained=False)
    assert not torch.equal(network.whitening.weight, before)


def test_normalisation_is_found():
    assert prepare.has_normalization(models.create("resnet20"))
    assert not prepare.has_normalization(models.create("cnn_cifar"))


def test_dropout_of_the_recipe():
    network = models.create("mlp_mnist")
    prepare.set_dropout(network, Recipe(dropout=0.25))
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.25, 0.25]
    prepare.set_dropout(network, Recipe())
    assert network.layers.dropout1.p == 0.25
