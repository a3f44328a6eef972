from __future__ import annotations

import copy
import time

import pytest
import torch

from striate.data import Augmentation, statistics
from striate.errors import DivergedError
from striate.train.machine import Configuration
from striate.tune.fitting import Phase, Setting, accuracy_of, fit
from striate.tune.head import find_head
from striate.tune.stages import divide


@pytest.fixture
def ready(small, splits):
    """Return a function that gives a network, its stages, images to learn from and to hold out, and a setting."""

    def make(**options):
        data = splits(96)
        network = small()
        stages = divide(network, find_head(network, torch.zeros(2, 1, 12, 12)))
        setting = Setting(
            preprocessing=statistics(data.train), augmentation=Augmentation(), machine=Configuration(device="cpu"),
            batch_size=16, **options,
        )  # fmt: skip
        return network, stages, data.train, data.test, setting

    return make


def _bits(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("engine", ["torch", pytest.param("striate", marks=pytest.mark.native)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_frozen_means_frozen_to_the_bit(ready, count, engine):
    network, stages, train, val, setting = ready()
    setting = Setting(**{**vars(setting), "machine": Configuration(device="cpu", engine=engine)})
    before, modes = _bits(network), [module.training for module in network.modules()]
    fit(network, stages, phases=[Phase(count=count, epochs=2, lr=1e-2)], train=train, val=val, setting=setting)
    learns = {path for stage in stages[-count:] for path in stage.layers}
    for name, tensor in network.state_dict().items():
        is_frozen = name.rpartition(".")[0] not in learns
        assert torch.equal(tensor, before[name]) == is_frozen, name
    assert [module.training for module in network.modules()] == modes
    assert all(p.requires_grad for p in network.parameters())


def test_phases_follow_each_other_and_the_best_epoch_is_kept(ready):
    network, stages, train, val, setting = ready()
    phases = [Phase(count=1, epochs=2, lr=1e-2), Phase(count=4, epochs=6, lr=1e-2, decay=0.5)]
    result = fit(network, stages, phases=phases, train=train, val=val, setting=setting)
    assert [row["stages_that_learn"] for row in result.rows] == [1, 1, 4, 4, 4, 4, 4, 4]
    accuracies = [row["val_accuracy"] for row in result.rows]
    assert result.accuracy == max(accuracies)
    assert accuracies[result.best_epoch - 1] == result.accuracy
    assert [row["best"] for row in result.rows].index(True) + 1 == result.best_epoch
    assert accuracy_of(network, val, setting=setting) == pytest.approx(result.accuracy)
    assert result.rows[-1]["train_loss"] < result.rows[0]["train_loss"]


def test_the_same_seed_gives_the_same_bits(ready):
    results = []
    for seed in (0, 0, 1):
        network, stages, train, _, setting = ready(seed=seed)
        fit(network, stages, phases=[Phase(count=4, epochs=1, lr=1e-3)], train=train, val=None, setting=setting)
        results.append(network.fc.weight.detach())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_pull_keeps_the_base_near_the_source_and_leaves_the_head(ready):
    distances = {}
    for pull in (0.0, 10.0):
        network, stages, train, _, setting = ready(pull=pull)
        source = copy.deepcopy(network)
        fit(network, stages, phases=[Phase(count=4, epochs=4, lr=3e-3)], train=train, val=None, setting=setting)
        distances[pull] = [
            float((network.get_parameter(name) - source.get_parameter(name)).norm().detach())
            for name in ("top.0.weight", "fc.weight")
        ]
    assert distances[10.0][0] < 0.6 * distances[0.0][0]
    assert distances[10.0][1] > 0.5 * distances[0.0][1]


def test_rates_fall_from_stage_to_stage(ready, monkeypatch):
    import striate.tune.fitting as module

    made = {}
    original = module._optimizer
    monkeypatch.setattr(module, "_optimizer", lambda *args, **kw: made.setdefault("it", original(*args, **kw)))
    network, stages, train, _, setting = ready()
    fit(network, stages, phases=[Phase(count=3, epochs=1, lr=1e-3, decay=0.5)], train=train, val=None, setting=setting)
    scales = {id(p): group["lr_scale"] for group in made["it"].param_groups for p in group["params"]}
    names = ("fc.weight", "top.0.weight", "middle.0.bias")
    assert [scales[id(network.get_parameter(name))] for name in names] == [1, 0.5, 0.25]


def test_a_deadline_ends_it_after_the_epoch(ready):
    network, stages, train, val, setting = ready()
    phases = [Phase(count=1, epochs=5, lr=1e-3)] * 2
    result = fit(network, stages, phases=phases, train=train, val=val, setting=setting, deadline=time.monotonic() - 1)
    assert (len(result.rows), result.is_complete) == (1, False)


def test_a_loss_that_is_no_number(ready):
    network, stages, train, val, setting = ready()
    with torch.no_grad():
        network.fc.bias[0] = float("nan")
    with pytest.raises(DivergedError, match=r"Lower the learning rate: lr=\.\.\. \(--lr\)"):
        fit(network, stages, phases=[Phase(count=1, epochs=1, lr=1e-3)], train=train, val=val, setting=setting)


@pytest.mark.parametrize("change", [{"count": 0}, {"epochs": 0}, {"lr": 0.0}, {"decay": 0.0}, {"decay": 1.5}])
def test_phases_that_are_none(change):
    with pytest.raises(ValueError, match="at least the head for at least one epoch"):
        Phase(**{"count": 1, "epochs": 1, "lr": 1e-3, **change})
