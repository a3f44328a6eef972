"""Softmax, entropy and cross-entropy with the numbers of the course texts and of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from striate.work import certainty
from striate.work._scene import read_scene

SCENE = read_scene(None, seed=0)
MEASURES = [getattr(certainty, name) for name in certainty.__all__]


def _values(finding):
    return {row.what: row.values for row in finding.rows}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
@pytest.mark.parametrize("seed", [1, 2])
def test_as_claimed(measure, seed):
    finding = measure(read_scene(None, seed=seed))
    assert [row.what for row in finding.rows if not row.is_as_claimed] == []


def test_entropies_of_the_texts():
    values = _values(certainty.less_certain(SCENE))
    assert values["container with 4 and 26"][0] == pytest.approx(0.5665, abs=5e-5)  # 002-entropy-container1
    assert values["container with 1 and 29"][0] == pytest.approx(0.2108, abs=5e-5)  # 002-entropy-container3
    scores = SCENE.generator("scores").normal(size=(1000, 10))
    expected = stats.entropy(special.softmax(scores / 2, axis=1), base=2, axis=1).mean()
    assert values["predictions, mean"][3] == pytest.approx(expected)
    assert values["ten equal shares"][0] == pytest.approx(np.log2(10))


def test_cross_entropies_of_the_texts():
    values = _values(certainty.better_predictions(SCENE))
    assert values["cross-entropy"][2] == pytest.approx(0.3677, abs=5e-5)  # 002-CE-first
    assert values["cross-entropy"][3] == pytest.approx(-np.log2(0.938))
    assert values["a perfect prediction"] == (0.0,)  # 002-CE-perfect


def test_shares():
    values = _values(certainty.softmax_differences(SCENE))
    expected = [special.softmax([factor, 2 * factor])[1] for factor in (1, 2, 5, 10)]
    assert values["softmax, share of the second"] == pytest.approx(expected)
    assert values["plain normalisation"] == pytest.approx([2 / 3] * 4)
    assert values["plain: smallest share of the scores -1 and 3"] == (-0.5,)


def test_plain_normalisation_does_not_pass_for_softmax(monkeypatch):
    def plain(x):
        positive = np.abs(x)
        return positive / positive.sum(axis=-1, keepdims=True)

    monkeypatch.setattr(certainty, "softmax", plain)
    rows = {row.what: row.is_as_claimed for row in certainty.softmax_differences(SCENE).rows}
    assert not rows["softmax: share changed by raising all scores"]


def test_steps_uphill_do_not_pass(monkeypatch):
    original = certainty.cross_entropy_backward
    monkeypatch.setattr(certainty, "cross_entropy_backward", lambda *given, **options: -original(*given, **options))
    rows = {row.what: row.is_as_claimed for row in certainty.better_predictions(SCENE).rows}
    assert not rows["of 1,000 steps of descent, those without a fall"]
