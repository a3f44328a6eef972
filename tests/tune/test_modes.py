from __future__ import annotations

import pytest
import torch

from striate.tune.modes import MODES, run_mode
from striate.tune.source import open_source
from striate.tune.task import Options, prepare


@pytest.fixture
def task(small, splits, silent):
    options = Options(engine="torch", epochs=2, minutes=1)
    return prepare(open_source(small(seed=5)), splits(96), options, show=silent["progress"])


def test_names():
    assert MODES == ("features", "head", "full", "gradual")


@pytest.mark.parametrize("mode", [*MODES, "scratch"])
def test_the_source_is_left_alone(task, mode):
    before = {key: value.clone() for key, value in task.network.state_dict().items()}
    outcome = run_mode(task, mode)
    assert outcome.mode == mode
    assert all(torch.equal(value, before[key]) for key, value in task.network.state_dict().items())
    low, high = outcome.facts["interval"]
    assert 0 <= low < high <= 1


def test_a_rate_that_is_not_given_is_chosen(task):
    names = [trial.name for trial in run_mode(task, "gradual").trials]
    assert len(names) == 2 * len({name.partition(" ")[0] for name in names})
    assert {name.rpartition(" ")[2] for name in names} == {"0.003", "0.001"}


def test_from_scratch_has_other_weights_than_the_source(task):
    network = run_mode(task, "scratch").network
    distance = (network.stem[0].weight - task.network.stem[0].weight).norm()
    assert float(distance.detach()) > 0.5 * float(task.network.stem[0].weight.norm().detach())
