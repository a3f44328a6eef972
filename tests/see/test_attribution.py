import numpy as np
import pytest
import torch

from striate.see.attribution import Attribution, resized


def _attribution(values):
    inputs = np.zeros((1, 3, 4, 4), dtype=np.float32)
    return Attribution(method="gradient", values=values, units=("fc[1]",), scores=np.ones(1), inputs=inputs)


def test_heat_is_the_largest_magnitude_over_the_channels():
    values = np.zeros((1, 3, 4, 4), dtype=np.float32)
    values[0, :, 1, 2] = [1.0, -3.0, 2.0]
    assert _attribution(values).heat()[0, 1, 2] == 3.0


@pytest.mark.parametrize(
    ("sides", "wanted"), [((2, 3), (4, 9)), ((7, 7), (28, 20)), ((1, 1), (5, 5)), ((3, 2), (3, 2))]
)
def test_resizing_is_that_of_pytorch(sides, wanted):
    maps = np.random.default_rng(0).normal(size=(2, *sides))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], size=wanted, mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(resized(maps, wanted), expected[:, 0].numpy(), atol=1e-12)


def test_a_layers_map_is_brought_to_the_size_of_the_image():
    assert _attribution(np.ones((1, 1, 2, 2), dtype=np.float32)).heat().shape == (1, 4, 4)


def test_the_figure_needs_no_display():
    figure = _attribution(np.zeros((1, 3, 4, 4), dtype=np.float32)).figure()
    assert [axis.get_title() for axis in figure.axes] == ["input", "gradient, fc[1]"]
