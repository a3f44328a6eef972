"""The loop: the same bits after every kind of interruption, and no damage left by a loss that is no number."""

from __future__ import annotations

import hashlib
import json
import math
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import striate
from striate.errors import DivergedError
from striate.train import Progress, resume
from striate.train import checkpoint as checkpoints
from striate.train.stop import Interrupted

pytestmark = pytest.mark.usefixtures("unmeasured")

TIMES = ("images_per_second", "seconds")
STEPS = 5
"""Steps of an epoch of `_arrays` with batch 16."""


def _arrays() -> tuple[np.ndarray, np.ndarray]:
    """120 noise images of 10 x 10 in 3 classes told apart by a bright band; 84 are left to train on, 12 to validate."""
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = generator.integers(0, 100, size=(120, 10, 10), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[3 * label : 3 * label + 3] += 60
    return images, labels


class Net(nn.Module):
    """Convolution, batch norm, dropout: everything that could remember or draw something."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(8, num_classes))

    def forward(self, images):
        return self.head(self.features(images).mean(dim=(2, 3)))


class SignalAt(Progress):
    """Sends this process a signal at one step, as a user's Ctrl-C does."""

    def __init__(self, epoch: int, step: int, number: int = signal.SIGINT) -> None:
        super().__init__(quiet=True)
        self._at, self._number = (epoch, step), number

    def step(self, epoch, step, *others, **values):
        if (epoch, step) == self._at:
            signal.raise_signal(self._number)
        super().step(epoch, step, *others, **values)


def _train(output: Path, *, progress: Progress | None = None, model=Net, **options):
    options = {"epochs": 3, "batch_size": 16, "lr": 0.05, "threads": 1, "device": "cpu", "seed": 5} | options
    return striate.train(
        _arrays(), model=model, output=output, experiment="run", progress=progress or Progress(quiet=True), **options
    )


def _hashes(folder: Path) -> dict[str, str]:
    names = ("weights/last.safetensors", "weights/best.safetensors", "checkpoints/step-000000015/optimizer.safetensors")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def _without_times(run) -> list[dict]:
    events = [event for event in run.events if event["event"] != "resume"]
    return [{key: value for key, value in event.items() if key not in TIMES} for event in events]


def _table(folder: Path) -> list[list[str]]:
    return [line.split(",")[:6] for line in (folder / "results.csv").read_text().splitlines()]


AUGMENTED = {"crop_padding": 2, "horizontal_flip": "random", "rotation_degrees": 10, "mixup": 0.4, "input_noise": 0.05}
SETTINGS = {
    "sgd, ema, dropout, augmentation": {"opt": "sgd", "model_ema": 0.9, "dropout": 0.5, **AUGMENTED},
    "adamw, ema, gradient noise": {"opt": "adamw", "lr": 0.01, "model_ema": 0.9, "grad_noise": 0.01, "clip_grad": 1.0},
    "muon, channels_last": {"opt": "muon", "lr": 0.02, "channels_last": True},
    "sgd, channels_last, fused": {"opt": "sgd", "channels_last": True, "cutout": 3},
    "plateau, momentum 0": {
        "sched": "plateau",
        "decay_epochs": 1,
        "lr": 1e-9,
        "momentum": 0.0,
        "class_weights": "balanced",
    },
}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_resumed_within_an_epoch_gives_the_same_bits(tmp_path, name):
    straight = _train(tmp_path / "straight", **SETTINGS[name])
    with pytest.raises(Interrupted, match=r"stopped by signal 2 after epoch 1, step 3 of 5; saved\. .*striate resume"):
        _train(tmp_path / "stopped", progress=SignalAt(2, 3), **SETTINGS[name])
    resumed = resume(tmp_path / "stopped" / "run", model=Net, data=_arrays(), progress=Progress(quiet=True))
    assert [event["event"] for event in resumed.events].count("resume") == 1
    assert _hashes(resumed.folder) == _hashes(straight.folder)
    assert _without_times(resumed) == _without_times(straight)
    assert _table(resumed.folder) == _table(straight.folder)


@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (1, STEPS), (3, STEPS)])
def test_resumed_at_the_edges_of_an_epoch(tmp_path, epoch, step):
    straight = _train(tmp_path / "straight")
    with pytest.raises(Interrupted, match="saved"):
        _train(tmp_path / "stopped", progress=SignalAt(epoch, step))
    resumed = resume(tmp_path / "stopped" / "run", model=Net, data=_arrays(), progress=Progress(quiet=True))
    assert _hashes(resumed.folder) == _hashes(straight.folder)
    assert _without_times(resumed) == _without_times(straight)


def test_stopped_at_every_step_gives_the_same_bits(tmp_path):
    straight = _train(tmp_path / "straight", model_ema=0.9)
    with pytest.raises(Interrupted, match="signal 15"):
        _train(tmp_path / "stopped", model_ema=0.9, progress=SignalAt(1, 1, signal.SIGTERM))
    folder = tmp_path / "stopped" / "run"
    for done in range(1, 3 * STEPS - 1):
        progress = SignalAt(1 + done // STEPS, 1 + done % STEPS, signal.SIGTERM)
        with pytest.raises(Interrupted, match="signal 15"):
            resume(folder, model=Net, data=_arrays(), progress=progress)
    resumed = resume(folder, model=Net, data=_arrays(), progress=Progress(quiet=True))
    assert _hashes(resumed.folder) == _hashes(straight.folder)
    assert _without_times(resumed) == _without_times(straight)


def test_a_damaged_newest_checkpoint_is_passed_over_aloud(tmp_path, capsys):
    straight = _train(tmp_path / "straight")
    with pytest.raises(Interrupted, match="saved"):
        _train(tmp_path / "stopped", progress=SignalAt(1, 2))
    with pytest.raises(Interrupted, match="saved"):
        resume(tmp_path / "stopped" / "run", model=Net, data=_arrays(), progress=SignalAt(2, 4))
    newest = tmp_path / "stopped" / "run" / "checkpoints" / "step-000000009" / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-4] + b"\0\0\0\1")
    resumed = resume(tmp_path / "stopped" / "run", model=Net, data=_arrays(), progress=Progress(quiet=True))
    assert (
        "warning: passed over a newer checkpoint: `step-000000009/model.safetensors` is dam" in capsys.readouterr().err
    )
    assert _hashes(resumed.folder) == _hashes(straight.folder)
    assert _without_times(resumed) == _without_times(straight)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run = _train(tmp_path, epochs=2)
    before = (run.folder / "weights" / "last.safetensors").read_bytes(), _without_times(run)
    again = resume(run.folder, model=Net, data=_arrays(), progress=Progress(quiet=True))
    assert ((run.folder / "weights" / "last.safetensors").read_bytes(), _without_times(again)) == before


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path):
    runs = [_train(tmp_path / str(number), epochs=1, seed=seed) for number, seed in enumerate((5, 5, 6))]
    first, same, other = ((run.folder / "weights" / "last.safetensors").read_bytes() for run in runs)
    assert first == same
    assert first != other


def test_patience_stops_and_stays_stopped(tmp_path):
    # A learning rate of 1e-12 changes no prediction: no epoch after the first is better.
    run = _train(tmp_path, epochs=20, patience=2, lr=1e-12, model=lambda num_classes: Plain(num_classes))
    assert [row["epoch"] for row in run.history] == [1, 2, 3]
    assert [row["best"] for row in run.history] == [True, False, False]
    again = resume(run.folder, model=Plain, data=_arrays(), progress=Progress(quiet=True))
    assert [row["epoch"] for row in again.history] == [1, 2, 3]


class Plain(nn.Sequential):
    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(100, num_classes))


class NoNumberAfter(Plain):
    """Returns `value` in training from a given step on."""

    def __init__(self, num_classes: int, *, step: int, value: float) -> None:
        super().__init__(num_classes)
        self._left, self._value = step, value

    def forward(self, images):
        logits = super().forward(images)
        self._left -= self.training
        return logits * self._value if self.training and self._left < 0 else logits


def _weights_are_finite(folder: Path) -> bool:
    checkpoint, _ = checkpoints.load_newest(folder / "checkpoints")
    return all(bool(torch.isfinite(tensor).all()) for tensor in checkpoint.model.values())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_names_epoch_step_and_images(tmp_path, value, monkeypatch):
    monkeypatch.setattr("striate.train.loop.SECONDS_BETWEEN_CHECKPOINTS", 0.0)  # a checkpoint after each epoch
    with pytest.raises(DivergedError) as raised:
        _train(tmp_path, model=lambda num_classes: NoNumberAfter(num_classes, step=STEPS + 2, value=value))
    message = str(raised.value)
    assert "the loss became nan in epoch 2 at step 3 of 5 (learning rate 0.0" in message
    assert "The batch holds arrays " in message
    assert "and others. Lower --lr, or add --clip-grad 1.0" in message
    assert str(tmp_path / "run" / "checkpoints") in message
    assert _weights_are_finite(tmp_path / "run")
    assert checkpoints.load_newest(tmp_path / "run" / "checkpoints")[0].state["epoch"] == 1
    assert [event["event"] for event in striate.Run(tmp_path / "run", model=Plain).events] == ["epoch"]


def test_the_batch_that_is_named_is_the_batch_that_did_it(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    labels = np.arange(60) % 2
    spoiled = 17

    class Fragile(nn.Linear):
        def forward(self, rows):
            bad = (rows[:, 0] > 5).any() and self.training
            return super().forward(rows) * (math.nan if bad else 1.0)

    vectors[spoiled, 0] = 1000.0
    options = {"epochs": 1, "batch_size": 5, "val_fraction": 0.0, "threads": 1, "device": "cpu"}
    with pytest.raises(DivergedError) as raised:
        striate.train((vectors, labels), model=Fragile(4, 2), output=tmp_path, progress=Progress(quiet=True), **options)
    assert f"arrays {spoiled}" in str(raised.value)


class InfiniteGradient(Plain):
    """Finite loss, infinite gradient: the square root at 0."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.extra = nn.Parameter(torch.zeros(()))

    def forward(self, images):
        return super().forward(images) + (self.extra * 0).abs().sqrt() + self.extra.abs().sqrt()


def test_an_infinite_gradient_is_never_saved(tmp_path):
    # SIGINT after the very step that spoiled the weights asks for a checkpoint of them.
    with pytest.raises(DivergedError, match=r"a weight became NaN or infinite before step 1 .*epoch 1.*--clip-grad"):
        _train(tmp_path, model=InfiniteGradient, progress=SignalAt(1, 1))
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    assert list((tmp_path / "run" / "weights").iterdir()) == []


class BadInEvaluation(Plain):
    def forward(self, images):
        return super().forward(images) * (1.0 if self.training or len(images) < 3 else math.nan)


def test_a_validation_loss_that_is_no_number(tmp_path):
    with pytest.raises(
        DivergedError, match="the validation loss became nan in epoch 1 of 3, while the training loss was"
    ):
        _train(tmp_path, model=BadInEvaluation)


def test_best_weights_are_those_of_the_best_epoch(tmp_path):
    run = _train(tmp_path, epochs=4, model=Plain, lr=0.2)
    best = max(run.history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert [row["epoch"] for row in run.history if row["best"]][-1] == best["epoch"]
    splits = striate.data.load(_arrays(), seed=5)
    evaluation = run.evaluate(splits_of(splits.val))
    assert evaluation.top1 == pytest.approx(best["val_accuracy"])


def splits_of(dataset):
    """Give a split's own images back as arrays."""
    pixels = dataset.images.gather(np.arange(len(dataset))).pixels[:, 0].numpy()
    return pixels, dataset.labels.numpy()


def test_without_validation_the_last_weights_are_the_best(tmp_path):
    run = _train(tmp_path, val_fraction=0.0, model=Plain)
    assert all(row["val_loss"] is None for row in run.history)
    assert (run.folder / "weights" / "best.safetensors").read_bytes() == (
        run.folder / "weights" / "last.safetensors"
    ).read_bytes()


def test_progress_counts_the_images_of_the_epoch(tmp_path):
    seen = []

    class Watch(Progress):
        def step(self, epoch, step, steps, **values):
            seen.append((epoch, step, steps, values["images"]))

    _train(tmp_path, epochs=2, model=Plain, progress=Watch(quiet=True))
    assert seen == [(epoch, step, STEPS, 16 * step) for epoch in (1, 2) for step in range(1, STEPS + 1)]


def test_one_step_of_the_loop_by_hand(tmp_path):
    # 84 images in one batch of 84: one SGD step on the mean gradient of all of them.
    images, labels = _arrays()
    torch.manual_seed(0)
    network = Plain(3)
    weight = network[1].weight.detach().clone()
    options = {"epochs": 1, "batch_size": 84, "momentum": 0.0, "weight_decay": 0.01, "sched": "constant", "lr": 0.5}
    run = _train(tmp_path, model=network, recipe=striate.Recipe(), **options)  # one without augmentation
    train = striate.data.load((images, labels), seed=5).train
    inputs = run.config.preprocessing.from_canvas(train.images.gather(np.arange(84))).flatten(1).double()
    start = nn.Linear(100, 3).double()
    start.load_state_dict({"weight": weight.double(), "bias": torch.zeros(3).double()})
    torch.manual_seed(0)
    start.bias.data = Plain(3)[1].bias.detach().double()
    nn.functional.cross_entropy(start(inputs), train.labels).backward()
    expected = weight.double() - 0.5 * (start.weight.grad + 0.01 * weight.double())
    torch.testing.assert_close(network[1].weight.detach().double(), expected, rtol=1e-4, atol=1e-6)


def test_metrics_hold_no_nan(tmp_path):
    run = _train(tmp_path, epochs=1, model=Plain)
    for line in (run.folder / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
