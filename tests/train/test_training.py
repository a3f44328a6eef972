"""The state of a training: there and back, and when it is over."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import striate
from striate.errors import DivergedError, ModelError
from striate.train import checkpoint as checkpoints
from striate.train.distributed import Processes
from striate.train.run import Run
from striate.train.schedule import PlateauState
from striate.train.tally import Tally
from striate.train.training import Training


def _network(channels: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, channels, 3), nn.BatchNorm2d(channels), nn.Flatten(), nn.Linear(36 * channels, 10)
    )


@pytest.fixture
def training(digits_run, tmp_path):
    """Make trainings of the digits in a folder of the test's own, with changes to the recipe."""
    splits = striate.data.load("digits")

    def make(network: nn.Module | None = None, *, layout: bool = True, processes=None, **overrides) -> Training:
        config = digits_run.config
        machine = dataclasses.replace(config.machine, channels_last=layout)
        config = dataclasses.replace(config, recipe=config.recipe.with_overrides(overrides), machine=machine)
        for name in ("weights", "checkpoints"):
            (tmp_path / name).mkdir(exist_ok=True)
        run = Run(tmp_path, config=config)
        return Training(run=run, splits=splits, network=network or _network(), processes=processes or Processes())

    return make


def _take_a_step(training: Training) -> None:
    inputs = torch.ones(2, 1, 8, 8, requires_grad=False).contiguous(memory_format=torch.channels_last)
    training.network(inputs * torch.arange(64).reshape(8, 8)).square().mean().backward()
    training.optimizer.step()
    training.optimizer.zero_grad()
    if training.ema:
        training.ema.update(training.network, step=training.step)
    training.step_in_epoch += 1


@pytest.mark.parametrize("opt", ["sgd", "adamw", "muon"])
def test_there_and_back_and_on(training, opt):
    first = training(opt=opt, lr=1e-3, model_ema=0.9)
    _take_a_step(first)
    first.best_epoch, first.best_accuracy, first.best_loss = 1, 0.75, 0.5
    first.plateau = PlateauState(best=0.75, epochs_since_best=2, drops=1)
    first.tally = Tally(loss=0.1 + 0.2, correct=7, samples=9, seconds=1.5)
    first.save()
    second = training(_network().requires_grad_(True), opt=opt, lr=1e-3, model_ema=0.9)
    second.restore(checkpoints.load_newest(second.run.folder / "checkpoints")[0])
    for name in ("epoch", "step_in_epoch", "best_accuracy", "best_loss", "best_epoch", "plateau", "tally", "step"):
        assert getattr(second, name) == getattr(first, name)
    for either in (first, second):
        _take_a_step(either)
        _take_a_step(either)
    for one, other in ((first.network, second.network), (first.ema.model, second.ema.model)):
        assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_before_the_first_epoch_nothing_is_best(training):
    first = training()
    first.save()
    second = training()
    second.restore(checkpoints.load_newest(second.run.folder / "checkpoints")[0])
    assert (second.best_accuracy, second.best_epoch, second.plateau) == (-np.inf, 0, PlateauState())


def test_momenta_have_the_layout_of_their_weights(training):
    first = training(opt="sgd")
    _take_a_step(first)
    first.save()
    second = training(opt="sgd")
    second.restore(checkpoints.load_newest(second.run.folder / "checkpoints")[0])
    weight = second.network[0].weight
    assert second.optimizer.state[weight]["momentum_buffer"].stride() == weight.stride()


def test_a_checkpoint_of_another_network(training):
    training().save()
    other = training(_network(5))
    with pytest.raises(ModelError, match=r"is of another network .*size mismatch.* Give the network that was trained"):
        other.restore(checkpoints.load_newest(other.run.folder / "checkpoints")[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_written(training, value):
    spoiled = training()
    spoiled.network[0].bias.data[0] = value
    with pytest.raises(DivergedError, match=r"a weight became NaN or infinite .*Lower --lr"):
        spoiled.save()
    assert not list((spoiled.run.folder / "checkpoints").iterdir())


def test_only_the_main_process_writes(training):
    other = training(processes=Processes(rank=1))
    other.save()
    other.save_weights("best")
    assert not list((other.run.folder / "checkpoints").iterdir())
    assert not list((other.run.folder / "weights").iterdir())


@pytest.mark.parametrize(
    ("epoch", "best_epoch", "patience", "expected"),
    [(0, 0, 1, False), (2, 1, 2, False), (3, 1, 2, True), (9, 1, None, False), (10, 10, 2, True), (10, 1, None, True)],
)
def test_when_it_is_over(training, epoch, best_epoch, patience, expected):
    state = training(epochs=10, patience=patience)
    state.epoch, state.best_epoch = epoch, best_epoch
    assert state.is_over is expected


def test_the_average_is_what_is_evaluated_and_saved(training):
    with_average, without = training(model_ema=0.5), training()
    assert with_average.evaluated_network is with_average.ema.model
    assert without.evaluated_network is without.network
    with_average.ema.model[0].bias.data.fill_(7.0)
    with_average.save_weights("best")
    stored = striate.files.read_tensors(with_average.run.folder / "weights" / "best.safetensors")
    assert stored["0.bias"].tolist() == [7.0] * 4


def test_balanced_class_weights_come_from_the_training_labels(training):
    weights = training(class_weights="balanced").class_weights
    counts = striate.data.load("digits").train.labels.bincount()
    torch.testing.assert_close(weights, 1259 / (10 * counts.float()))
    assert training().class_weights is None
