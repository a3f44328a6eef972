"""Where the engine takes part in a training, and where it says that it cannot."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import striate
from striate.engine import is_available
from striate.errors import MissingExtraError, UsageError
from striate.train import engine as rooms
from striate.train.machine import Configuration
from striate.train.recipe import Recipe

needs_engine = pytest.mark.skipif(not is_available(), reason="the compiled part of the engine is not installed")


def test_words_that_may_be_asked_for():
    with pytest.raises(UsageError, match="`engine` must be one of auto, striate, torch, got 'jax'"):
        rooms.is_usable("jax", device="cpu", bf16=None)
    assert not rooms.is_usable("torch", device="cpu", bf16=None)
    assert not rooms.is_usable("auto", device="cuda", bf16=None)
    assert not rooms.is_usable("auto", device="cpu", bf16=True)


@pytest.mark.parametrize(("device", "bf16"), [("cuda", None), ("cpu", True)])
def test_asked_for_with_what_it_does_not_do(device, bf16):
    with pytest.raises(UsageError, match=r"striate computes in float32 on the CPU, got .*Use --engine auto"):
        rooms.is_usable("striate", device=device, bf16=bf16)


def test_not_installed(monkeypatch):
    def missing():
        raise MissingExtraError("engine: not here")

    monkeypatch.setattr("striate.engine.extension.extension", missing)
    assert not rooms.is_usable("auto", device="cpu", bf16=None)
    with pytest.raises(MissingExtraError, match="not here"):
        rooms.is_usable("striate", device="cpu", bf16=None)


@needs_engine
@pytest.mark.parametrize(
    "change",
    [{"clip_grad": 1.0}, {"l1": 1e-4}, {"grad_noise": 0.1}, {"class_weights": "balanced"}, {"mixup": 0.2}],
)
def test_recipes_that_change_gradients_take_the_parts_one_by_one(change):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    inputs = torch.zeros(4, 1, 8, 8)
    assert rooms.fused_step(network, optimizer, recipe=Recipe(), inputs=inputs) is not None
    assert rooms.fused_step(network, optimizer, recipe=Recipe().with_overrides(change), inputs=inputs) is None


def test_configurations_of_older_runs_were_computed_by_pytorch():
    values = Configuration().to_dict()
    del values["engine"]
    assert Configuration.from_dict(values).engine == "torch"
    assert Configuration(engine="striate", threads=2).describe() == "cpu, striate engine, float32, 2 threads"


@needs_engine
@pytest.mark.parametrize("change", [{}, {"clip_grad": 1.0}], ids=["whole step", "its parts"])
def test_a_training_in_the_engine_learns_as_in_pytorch(tmp_path, quiet, change):
    runs = [
        striate.train(
            "digits", epochs=4, output=tmp_path / name, engine=name, threads=1, progress=quiet, bf16=False, **change
        )
        for name in ("striate", "torch")
    ]
    assert [run.config.machine.engine for run in runs] == ["striate", "torch"]
    losses = [[event["train_loss"] for event in run.events if event["event"] == "epoch"] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert abs(runs[0].evaluation.top1 - runs[1].evaluation.top1) < 0.05


@needs_engine
def test_auto_prints_both_figures(tmp_path, quiet):
    run = striate.train("digits", epochs=1, output=tmp_path, threads=1, progress=quiet)
    measured = run.config.measured
    assert any("striate engine" in name for name in measured)
    assert any("striate engine" not in name for name in measured)


@needs_engine
def test_resuming_goes_on_in_the_engine_bit_for_bit(tmp_path, quiet):
    options = {"epochs": 3, "engine": "striate", "threads": 1, "progress": quiet}
    whole = striate.train("digits", output=tmp_path / "whole", **options)
    part = striate.train("digits", output=tmp_path / "part", **options)
    # Go back to where the last checkpoint but one would have been: the configuration alone decides the bits.
    assert dataclasses.replace(whole.config.machine) == part.config.machine
    for one, two in zip(whole.model().parameters(), part.model().parameters(), strict=True):
        assert torch.equal(one, two)
