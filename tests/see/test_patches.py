import numpy as np
import pytest
import torch
from torch import nn

from striate import models
from striate.errors import UsageError
from striate.see.patches import top_patches
from striate.see.projections import deconvnet


def _network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(80, 3),
    ).eval()  # fmt: skip


def _images(count=150):
    return torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_they_equal_a_search_through_everything(batch_size):
    net, images, k = _network(), _images(), 6
    first, second = top_patches(net, images, k=k, batch_size=batch_size)
    for found, depth in ((first, 2), (second, 5)):
        with torch.no_grad():
            values = net[:depth](images)
        for channel in range(values.shape[1]):
            own = values[:, channel].flatten(1)
            strongest = sorted(range(len(images)), key=lambda n: (-float(own[n].max()), n))[:k]
            assert found.images[channel].tolist() == strongest
            np.testing.assert_allclose(found.activations[channel], own[strongest].max(dim=1).values, rtol=1e-5)
            for place, number in enumerate(strongest):
                row, column = divmod(int(own[number].argmax()), values.shape[3])
                assert found.positions[channel, place].tolist() == [row, column]


def test_patches_are_the_receptive_fields():
    net, images = _network(), _images()
    first, second = top_patches(net, images, k=3)
    assert first.patches.shape == (4, 3, 2, 3, 3)
    assert second.patches.shape == (5, 3, 2, 8, 8)  # 3 + 1 + 2 * 2 = 8 pixels, as many as the image has
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    for channel in range(4):
        for place in range(3):
            row, column = first.positions[channel, place]
            assert first.corners[channel, place].tolist() == [row - 1, column - 1]
            expected = padded[first.images[channel, place], :, row : row + 3, column : column + 3]
            np.testing.assert_array_equal(first.patches[channel, place], expected.numpy())
            # What the convolution makes of its patch is the activation that was found.
            answer = ((expected * net[0].weight[channel]).sum() + net[0].bias[channel]).item()
            assert answer == pytest.approx(float(first.activations[channel, place]), rel=1e-4)


def test_projections_are_those_of_the_deconvnet():
    net, images = _network(), _images()
    _, found = top_patches(net, images, k=4, batch_size=3)
    for channel, place in ((0, 0), (3, 2), (4, 3)):
        number = int(found.images[channel, place])
        row, column = found.positions[channel, place]
        own = deconvnet(net, images[number : number + 1], of=f"4[{channel},{row},{column}]").values[0]
        np.testing.assert_allclose(found.projections[channel, place], own, rtol=1e-4, atol=1e-6)


def test_data_come_in_many_forms():
    net, images = _network(), _images(20)
    expected = top_patches(net, images, k=2)[1]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, torch.zeros(20)), batch_size=3)
    for data in (images.numpy(), loader, list(images.split(6)), iter(images.split(1))):
        found = top_patches(net, data, k=2)[1]
        np.testing.assert_array_equal(found.images, expected.images)
        np.testing.assert_array_equal(found.patches, expected.patches)


def test_fewer_images_than_places_and_chosen_channels():
    (found,) = top_patches(_network(), _images(4), nodes="4", channels=[3, 1], k=9)
    assert found.images.shape == (2, 4)
    assert found.channels.tolist() == [3, 1]
    assert found.sheet(0).shape == found.sheet(0, projected=True).shape


def test_equal_images_come_in_their_order():
    images = _images(1).repeat(5, 1, 1, 1)
    found = top_patches(_network(), images, nodes="1", k=3, batch_size=2)[0]
    assert found.images.tolist() == [[0, 1, 2]] * 4


def test_networks_that_the_deconvnet_refuses_have_patches_all_the_same():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.GELU())
    (found,) = top_patches(net, _images(5), k=2)
    assert found.projections is None
    assert found.notes[0].startswith("no projections: deconvnet")
    assert top_patches(_network(), _images(5), project_patches=False)[0].projections is None


def test_a_network_of_many_paths():
    net = models.create("resnet20").eval()
    images = torch.randn(6, 3, 32, 32)
    found = top_patches(net, images, k=2)
    assert len(found) >= 19
    assert all(np.isfinite(f.patches).all() for f in found)


def test_bad_arguments():
    net = _network()
    with pytest.raises(UsageError, match="`k` and `batch_size` must be at least 1, got 0 and 64"):
        top_patches(net, _images(2), k=0)
    with pytest.raises(UsageError, match="must hold at least one image"):
        top_patches(net, _images(0))
    with pytest.raises(UsageError, match=r"`channels` must be from 0 to 3, got \[4\]"):
        top_patches(net, _images(2), channels=[4])
    with pytest.raises(UsageError, match="must have positions"):
        top_patches(net, _images(2), nodes="6")


def test_the_figure_has_patches_and_projections():
    figure = top_patches(_network(), _images(12), nodes="1", k=9)[0].figure()
    assert len(figure.axes) == 8
