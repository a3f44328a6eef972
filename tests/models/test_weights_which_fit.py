"""Weights of another architecture: which networks of the registry a file fits, and the message that says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from striate import models
from striate.errors import ModelError
from striate.models import fitting

# Their layers have the same names and shapes; only strides differ.
TWINS = {"mobilenet_v2": ("mobilenet_v2", "mobilenet_v2_cifar")}
PUBLISHED = [name for name in models.list() if models.info(name).pretrained]


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[Mapping[str, tuple[int, ...]]], Path]:
    """A file with these shapes, of a few kilobytes: each tensor is one number, seen from everywhere."""

    def write(shapes: Mapping[str, tuple[int, ...]]) -> Path:
        torch.save({key: torch.rand(()).expand(shape) for key, shape in shapes.items()}, tmp_path / "w.pth")
        return tmp_path / "w.pth"

    return write


def shapes_of(name: str, **sizes: int) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in models.create(name, **sizes).state_dict().items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_of_torchvision_are_recognised(name, file_of, torchvision_shapes) -> None:
    assert models.which_fit(file_of(torchvision_shapes(name)[0])) == TWINS.get(name, (name,))


@pytest.mark.parametrize("name", models.list())
def test_every_network_fits_its_own_file(name, file_of) -> None:
    assert name in (found := models.which_fit(file_of(shapes_of(name))))
    assert len(found) <= 2


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "resnet34", "resnet50_cifar", "densenet161", "googlenet"])
def test_another_head_other_colours_and_a_prefix_make_no_difference(name, file_of) -> None:
    colours = 4 - models.info(name).in_channels
    shapes = shapes_of(name, num_classes=7, in_channels=colours)
    assert models.which_fit(file_of({f"module.net.{key}": shape for key, shape in shapes.items()})) == (name,)


def test_what_fits_none(file_of) -> None:
    shapes = shapes_of("resnet18")
    assert models.which_fit(file_of({**shapes, "extra": (1,)})) == ()
    assert models.which_fit(file_of({**shapes, "layer1.0.conv1.weight": (64, 64, 5, 5)})) == ()
    assert models.which_fit(file_of({key: shape for key, shape in shapes.items() if key != "fc.bias"})) == ()
    assert models.which_fit(file_of(shapes_of("resnet18", in_channels=2))) == ()


def test_it_draws_no_random_numbers(file_of) -> None:
    path = file_of(shapes_of("lenet5"))
    fitting._shapes_of.cache_clear()
    before = torch.get_rng_state()
    models.which_fit(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_message_names_the_network(file_of) -> None:
    path = file_of(shapes_of("resnet34"))
    with pytest.raises(
        ModelError,
        match=r"got 96 surplus \(layer1.2.conv1.weight, .*, \.\.\.\)\. "
        r"Build the network these weights were saved from; they fit resnet34\.$",
    ):
        models.load_weights(models.create("resnet18"), path)


def test_the_message_names_all_that_fit(file_of) -> None:
    path = file_of(shapes_of("mobilenet_v2", num_classes=7))
    with pytest.raises(ModelError, match=r"saved from; they fit mobilenet_v2 or mobilenet_v2_cifar\.$"):
        models.create("resnet20", weights=path)


def test_the_message_says_that_none_fits(file_of) -> None:
    path = file_of({"layer.weight": (2, 3), "layer.bias": (2,)})
    with pytest.raises(
        ModelError,
        match=r"2 surplus \(layer.weight, layer.bias\)\. Build the network these weights were saved from; "
        r"they fit none of striate.models at its usual image size\.$",
    ):
        models.create("resnet20", weights=path)


def test_sources_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"^which_fit: `source` must be a weights file, got 'imagenet'\. Check the path"
    ):
        models.which_fit("imagenet")
    (tmp_path / "w.pth").write_bytes(b"")
    with pytest.raises(ModelError, match=r"^which_fit: .* is damaged"):
        models.which_fit(tmp_path / "w.pth")
