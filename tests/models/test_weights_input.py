"""Input layers for other colours: the mean of RGB kernels, a third of grey ones, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from striate import models
from striate.errors import ModelError


@pytest.fixture
def rgb(tmp_path: Path) -> tuple[nn.Module, Path]:
    """A network and its file; the kernels for green and blue are 2 and 6 times those for red, so the mean is 3 times.

    All are multiples of 1/256, so none of this is rounded.
    """
    saved = models.create("resnet20").eval()
    with torch.no_grad():
        red = torch.randint(-64, 64, (16, 1, 3, 3)) / 256
        saved.conv1.weight.copy_(torch.cat([red, 2 * red, 6 * red], dim=1))
    torch.save(saved.state_dict(), tmp_path / "rgb.pth")
    return saved, tmp_path / "rgb.pth"


@pytest.fixture
def grey(tmp_path: Path) -> tuple[nn.Module, Path]:
    saved = models.create("resnet20", in_channels=1).eval()
    torch.save(saved.state_dict(), tmp_path / "grey.pth")
    return saved, tmp_path / "grey.pth"


def test_a_grey_network_takes_the_mean_of_the_rgb_kernels(rgb, caplog) -> None:
    saved, path = rgb
    model = models.create("resnet20", in_channels=1)
    with caplog.at_level(logging.INFO):
        report = models.load_weights(model, path, new_input=True)
    assert report.adapted == ("conv1.weight",)
    assert set(report.loaded) == set(saved.state_dict())
    assert torch.equal(model.conv1.weight, 3 * saved.conv1.weight[:, :1])
    assert torch.equal(model.layer1[0].conv1.weight, saved.layer1[0].conv1.weight)
    assert caplog.messages == ["rgb.pth: brought the input layer (conv1.weight) to the network's colours"]
    # A mean: an image of three equal channels answers three times as much before the first normalisation.
    images = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(saved.conv1(images.expand(-1, 3, -1, -1)), 3 * model.conv1(images))


def test_an_rgb_network_takes_a_third_of_the_grey_kernel_for_each_colour(grey) -> None:
    saved, path = grey
    model = models.create("resnet20").eval()
    report = models.load_weights(model, path, new_input=True)
    assert report.adapted == ("conv1.weight",)
    for colour in range(3):
        torch.testing.assert_close(model.conv1.weight[:, colour], saved.conv1.weight[:, 0] / 3, rtol=1e-7, atol=0)
    # The three add up to the grey kernel, so an image of three equal channels has the answer of the grey one.
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(model(images.expand(-1, 3, -1, -1)), saved(images))


def test_half_precision_is_averaged_in_full(tmp_path) -> None:
    saved = models.create("resnet20").half()
    torch.save(saved.state_dict(), tmp_path / "half.pth")
    model = models.create("resnet20", in_channels=1, weights=tmp_path / "half.pth")
    assert torch.equal(model.conv1.weight, saved.conv1.weight.double().mean(dim=1, keepdim=True).float())


def test_without_being_asked_the_message_says_how(rgb, grey) -> None:
    model = models.create("resnet20", in_channels=1)
    before = model.conv1.weight.clone()
    with pytest.raises(
        ModelError,
        match=r"got 1 misshapen \(conv1.weight \(16, 3, 3, 3\) for \(16, 1, 3, 3\)\)\. Only the input layer differs: "
        r"build the network with in_channels=3, or take the mean of the RGB kernels with new_input=True\.$",
    ):
        models.load_weights(model, rgb[1])
    assert torch.equal(model.conv1.weight, before)
    with pytest.raises(
        ModelError, match=r"in_channels=1, or take a third of the grey kernel for each colour with new_"
    ):
        models.load_weights(models.create("resnet20"), grey[1], new_head=True)


def test_head_and_input_layer_together(rgb) -> None:
    def load(**allowed: bool) -> models.weights.LoadedWeights:
        return models.load_weights(models.create("resnet20", in_channels=1, num_classes=3), rgb[1], **allowed)

    with pytest.raises(
        ModelError,
        match=r"3 misshapen \(conv1.weight .*, fc.weight .*, fc.bias .*\)\. Only the head and the input layer differ: "
        r"build the network with num_classes=10, or keep its own head with new_head=True; "
        r"build the network with in_channels=3, or take the mean of the RGB kernels with new_input=True\.$",
    ):
        load()
    with pytest.raises(ModelError, match=r"got 1 misshapen \(conv1.weight .*Only the input layer differs"):
        load(new_head=True)
    with pytest.raises(ModelError, match=r"got 2 misshapen \(fc.weight .*, fc.bias .*Only the head differs"):
        load(new_input=True)
    report = load(new_head=True, new_input=True)
    assert (report.kept, report.adapted) == (("fc.weight", "fc.bias"), ("conv1.weight",))


def test_create_takes_it_where_the_channels_were_asked_for(rgb) -> None:
    model = models.create("resnet20", in_channels=1, weights=rgb[1])
    assert torch.equal(model.conv1.weight, 3 * rgb[0].conv1.weight[:, :1])


@pytest.mark.parametrize(
    "model",
    [
        models.create("resnet20", in_channels=2),  # neither grey nor RGB
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3), nn.Conv2d(1, 2, 3)),  # not the first
        nn.Sequential(nn.Conv2d(1, 4, 5), nn.Conv2d(4, 3, 3), nn.Conv2d(3, 2, 3)),  # another kernel size too
    ],
    ids=["two channels", "a later layer", "another kernel"],
)
def test_what_is_not_an_input_layer_is_refused(model, rgb, tmp_path) -> None:
    path = rgb[1]
    if isinstance(model, nn.Sequential):
        path = tmp_path / "own.pth"
        torch.save(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3), nn.Conv2d(3, 2, 3)).state_dict(), path)
    with pytest.raises(ModelError, match="got 1 misshapen"):
        models.load_weights(model, path, new_input=True)
