"""The choice of a configuration by measurement: with a stopwatch that reads what a test says."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from striate.data.batches import Batch
from striate.engine import is_available
from striate.train import choice
from striate.train.choice import choose_configuration
from striate.train.machine import Configuration
from striate.train.recipe import Recipe

START = Configuration(device="cpu", threads=1)
ALL = {"bf16": None, "channels_last": None, "compile": None}


def _batch() -> Batch:
    torch.manual_seed(0)
    return Batch(torch.randn(4, 1, 6, 6), torch.tensor([0, 1, 0, 1]), None, None, torch.arange(4))


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 2))


def _choose(monkeypatch, speeds, *, choices=ALL, start=START, batch=None, **options):
    """Choose with a stopwatch that reads `speeds(configuration)` images a second; gives what was tried as well."""
    tried = []

    class Step:
        update_seconds = 0.0

        def __init__(self, model, batch, *, recipe, configuration):
            self._seconds = len(batch.targets) / speeds(configuration)
            tried.append((configuration, len(batch.targets)))

        def run(self, size=None):
            return self._seconds

    monkeypatch.setattr(choice, "_Step", Step)
    monkeypatch.setattr(choice, "SECONDS_PER_CHOICE", 0.0)
    monkeypatch.setattr(choice, "_has_bf16", lambda on_cuda: True)
    best, measured = choose_configuration(
        _network(), batch or _batch(), recipe=Recipe(epochs=10), start=start, choices=choices, **options
    )
    return best, measured, tried


def test_the_clearly_fastest_wins(monkeypatch):
    best, measured, _ = _choose(monkeypatch, lambda c: 100 * (1.5 if c.channels_last else 1) * (2 if c.bf16 else 1))
    assert (best.channels_last, best.bf16) == (True, True)
    assert measured[best.describe()] == 300.0


def test_noise_does_not_choose_the_less_exact(monkeypatch):
    best, _, _ = _choose(monkeypatch, lambda c: 104 if c.bf16 or c.channels_last else 100)
    assert (best.channels_last, best.bf16) == (False, False)


def test_what_the_user_asks_is_not_measured(monkeypatch):
    best, _, tried = _choose(
        monkeypatch, lambda c: 100, choices={"bf16": True, "channels_last": True, "compile": False}
    )
    assert (best.bf16, best.channels_last, best.compile) == (True, True, False)
    assert {(c.bf16, c.channels_last) for c, _ in tried[1:]} == {(True, True)}


def test_one_thread_may_be_faster(monkeypatch):
    best, _, _ = _choose(
        monkeypatch, lambda c: 200 if c.threads == 1 else 100, start=dataclasses.replace(START, threads=4)
    )
    assert best.threads == 1


def test_a_slow_network_is_measured_on_fewer_images(monkeypatch):
    many = Batch(torch.randn(512, 1, 6, 6), torch.zeros(512, dtype=torch.int64), None, None, torch.arange(512))
    images_a_second = 64 / choice.LONGEST_STEP_SECONDS
    best, measured, tried = _choose(monkeypatch, lambda c: images_a_second, batch=many)
    assert {count for _, count in tried} == {8, 16, 32, 64}
    assert tried[-1][1] == 64
    assert measured[f"{best.describe()}, in steps of 64"] == round(images_a_second, 1)


@pytest.mark.skipif(not is_available(), reason="the compiled part of the engine is not installed")
@pytest.mark.parametrize(("num_samples", "alone"), [(None, False), (99_000, True), (101_000, False)])
def test_a_short_training_goes_to_the_engine_without_timing_pytorch(monkeypatch, num_samples, alone):
    # 10 epochs of 100,000 images at 100,000 images/s are SHORT_TRAINING_SECONDS.
    assert choice.SHORT_TRAINING_SECONDS == 10
    best, measured, tried = _choose(
        monkeypatch, lambda c: 100_000 if c.engine == "striate" else 1_000_000, num_samples=num_samples
    )
    assert ({c.engine for c, _ in tried} == {"striate"}) == alone
    assert best.engine == ("striate" if alone else "torch")
    assert (list(measured.values()) == [100_000.0]) == alone


def test_a_few_slow_steps_do_not_hide_how_fast_the_engine_is(monkeypatch):
    # A step that imports something, two in which another program had the processor, and then the true 0.01 s.
    seconds = iter([9.0, 0.5, 0.5, 0.01, 0.5])

    class Step:
        update_seconds = 0.0

        def __init__(self, *arguments, **options):
            pass

        def run(self, size=None):
            return next(seconds, 0.01)

    monkeypatch.setattr(choice, "_Step", Step)
    speed = choice._engine_speed(_network(), _batch(), recipe=Recipe(), own=START)
    assert speed == 4 / 0.01


def test_an_engine_that_is_slow_is_not_tried_for_long(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(choice.time, "perf_counter", lambda: next(now) / 10)

    class Step:
        update_seconds = 0.0

        def __init__(self, *arguments, **options):
            pass

        def run(self, size=None):
            return 2 * choice.LONGEST_STEP_SECONDS

    monkeypatch.setattr(choice, "_Step", Step)
    assert choice._engine_speed(_network(), _batch(), recipe=Recipe(), own=START) == 0.0
    assert next(now) / 10 == choice.SECONDS_PER_CHOICE + 0.2  # the reading that ended it was the last


@pytest.mark.parametrize("name", ["channels_last", "compile"])
def test_what_only_pytorch_does_is_not_taken_from_a_short_training(monkeypatch, name):
    best, _, _ = _choose(
        monkeypatch, lambda c: 100 if c.engine == "torch" else 90, choices=ALL | {name: True}, num_samples=1
    )
    assert (best.engine, getattr(best, name)) == ("torch", True)


def test_asked_for_pytorch_the_engine_is_not_tried(monkeypatch):
    best, _, tried = _choose(monkeypatch, lambda c: 100, engine="torch", num_samples=1)
    assert best.engine == "torch"
    assert {c.engine for c, _ in tried} == {"torch"}


@pytest.mark.parametrize(("num_images", "steps"), [(4, choice.FEWEST_STEPS), (4_000_000, choice.FEWEST_STEPS + 4)])
def test_a_short_training_is_timed_for_a_short_time(monkeypatch, num_images, steps):
    # A clock that is read for the first time after FEWEST_STEPS, and shows 0.1 s more each time: the half second of a
    # long training is over at the fifth reading.
    readings = iter(range(1000))
    monkeypatch.setattr(choice.time, "perf_counter", lambda: next(readings) / 10)
    count = []

    class Step:
        update_seconds = 0.0

        def __init__(self, *arguments, **options):
            pass

        def run(self):
            count.append(1)
            return 0.001

    monkeypatch.setattr(choice, "_Step", Step)
    choice._speeds(_network(), _batch(), recipe=Recipe(), candidates=[START], num_images=num_images)
    assert len(count) == 2 + steps  # one step warms up, one tells how long the training is


def test_a_real_measurement_leaves_the_network_alone():
    network, batch = _network(), _batch()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    best, measured = choose_configuration(
        network, batch, recipe=Recipe(), start=START, choices={"bf16": False, "channels_last": None, "compile": False}
    )
    assert best.describe() in measured
    assert all(speed > 0 for speed in measured.values())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_update_takes_as_long_for_few_images_as_for_all(monkeypatch):
    # 4 images of 1,000: passes of 0.04 s are 10 s for all, the optimizer's second remains one.
    class Step:
        update_seconds = 1.0

        def __init__(self, *arguments, **options):
            pass

        def run(self, size=None):
            return 1.04

    monkeypatch.setattr(choice, "_Step", Step)
    speeds = choice._speeds(_network(), _batch(), recipe=Recipe(), candidates=[START], num_images=1, whole=1000)
    assert speeds[START] == pytest.approx(1000 / 11)
