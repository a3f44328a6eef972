"""Where the engine takes part in a training, and where it says that it cannot."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import striate
from striate.data import Batch
from striate.engine import Accelerated, has_bf16, is_available
from striate.errors import MissingExtraError, UsageError
from striate.train import engine as rooms
from striate.train.choice import choose_configuration
from striate.train.evaluate import predict_logits
from striate.train.machine import Configuration
from striate.train.recipe import Recipe

needs_engine = pytest.mark.skipif(not is_available(), reason="the compiled part of the engine is not installed")


def test_words_that_may_be_asked_for():
    with pytest.raises(UsageError, match="`engine` must be one of auto, striate, torch, got 'jax'"):
        rooms.is_usable("jax", device="cpu", bf16=None)
    assert not rooms.is_usable("torch", device="cpu", bf16=None)
    assert not rooms.is_usable("auto", device="cuda", bf16=None)


def test_asked_for_with_another_device():
    with pytest.raises(UsageError, match=r"striate computes on the CPU, got device cuda. Use --engine auto"):
        rooms.is_usable("striate", device="cuda", bf16=None)


@needs_engine
def test_bfloat16_where_the_processor_has_none(monkeypatch):
    monkeypatch.setattr("striate.engine._machine.BF16_ISAS", ())
    assert not rooms.is_usable("auto", device="cpu", bf16=True)
    assert rooms.is_usable("auto", device="cpu", bf16=None)
    with pytest.raises(UsageError, match=r"got one without. Use --no-amp, or --engine auto"):
        rooms.is_usable("striate", device="cpu", bf16=True)


@pytest.mark.skipif(not (is_available() and has_bf16()), reason="the instruction set has no bfloat16")
def test_bfloat16_is_tried_and_can_be_asked_for():
    network = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.Flatten())
    network.append(nn.Linear(64 * 14 * 14, 10))
    inputs, targets = torch.randn(64, 32, 16, 16), torch.arange(64) % 10
    batch = Batch(inputs, targets, mix_targets=None, mix_weight=None, indices=torch.arange(64))
    kinds = {"model": network, "batch": batch, "recipe": Recipe(), "start": Configuration()}
    chosen, tried = choose_configuration(**kinds, choices={}, engine="auto")
    assert chosen.engine == "striate"
    assert chosen.bf16
    assert any(name.startswith("cpu, striate engine, bf16") for name in tried)
    for asked in (True, False):
        chosen, _ = choose_configuration(**kinds, choices={"bf16": asked}, engine="striate")
        assert chosen.bf16 is asked
    with chosen.autocast():
        assert not torch.is_autocast_enabled("cpu")


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
def test_auto_prints_both_figures(tmp_path, quiet, monkeypatch):
    monkeypatch.setattr("striate.train.choice.SHORT_TRAINING_SECONDS", 0.0)
    run = striate.train("digits", epochs=1, output=tmp_path, threads=1, progress=quiet)
    measured = run.config.measured
    assert any("striate engine" in name for name in measured)
    assert any("striate engine" not in name for name in measured)


@needs_engine
def test_a_short_training_times_the_engine_alone(tmp_path, capsys):
    run = striate.train("digits", epochs=1, output=tmp_path, threads=1)
    assert run.config.machine.engine == "striate"
    assert list(run.config.measured) == [run.config.machine.describe()]
    assert "1 thread, in which the training is too short to time others:" in capsys.readouterr().err


@needs_engine
@pytest.mark.parametrize("change", [{}, {"model_ema": 0.9}], ids=["the weights", "their average"])
def test_what_is_reported_is_what_the_saved_network_does(tmp_path, quiet, monkeypatch, change):
    computed = []
    forward = Accelerated.__call__
    monkeypatch.setattr(
        Accelerated, "__call__", lambda self, *inputs: computed.append(len(inputs[0])) or forward(self, *inputs)
    )
    run = striate.train("digits", epochs=2, engine="striate", output=tmp_path, threads=1, progress=quiet, **change)
    assert sum(computed) == 2 * 179 + 359  # validation twice, test once: all of it in the engine
    in_pytorch = dataclasses.replace(run.config.machine, engine="torch")
    for name, split, row in (("last", "val", run.history[-1]), ("best", "test", run.evaluation.to_dict())):
        logits, targets = predict_logits(
            run.model(weights=name),
            run.load_data().pick(split),
            preprocessing=run.config.preprocessing,
            configuration=in_pytorch,
        )
        loss = float(nn.functional.cross_entropy(logits, targets))
        assert row["val_loss" if split == "val" else "loss"] == pytest.approx(loss, rel=1e-5)


@needs_engine
def test_where_the_engine_is_missing_a_run_is_evaluated_in_pytorch(tmp_path, quiet, monkeypatch):
    run = striate.train("digits", epochs=1, engine="striate", output=tmp_path, threads=1, progress=quiet)
    assert run.machine.engine == "striate"

    def missing():
        raise MissingExtraError("engine: not here")

    monkeypatch.setattr("striate.engine.extension.extension", missing)
    elsewhere = striate.Run(run.folder)
    assert elsewhere.machine.engine == "torch"
    assert elsewhere.evaluate().loss == pytest.approx(run.evaluation.loss, rel=1e-5)


@needs_engine
def test_resuming_goes_on_in_the_engine_bit_for_bit(tmp_path, quiet):
    options = {"epochs": 3, "engine": "striate", "threads": 1, "progress": quiet}
    whole = striate.train("digits", output=tmp_path / "whole", **options)
    part = striate.train("digits", output=tmp_path / "part", **options)
    # Go back to where the last checkpoint but one would have been: the configuration alone decides the bits.
    assert dataclasses.replace(whole.config.machine) == part.config.machine
    for one, two in zip(whole.model().parameters(), part.model().parameters(), strict=True):
        assert torch.equal(one, two)
