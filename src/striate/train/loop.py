"""The training loop. Read `fit` from top to bottom: it is the whole of it.

All randomness is derived from (seed, epoch, step, sample): a loop that starts in the middle of an epoch from a
checkpoint takes the same steps as one that never stopped.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from striate.data import Batches
from striate.data.batches import Batch
from striate.data.random import Stream, sample_keys
from striate.errors import DivergedError
from striate.train.distributed import gather_rows, share_buffers
from striate.train.evaluate import predict_logits
from striate.train.journal import Journal
from striate.train.loss import training_loss
from striate.train.optimizer import add_gradient_terms, set_learning_rate
from striate.train.progress import Progress
from striate.train.schedule import learning_rate
from striate.train.stop import Interrupted, StopRequest
from striate.train.tally import Losses, Tally
from striate.train.tracking import Tracker
from striate.train.training import Training

__all__ = ["fit"]

# A checkpoint at the end of an epoch when the last one is this old, and in the middle of a long epoch.
SECONDS_BETWEEN_CHECKPOINTS = 10.0
SECONDS_BETWEEN_CHECKPOINTS_IN_EPOCH = 240.0


def fit(training: Training, *, progress: Progress, journal: Journal, tracker: Tracker) -> None:
    """Train until the recipe's last epoch, early stopping, a signal or a loss that is no number.

    Args:
        training: Where to start from; holds the trained network afterwards.
        progress: Shows what happens.
        journal: Keeps ``metrics.jsonl`` and ``results.csv``.
        tracker: TensorBoard, or nothing.

    Raises:
        DivergedError: the loss is NaN or infinite; nothing is saved after the step before it.
        Interrupted: SIGINT or SIGTERM arrived; the state is saved.
    """
    recipe = training.run.config.recipe
    last_saved = time.monotonic()
    with StopRequest() as stop:
        while not training.is_over:
            last_saved = _train_epoch(training, stop=stop, progress=progress, last_saved=last_saved)
            row = _finish_epoch(training)
            if training.keeps_epochs:
                training.save_epoch()
            journal.add("epoch", **row)
            tracker.log(training.epoch, {key: value for key, value in row.items() if value is not None})
            progress.end_epoch(row)
            if (
                training.is_over
                or stop.asked(training.processes)
                or time.monotonic() - last_saved > SECONDS_BETWEEN_CHECKPOINTS
            ):
                training.save()
                last_saved = time.monotonic()
            if training.is_over:
                if training.epoch < recipe.epochs:
                    progress.note(
                        f"no better epoch since epoch {training.best_epoch}: stopped (patience {recipe.patience})"
                    )
                return
            _leave_if_asked(training, stop)


def _train_epoch(training: Training, *, stop: StopRequest, progress: Progress, last_saved: float) -> float:
    """Take the steps of one epoch that are still to take; return when a checkpoint was last written."""
    recipe, tally = training.run.config.recipe, training.tally
    training.network.train()
    losses, seeds = Losses(training), _step_seeds(training)
    begin = time.monotonic()
    for batch in _remaining_batches(training):
        _seed_generator(seeds[training.step_in_epoch], device=training.device)
        _take_step(training, batch, losses=losses)
        progress.step(
            training.epoch + 1,
            training.step_in_epoch,
            training.steps_per_epoch,
            loss=losses.shown,
            images=training.step_in_epoch * recipe.batch_size,
            accuracy=tally.correct / max(1, tally.samples),
        )
        if stop.asked(training.processes) or time.monotonic() - last_saved > SECONDS_BETWEEN_CHECKPOINTS_IN_EPOCH:
            losses.settle()
            now = time.monotonic()
            tally.seconds, begin = tally.seconds + now - begin, now
            training.save()
            last_saved = time.monotonic()
            _leave_if_asked(training, stop)
    losses.settle()
    tally.seconds += time.monotonic() - begin
    return last_saved


def _take_step(training: Training, batch: Batch, *, losses: Losses) -> None:
    """Forward, loss, backward, update: one step of the optimizer."""
    lr = learning_rate(
        training.step,
        recipe=training.run.config.recipe,
        steps_per_epoch=training.steps_per_epoch,
        plateau_drops=training.plateau.drops,
    )
    set_learning_rate(training.optimizer, lr)
    fused = training.fused_step(batch.inputs)
    if fused is not None:
        loss, outputs = fused(batch.inputs, batch.targets)
        losses.add(loss, outputs, batch)
    else:
        _compute_and_update(training, batch, losses=losses)
    if training.ema:
        training.ema.update(training.network, step=training.step)
    training.step_in_epoch += 1


def _compute_and_update(training: Training, batch: Batch, *, losses: Losses) -> None:
    """Take the parts of a step one by one."""
    recipe, optimizer = training.run.config.recipe, training.optimizer
    with training.run.config.machine.autocast():
        outputs = training.step_network(batch.inputs)
    # Every process divides by the whole batch and DDP averages the gradients: hence the factor.
    loss = training_loss(
        outputs,
        batch,
        smoothing=recipe.smoothing,
        class_weights=training.class_weights,
        num_samples=recipe.batch_size,
    )
    (loss * training.processes.world_size).backward()
    losses.add(loss, outputs, batch)  # raises on NaN, before the weights take it in
    add_gradient_terms(optimizer, recipe=recipe, step=training.step)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _remaining_batches(training: Training) -> Batches:
    """The batches of this epoch from the step the training stands at, this process's share of each."""
    config = training.run.config
    return Batches(
        training.splits.train,
        batch_size=config.recipe.batch_size,
        preprocessing=config.preprocessing,
        augmentation=config.recipe.augmentation,
        seed=config.seed,
        epoch=training.epoch,
        shuffle=True,
        device=config.machine.device,
        memory_format=config.machine.memory_format,
        rank=training.processes.rank,
        world_size=training.processes.world_size,
        start_step=training.step_in_epoch,
        drop_last=True,
    )


def _step_seeds(training: Training) -> list[int]:
    """Return the seed of PyTorch's generator for each step of this epoch and this process."""
    processes = training.processes
    numbers = np.arange(training.steps_per_epoch, dtype=np.int64) * processes.world_size + processes.rank
    keys = sample_keys(seed=training.run.config.seed, epoch=training.epoch, sample_ids=numbers, stream=Stream.STEP)
    seeds: list[int] = (keys >> np.uint64(1)).tolist()
    return seeds


def _seed_generator(seed: int, *, device: torch.device) -> None:
    # torch.manual_seed looks for a fork of the process in the call stack: 250 microseconds, a tenth of a small step.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _leave_if_asked(training: Training, stop: StopRequest) -> None:
    if stop.signal_number is not None:
        raise Interrupted(
            f"train: stopped by signal {stop.signal_number} after epoch {training.epoch}, "
            f"step {training.step_in_epoch} of {training.steps_per_epoch}; saved. "
            f"Go on with: striate resume {training.run.folder}",
            signal_number=stop.signal_number,
        )


def _finish_epoch(training: Training) -> dict[str, Any]:
    """Evaluate on the validation split, note the best weights, and return the epoch's row of results."""
    config = training.run.config
    tally = _over_all_processes(training.tally, training)
    samples = max(1, tally.samples)
    row: dict[str, Any] = {
        "epoch": training.epoch + 1,
        "train_loss": tally.loss / samples,
        "train_accuracy": tally.correct / samples,
        "val_loss": None,
        "val_accuracy": None,
        "lr": training.optimizer.param_groups[0]["lr"],
        "images_per_second": round(samples / max(tally.seconds, 1e-9), 1),
        "seconds": round(tally.seconds, 3),
    }
    training.epoch, training.step_in_epoch, training.tally = training.epoch + 1, 0, Tally()
    share_buffers(training.evaluated_network, processes=training.processes)
    if training.splits.val is not None:
        logits, targets = predict_logits(
            training.evaluated_network,
            training.splits.val,
            preprocessing=config.preprocessing,
            configuration=config.machine,
            processes=training.processes,
            computing=training.evaluating,
        )
        row["val_loss"] = float(nn.functional.cross_entropy(logits, targets))
        if not math.isfinite(row["val_loss"]):
            raise _diverged_in_validation(training, row["val_loss"])
        row["val_accuracy"] = float((logits.argmax(dim=1) == targets).float().mean())
        training.plateau.update(row["val_accuracy"], patience=config.recipe.decay_epochs)
    if _is_better(row, training):
        training.best_accuracy = row["val_accuracy"] if row["val_accuracy"] is not None else row["train_accuracy"]
        training.best_loss = row["val_loss"] if row["val_loss"] is not None else row["train_loss"]
        training.best_epoch = training.epoch
        training.save_weights("best")
    row["best"] = training.best_epoch == training.epoch
    return row


def _over_all_processes(tally: Tally, training: Training) -> Tally:
    """Add up what each process counted; the seconds are this process's own."""
    sums = torch.tensor([[tally.loss, tally.correct, tally.samples]], dtype=torch.float64, device=training.device)
    loss, correct, samples = gather_rows(sums, processes=training.processes).sum(dim=0).tolist()
    return Tally(loss=loss, correct=int(correct), samples=int(samples), seconds=tally.seconds)


def _is_better(row: dict[str, Any], training: Training) -> bool:
    """Compare by validation accuracy, then loss; without a validation split the newest weights are the best."""
    if row["val_accuracy"] is None:
        return True
    return (row["val_accuracy"], -row["val_loss"]) > (training.best_accuracy, -training.best_loss)


def _diverged_in_validation(training: Training, loss: float) -> DivergedError:
    return DivergedError(
        f"train: the validation loss became {loss} in epoch {training.epoch} of {training.run.config.recipe.epochs}, "
        "while the training loss was finite. Lower --lr, or add --clip-grad 1.0; the last good state is untouched."
    )
