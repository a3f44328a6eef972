"""Learning rates against the formulas of their sources, written out here."""

from __future__ import annotations

import itertools
import math

import pytest

from striate.train.recipe import Recipe
from striate.train.schedule import PlateauState, learning_rate


def _curve(recipe: Recipe, *, steps_per_epoch: int, drops: int = 0) -> list[float]:
    steps = range(recipe.epochs * steps_per_epoch + 1)
    return [learning_rate(s, recipe=recipe, steps_per_epoch=steps_per_epoch, plateau_drops=drops) for s in steps]


def test_constant():
    assert set(_curve(Recipe(lr=0.3, epochs=2, sched="constant"), steps_per_epoch=3)) == {0.3}


def test_cosine_after_a_linear_warmup():
    recipe = Recipe(lr=2.0, epochs=4, sched="cosine", warmup_epochs=1.5, start_lr_fraction=0.1, end_lr_fraction=0.05)
    curve = _curve(recipe, steps_per_epoch=10)
    for step in range(15):
        assert curve[step] == pytest.approx(2.0 * (0.1 + 0.9 * step / 15))
    for step in range(15, 41):
        cosine = (1 + math.cos(math.pi * (step - 15) / 25)) / 2
        assert curve[step] == pytest.approx(2.0 * (0.05 + 0.95 * cosine))


def test_one_cycle_rises_for_a_quarter_of_the_run():
    curve = _curve(Recipe(lr=1.0, epochs=8, sched="one-cycle"), steps_per_epoch=5)
    assert curve[0] == pytest.approx(0.04)
    assert curve[10] == max(curve) == 1.0
    assert curve[25] == pytest.approx(0.5)  # half of the way down the cosine
    assert curve[40] == pytest.approx(0.0, abs=1e-12)


def test_triangle_is_linear_both_ways():
    curve = _curve(Recipe(lr=1.0, epochs=4, sched="triangle", end_lr_fraction=0.2), steps_per_epoch=4)
    assert curve[:5] == pytest.approx([0.04, 0.28, 0.52, 0.76, 1.0])
    falls = [before - after for before, after in itertools.pairwise(curve[4:])]
    assert falls == pytest.approx([0.8 / 12] * 12)
    assert curve[-1] == pytest.approx(0.2)


def test_step_divides_at_whole_epochs():
    recipe = Recipe(lr=1.0, epochs=5, sched="step", decay_epochs=2, decay_rate=0.1)
    assert _curve(recipe, steps_per_epoch=2)[:10] == pytest.approx([1] * 4 + [0.1] * 4 + [0.01] * 2)


def test_plateau_divides_once_a_drop():
    recipe = Recipe(lr=1.0, sched="plateau", decay_rate=0.1)
    rates = [learning_rate(7, recipe=recipe, steps_per_epoch=3, plateau_drops=drops) for drops in range(3)]
    assert rates == pytest.approx([1.0, 0.1, 0.01])


def test_a_warmup_longer_than_the_run_stays_below_the_peak():
    curve = _curve(Recipe(lr=1.0, epochs=1, sched="cosine", warmup_epochs=2), steps_per_epoch=4)
    assert curve == sorted(curve)
    assert curve[-1] < 1.0


def test_rate_after_the_last_step_stays_at_the_end():
    recipe = Recipe(lr=1.0, epochs=1, sched="cosine", end_lr_fraction=0.1)
    assert learning_rate(99, recipe=recipe, steps_per_epoch=4) == pytest.approx(0.1)


def test_plateau_state_counts_epochs_without_a_better_accuracy():
    state = PlateauState()
    drops = []
    for accuracy in (0.5, 0.5, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6):
        state.update(accuracy, patience=2)
        drops.append(state.drops)
    # Two epochs not above 0.5 make the first drop; two not above 0.6 each further one.
    assert drops == [0, 0, 1, 1, 1, 2, 2, 3]
    assert (state.best, state.epochs_since_best) == (0.6, 0)
