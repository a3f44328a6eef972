"""Files in torchvision's own format: its names and shapes, with random numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from striate import models

PUBLISHED = [name for name in models.list() if models.info(name).pretrained]
LARGE = 30_000_000
"""Parameters from which on a network is left to the slow tests."""
EACH = [
    pytest.param(name, marks=[pytest.mark.slow] if models.info(name).num_params > LARGE else []) for name in PUBLISHED
]

# First convolution and heads, as torchvision names them.
LAYERS = {
    "alexnet": ("features.0", ("classifier.6",)),
    "vgg": ("features.0", ("classifier.6",)),
    "googlenet": ("conv1.conv", ("aux1.fc2", "aux2.fc2", "fc")),
    "resnet": ("conv1", ("fc",)),
    "densenet": ("features.conv0", ("classifier",)),
    "mobilenet": ("features.0.0", ("classifier.1",)),
}


def empty(name: str, **sizes: int) -> nn.Module:
    """A network whose numbers are whatever lay in memory: nothing of it may remain."""
    with torch.device("meta"):
        return models.create(name, **sizes).to_empty(device="cpu")


@pytest.fixture
def file_of(
    tmp_path: Path, torchvision_shapes: Callable[..., object]
) -> Callable[[str], tuple[Path, dict[str, Tensor]]]:
    """Name -> a file as torchvision publishes it, and the tensors in it."""

    def write(name: str) -> tuple[Path, dict[str, Tensor]]:
        torch.manual_seed(0)
        tensors = {
            key: torch.rand(shape) if shape else torch.tensor(7) for key, shape in torchvision_shapes(name)[0].items()
        }
        path = tmp_path / f"{name}.pth"
        torch.save(tensors, path)
        return path, tensors

    return write


@pytest.mark.parametrize("name", EACH)
def test_every_published_network_takes_its_file(name, file_of) -> None:
    path, tensors = file_of(name)
    network = empty(name)
    report = models.load_weights(network, path)
    assert set(report.loaded) == set(tensors)
    assert (report.kept, report.unused, report.adapted, report.prefix) == ((), (), (), "")
    assert all(torch.equal(value, tensors[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", EACH)
def test_every_published_network_takes_a_head_of_its_own_and_grey_images(name, file_of) -> None:
    path, tensors = file_of(name)
    network = empty(name, num_classes=5, in_channels=1)
    convolution, layers = next(row for family, row in LAYERS.items() if name.startswith(family))
    first, heads = f"{convolution}.weight", [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    before = {key: network.state_dict()[key].clone() for key in heads}
    report = models.load_weights(network, path, new_head=True, new_input=True)
    assert (set(report.kept), report.adapted) == (set(heads), (first,))
    state = network.state_dict()
    assert all(state[key].equal(before[key]) or bool(before[key].isnan().any()) for key in heads)
    # Source: the definition of the mean, in float64, rounded once.
    red, green, blue = tensors[first].double().unbind(dim=1)
    assert torch.equal(state[first][:, 0], ((red + green + blue) / 3).float())
    rest = set(tensors) - {first, *heads}
    assert all(torch.equal(state[key], tensors[key]) for key in rest)
