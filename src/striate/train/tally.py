"""What one epoch adds up to, and the look at every loss that stops a run before a NaN reaches the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from striate.data.batches import Batch
from striate.errors import DivergedError

if TYPE_CHECKING:
    from striate.train.training import Training

__all__ = ["Losses", "Tally"]

# On a GPU, looking at the loss stops the queue: look only this often.
STEPS_BETWEEN_LOOKS_ON_GPU = 50


@dataclass(kw_only=True)
class Tally:
    """Running sums of one epoch."""

    loss: float = 0.0
    correct: int = 0
    samples: int = 0
    seconds: float = 0.0


class Losses:
    """Adds up losses and correct answers, and stops the run at the first loss that is not a finite number."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._pending: list[tuple[Tensor, Tensor, int, Any]] = []
        self._looks_every = STEPS_BETWEEN_LOOKS_ON_GPU if training.device.type != "cpu" else 1
        self.shown: float | None = None

    def add(self, loss: Tensor, outputs: Tensor | tuple[Tensor, ...], batch: Batch) -> None:
        """Take in one step; on a CPU it is looked at now, on a GPU together with the next ones."""
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        correct = (logits.detach().argmax(dim=1) == batch.targets).sum()
        self._pending.append((loss.detach(), correct, len(batch.targets), batch.indices))
        if len(self._pending) >= self._looks_every:
            self.settle()

    def settle(self) -> None:
        """Look at the steps not looked at yet."""
        tally, batch_size = self._training.tally, self._training.run.config.recipe.batch_size
        for loss, correct, samples, indices in self._pending:
            value = float(loss)
            if not math.isfinite(value):
                self._raise(indices, loss=value)
            self.shown = value * self._training.processes.world_size
            tally.loss += value * batch_size
            tally.correct += int(correct)
            tally.samples += samples
        self._pending.clear()

    def _raise(self, indices: Any, *, loss: float) -> None:
        training = self._training
        names = [training.splits.train.identify(int(index)) for index in indices[:5]]
        raise DivergedError(
            f"train: the loss became {loss} in epoch {training.epoch + 1} at step {training.step_in_epoch + 1} of "
            f"{training.steps_per_epoch} (learning rate {training.optimizer.param_groups[0]['lr']:.3g}). "
            f"The batch holds {', '.join(names)}{' and others' if len(indices) > 5 else ''}. "
            f"Lower --lr, or add --clip-grad 1.0; the last good state is in {training.run.folder / 'checkpoints'}."
        )
