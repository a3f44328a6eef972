from __future__ import annotations

import numpy as np
import pytest

from striate.errors import UsageError
from striate.tune.source import open_source
from striate.tune.task import LR, Options, few_of, hold_out, load_for, prepare, strong_augmentation


def test_few_images_are_held_out_in_folds(splits):
    few, many = splits(80).train, splits(400).train
    assert len(hold_out(few, seed=0)) == 5
    assert len(hold_out(many, seed=0)) == 1


def test_more_images_hold_those_that_fewer_hold(splits):
    data = splits(120).train
    five, ten = (set(few_of(data, count, seed=3).sample_ids.tolist()) for count in (5, 10))
    assert five < ten
    assert np.bincount(few_of(data, 5, seed=3).labels.numpy()).tolist() == [5, 5, 5, 5]


def test_characters_are_not_mirrored(splits):
    assert strong_augmentation(splits(60)).horizontal_flip is None


def test_what_was_measured_before_is_not_measured_again(small, splits, silent, monkeypatch):
    import striate.tune.task as module

    data, options = splits(80), Options(engine="torch")
    first = prepare(open_source(small()), data, options, show=silent["progress"])
    monkeypatch.setattr(module, "choose_configuration", None)
    again = prepare(open_source(small()), data, options, show=silent["progress"], machine=first.setting.machine)
    assert again.setting == first.setting
    assert again.rates == (LR, LR / 3)
    assert again.evaluated[0] == "test"


def test_data_that_is_loaded_is_taken_as_it_is(small, splits, silent):
    data = splits(80)
    assert load_for(open_source(small()), data, skip_bad=False, seed=0, show=silent["progress"]) is data


def test_values_outside_their_range():
    with pytest.raises(UsageError, match="`epochs` must be at least 1, got 0"):
        Options(epochs=0)
