"""How far pooling goes, counted anew in plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from striate.work._scene import read_scene
from striate.work.equivariance import SHIFTS
from striate.work.invariance import pooling_changes, pooling_unchanged

SCENE = read_scene(None, seed=0)


def _maps(pixels):
    """Sobel-x by hand, and its positive part."""
    rows = pixels[:-2] + 2 * pixels[1:-1] + pixels[2:]
    return np.maximum(rows[:, 2:] - rows[:, :-2], 0)


def _pooled(maps, window, reduce):
    height, width = (length // window * window for length in maps.shape)
    cells = maps[:height, :width].reshape(height // window, window, width // window, window)
    return reduce(reduce(cells, axis=3), axis=1)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("kind", "reduce"), [("max", np.max), ("average", np.mean)])
@pytest.mark.parametrize("window", [2, 4, 8])
def test_changes_by_hand(shift, kind, reduce, window):
    before, after = (_pooled(_maps(SCENE.pixels[:, i : i + 60]), window, reduce) for i in (0, shift))
    expected = np.sqrt(np.mean((after - before) ** 2) / np.mean(before**2))
    rows = {row.what: row.values for row in pooling_changes(SCENE).rows}
    assert rows[f"{kind} pooling {window} x {window}"][shift - 1] == pytest.approx(expected)


@pytest.mark.parametrize("shift", SHIFTS)
def test_unchanged_by_hand(shift):
    before, after = (_pooled(_maps(SCENE.pixels[:, i : i + 60]), 4, np.max) for i in (0, shift))
    # Sums in another order differ in the last bit, so equal means equal but for rounding.
    expected = np.mean(np.isclose(before, after, rtol=1e-12)[(before != 0) | (after != 0)])
    rows = {row.what: row.values for row in pooling_unchanged(SCENE).rows}
    assert rows["max pooling 4 x 4"][shift - 1] == pytest.approx(expected)


def test_larger_windows_keep_more_and_none_all():
    unchanged = {row.what: row.values for row in pooling_unchanged(SCENE).rows}
    changes = {row.what: row.values for row in pooling_changes(SCENE).rows}
    sizes = ["no pooling", *(f"max pooling {window} x {window}" for window in (2, 4, 8))]
    assert np.all(np.diff([unchanged[name][0] for name in sizes]) > 0)
    assert np.all(np.diff([changes[name][0] for name in sizes]) < 0)
    assert max(unchanged[sizes[-1]]) < 1


@pytest.mark.parametrize("measure", [pooling_changes, pooling_unchanged])
def test_a_flat_picture_shows_nothing(measure):
    finding = measure(read_scene(np.zeros((40, 40)), seed=0))
    assert not all(row.is_as_claimed for row in finding.rows)
