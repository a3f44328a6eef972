"""The algebra of convolution against SciPy's formulas, and that a wrong convolution is found out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from striate.ops.true_convolution import convolve2d, correlate2d
from striate.work import algebra
from striate.work._scene import difference, read_scene

SCENE = read_scene(None, seed=0)
MEASURES = [getattr(algebra, name) for name in algebra.__all__]


def _values(finding):
    return {row.what: row.values for row in finding.rows}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
@pytest.mark.parametrize("seed", [1, 2])
def test_as_claimed(measure, seed):
    finding = measure(read_scene(None, seed=seed))
    assert [row.what for row in finding.rows if not row.is_as_claimed] == []


def test_the_order_of_a_correlation_by_scipy():
    f, g = SCENE.pixels, SCENE.kernel(5)
    apart = difference(signal.correlate2d(f, g), signal.correlate2d(g, f))
    assert _values(algebra.correlation_order(SCENE))["f with g against g with f"] == pytest.approx((apart,))


def test_the_flip_by_scipy():
    f, g = SCENE.pixels, SCENE.kernel(5)
    apart = difference(signal.convolve2d(f, g, mode="valid"), signal.correlate2d(f, g, mode="valid"))
    assert _values(algebra.flip(SCENE))["correlation with the kernel as it is"] == pytest.approx((apart,))


def test_a_random_kernel_is_not_separable_by_its_rank():
    assert np.linalg.matrix_rank(SCENE.kernel(3)) == 3
    values = _values(algebra.separability(SCENE))
    assert values["multiply-adds a pixel, 3 x 3 at once"] == (9,)
    assert values["multiply-adds a pixel, column and row"] == (6,)


def test_without_the_flip_convolution_does_not_pass(monkeypatch):
    monkeypatch.setattr(
        algebra, "convolve2d", lambda f, g, padding="valid", convention="": correlate2d(f, g, padding=padding)
    )
    wrong = [measure.__name__ for measure in MEASURES if not all(row.is_as_claimed for row in measure(SCENE).rows)]
    # What a correlation lacks; delta and a sum do not see the flip, a 1 beside the middle does.
    assert wrong == ["associativity", "commutativity", "flip", "identity"]


def test_rounding_to_float32_does_not_pass(monkeypatch):
    def rough(f, g, **options):
        return convolve2d(f, g, **options).astype(np.float32)

    monkeypatch.setattr(algebra, "convolve2d", rough)
    assert not all(row.is_as_claimed for row in algebra.distributivity(SCENE).rows)


def test_an_affine_layer_is_no_linear_one(monkeypatch):
    original = algebra.conv2d
    monkeypatch.setattr(algebra, "conv2d", lambda x, w, bias=None: original(x, w, bias) + 1)
    assert not algebra.linearity(SCENE).rows[0].is_as_claimed
