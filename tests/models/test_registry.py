"""The registry: names, descriptions, exact counts, sizes that fit, errors; building by name."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import torch
from torch import nn

from striate import models
from striate.errors import ModelError, UsageError
from striate.models import registry

# Exact numbers of trainable parameters at the default sizes. Sources:
# (a) arithmetic of the course texts; (b) the paper, as a sum over its layers (test_lenet.py);
# (c) torchvision 0.28 (torchvision_manifest.json); (d) a sum by hand over the paper's layers, in the family's test;
# (e) (16 + 32 + 64) channels by hand in test_resnet.py, and rounded in table 6 of arXiv:1512.03385;
# (f) the torchvision count with another head, - 990 x (numbers into the head + 1), and a 3 x 3 stem, - 9,408 + 1,728.
NUM_PARAMS = {
    "mlp_boston": 173,  # a
    "mlp_iris": 115,  # a
    "mlp_mnist": 109_386,  # a
    "mlp_cifar": 6_246_410,  # a
    "lecun1989": 9_760,  # b
    "lenet5_1998": 60_000,  # b
    "lenet5": 44_426,  # a
    "cnn_cifar": 545_098,  # a
    "alexnet_2012": 60_965_224,  # d
    "alexnet": 61_100_840,  # c
    "zfnet": 62_357_608,  # d
    "vgg11": 132_863_336,  # c, and so on for VGG
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "googlenet_2014": 13_378_280,  # d
    "googlenet": 13_004_888,  # c
    "resnet20": 269_722,  # e, and so on for the CIFAR networks
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet18": 11_689_512,  # c, and so on for the ImageNet networks
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet18_cifar": 11_689_512 - 990 * 513 - 9_408 + 1_728,  # f
    "resnet34_cifar": 21_797_672 - 990 * 513 - 9_408 + 1_728,  # f
    "resnet50_cifar": 25_557_032 - 990 * 2049 - 9_408 + 1_728,  # f
    "densenet121": 7_978_856,  # c, and so on for DenseNet
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "densenet161": 28_681_000,
    "mobilenet_v1": 4_231_976,  # d
    "mobilenet_v2": 3_504_872,  # c
    "mobilenet_v2_cifar": 3_504_872 - 990 * 1281,  # f, the stem keeps its shape
    "airbench94": 1_972_792,  # by hand in test_airbench.py
    "airbench95": 4_606_520,
}
IMAGE_NETWORKS = [name for name in NUM_PARAMS if models.info(name).kind == "images"]


def on_meta(name: str, **sizes: int | None) -> nn.Module:
    with torch.device("meta"):
        return models.create(name, **sizes)


def test_the_table_of_counts_names_every_network() -> None:
    assert list(NUM_PARAMS) == models.list()


@pytest.mark.parametrize("name", NUM_PARAMS)
def test_counts_and_output_shape(name: str) -> None:
    entry, model = models.info(name), on_meta(name).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == NUM_PARAMS[name] == entry.num_params
    assert model(torch.zeros(2, *entry.input_size, device="meta")).shape == (2, entry.num_classes)


@pytest.mark.parametrize("name", NUM_PARAMS)
def test_other_sizes_reach_the_first_and_last_layer(name: str) -> None:
    entry = models.info(name)
    image_size = None if entry.image_size is None else entry.image_size + 9
    model = on_meta(name, num_classes=7, in_channels=entry.in_channels + 1, image_size=image_size).eval()
    sides = () if image_size is None else (image_size, image_size)
    assert model(torch.zeros(2, entry.in_channels + 1, *sides, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_smallest_image_size_is_exact(name: str) -> None:
    entry = models.info(name)
    smallest = entry.min_image_size
    assert smallest is not None
    model = on_meta(name, image_size=smallest)
    x = torch.zeros(2, entry.in_channels, smallest, smallest, device="meta")
    for training in (False, True):
        output = model.train(training)(x)
        logits = output[0] if isinstance(output, tuple) else output
        assert logits.shape == (2, entry.num_classes)
    if smallest == 1:
        return
    with pytest.raises(ModelError, match=f"`image_size` must be at least {smallest} for {name}, got {smallest - 1}"):
        models.create(name, image_size=smallest - 1)
    # Past the check of `create`, one pixel less really does not fit: a layer or a map would have no pixel.
    family = importlib.import_module(f"striate.models.{entry.family}")
    with pytest.raises((RuntimeError, UserWarning)), torch.device("meta"):  # noqa: PT012
        model = family.build(name, num_classes=10, in_channels=3, image_size=smallest - 1)
        model(torch.zeros(2, 3, smallest - 1, smallest - 1))


@pytest.mark.parametrize(
    "name", [*IMAGE_NETWORKS[:6], "resnet20", "resnet18_cifar", "mobilenet_v2_cifar", "mobilenet_v1", "densenet121"]
)
def test_gradient_reaches_input_and_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    entry = models.info(name)
    size = min(entry.image_size or 0, 32)
    model = models.create(name, image_size=size)
    x = torch.randn(2, entry.in_channels, size, size, requires_grad=True)
    output = model(x)
    assert torch.isfinite(output).all()
    output.square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    silent = [key for key, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert silent == []


def test_info_of_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"got 'resnet81'\. Did you mean .*`resnet18`.*lists all 43\."):
        models.info("resnet81")
    with pytest.raises(ModelError, match="must be the name of a network"):
        models.create("LeNet-5000")


@pytest.mark.parametrize("argument", ["num_classes", "in_channels", "image_size"])
@pytest.mark.parametrize("value", [0, -3, 2.5, True, "10"])
def test_sizes_must_be_positive_whole_numbers(argument: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"`{argument}` must be a whole number of at least 1, got {value!r}"):
        models.create("lenet5", **{argument: value})


def test_vectors_have_no_image_size() -> None:
    with pytest.raises(ModelError, match="`image_size` must be left out for mlp_iris, got 28"):
        models.create("mlp_iris", image_size=28)
    assert models.create("mlp_iris", in_channels=30, num_classes=2)(torch.zeros(5, 30)).shape == (5, 2)


def test_listing_and_describing_import_no_torch() -> None:
    code = (
        "import sys; from striate import models; [models.info(name) for name in models.list()]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names_exist_and_unknown_ones_do_not() -> None:
    assert sorted(models.__all__) == models.__all__
    assert all(callable(getattr(models, name)) for name in models.__all__)
    assert all(hasattr(registry, name) for name in registry.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'resnet_of_2015'"):
        _ = models.resnet_of_2015
