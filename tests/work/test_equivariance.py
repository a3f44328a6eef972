"""Equivariance: the borders by counting, other movements against SciPy, and a layer that is not equivariant."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from striate.work import equivariance
from striate.work._scene import difference, read_scene
from striate.work.equivariance import SHIFTS, moved_views
from striate.work.kernels import kernel

SCENE = read_scene(None, seed=0)
MEASURES = [
    equivariance.translation,
    equivariance.stride,
    equivariance.untied_weights,
    equivariance.scale,
    equivariance.rotation,
]


def _values(finding):
    return {row.what: row.values for row in finding.rows}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
@pytest.mark.parametrize("seed", [1, 2])
def test_as_claimed(measure, seed):
    finding = measure(read_scene(None, seed=seed))
    assert [row.what for row in finding.rows if not row.is_as_claimed] == []


@pytest.mark.parametrize("shift", SHIFTS)
def test_two_views_show_the_same_scene(shift):
    before, after = moved_views(SCENE, shift)
    assert before.shape == after.shape == (1, 1, 64, 60)
    np.testing.assert_array_equal(before[..., shift:], after[..., :-shift])


def test_borders():
    values = _values(equivariance.translation(SCENE))
    assert values["no padding: windows that lie on the picture"] == (0.0,) * 4
    # 5 x 5 reads 2 pixels beyond: 2 columns of each of the two views.
    assert values["zeros: columns of the map that differ"] == (4,) * 4
    assert values["zeros: columns from the border, at most"] == (2,) * 4


def test_turning_by_scipy():
    sobel = kernel("sobel-x").array()
    turned_first = ndimage.correlate(np.rot90(SCENE.pixels), sobel, mode="constant")
    turned_last = np.rot90(ndimage.correlate(SCENE.pixels, sobel, mode="constant"))
    assert _values(equivariance.rotation(SCENE))["sobel-x"][0] == pytest.approx(difference(turned_first, turned_last))


def test_sobel_upside_down_is_its_negative():
    assert _values(equivariance.rotation(SCENE))["sobel-x"][1] == pytest.approx(2.0)


def test_enlarging_by_scipy():
    sobel = kernel("sobel-x").array()
    large = np.kron(SCENE.pixels, np.ones((2, 2)))
    first = ndimage.correlate(large, sobel, mode="constant")[4:-4, 4:-4]
    last = np.kron(ndimage.correlate(SCENE.pixels, sobel, mode="constant"), np.ones((2, 2)))[4:-4, 4:-4]
    assert _values(equivariance.scale(SCENE))["the kernel as it is"][0] == pytest.approx(difference(first, last))


def test_a_layer_that_knows_where_it_is_does_not_pass(monkeypatch):
    original = equivariance.conv2d

    def placed(x, weight, **options):
        maps = original(x, weight, **options)
        return maps + np.arange(maps.shape[-1])

    monkeypatch.setattr(equivariance, "conv2d", placed)
    rows = {row.what: row.is_as_claimed for row in equivariance.translation(SCENE).rows}
    assert not rows["no padding: windows that lie on the picture"]
    assert not rows["picture continued around its borders"]
    assert not equivariance.stride(SCENE).rows[1].is_as_claimed
    assert not equivariance.scale(SCENE).rows[1].is_as_claimed


def test_a_flat_picture_shows_nothing():
    flat = read_scene(np.full((40, 40), 90), seed=0)
    assert not equivariance.scale(flat).rows[0].is_as_claimed
    assert equivariance.scale(flat).rows[1].is_as_claimed


def test_black_borders_need_no_padding():
    pixels = np.zeros((40, 40))
    pixels[15:25, 15:25] = SCENE.noise("square")[:10, :10] * 255
    finding = equivariance.translation(read_scene(pixels, seed=0))
    assert all(row.is_as_claimed for row in finding.rows)
    assert finding.verdict.endswith("Zeros around the picture change nothing: it is black at its borders.")
