from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.data import Augmentation, statistics
from striate.errors import DataError
from striate.train.machine import Configuration
from striate.tune.choosing import Trial, choose, folds_of, gradual_phases
from striate.tune.fitting import Fit, Phase, Setting
from striate.tune.head import find_head
from striate.tune.stages import divide


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("epochs", [1, 6, 30])
def test_gradual_phases_reach_from_the_head_to_the_last_stage(count, epochs):
    phases = gradual_phases(count, epochs=epochs, lr=3e-3)
    assert [phase.count for phase in phases] == list(range(1, count + 1))
    assert all(phase.epochs >= 1 for phase in phases)
    if epochs >= 2 * count:
        assert abs(sum(phase.epochs for phase in phases) - epochs) <= count


def test_each_image_is_held_out_once_and_classes_are_kept_in_proportion(splits):
    data = splits(103).train
    folds = folds_of(data, seed=0)
    held = np.concatenate([out.sample_ids.numpy() for _, out in folds])
    assert sorted(held) == sorted(data.sample_ids.tolist())
    for train, out in folds:
        assert not set(train.sample_ids.tolist()) & set(out.sample_ids.tolist())
        counts = np.bincount(out.labels.numpy(), minlength=4)
        assert counts.max() - counts.min() <= 1
    assert all(
        torch.equal(a.sample_ids, b.sample_ids) for (_, a), (_, b) in zip(folds, folds_of(data, seed=0), strict=True)
    )


def test_as_many_folds_as_the_smallest_class_has_images(splits):
    data = splits(120).train
    few = data.subset([*torch.where(data.labels != 2)[0].tolist(), *torch.where(data.labels == 2)[0][:3].tolist()])
    assert len(folds_of(few, seed=0)) == 3
    one = data.subset([*torch.where(data.labels != 2)[0].tolist(), *torch.where(data.labels == 2)[0][:1].tolist()])
    with pytest.raises(DataError, match=r"at least 2 images .* got 1 of `2`"):
        folds_of(one, seed=0)


def test_what_does_not_fit_the_time_is_left_out_and_says_so(small, splits):
    data, network, notes = splits(96).train, small(), []
    stages = divide(network, find_head(network, torch.zeros(2, 1, 12, 12)))
    setting = Setting(
        preprocessing=statistics(data), augmentation=Augmentation(), machine=Configuration(device="cpu"), batch_size=16
    )
    trials = [Trial(name=name, phases=(Phase(count=1, epochs=1, lr=1e-3),)) for name in ("first", "second")]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    division = folds_of(data, seed=0)[:1]
    options = {"divisions": division, "setting": setting, "note": notes.append}
    tried, best, left = choose(network, stages, trials, seconds=0.0, **options)
    assert [trial.accuracy is None for trial in tried] == [False, True]
    assert "s were left" in tried[1].reason
    assert notes[-1].startswith("second: not tried, it would take")
    assert best == tried[0]
    assert left is not None
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    tried, _, left = choose(network, stages, trials, seconds=60.0, **{**options, "divisions": folds_of(data, seed=0)})
    assert left is None  # of folds, none has seen all images
    assert [trial.held_out for trial in tried] == [len(data)] * 2


def test_of_equals_the_least_learns_and_the_network_is_its_own(small, splits, monkeypatch):
    import striate.tune.choosing as module

    def pretend(network, stages, *, phases, **_):
        with torch.no_grad():
            network.fc.bias.fill_(float(phases[0].count))
        return Fit(accuracy=0.5, rows=[{}])

    monkeypatch.setattr(module, "fit", pretend)
    data, network = splits(96).train, small()
    trials = [Trial(name=str(n), phases=(Phase(count=n, epochs=1, lr=1e-3),)) for n in (3, 1, 2)]
    _, best, left = choose(
        network, (), trials, divisions=folds_of(data, seed=0)[:1], setting=None, seconds=60.0, note=lambda _: None
    )
    assert best.name == "1"
    assert left.fc.bias[0] == 1
