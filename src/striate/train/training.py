"""The state of a training: everything that changes while a network learns, and how it is saved and restored."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from striate.data import Splits
from striate.errors import DivergedError, ModelError
from striate.files import write_tensors
from striate.train import checkpoint as checkpoints
from striate.train.checkpoint import Checkpoint
from striate.train.distributed import Processes, wrap
from striate.train.ema import ModelEma
from striate.train.engine import fused_step
from striate.train.loss import balanced_class_weights
from striate.train.optimizer import build_optimizer, without_compiler
from striate.train.run import Run, epoch_name
from striate.train.schedule import PlateauState
from striate.train.tally import Tally

if TYPE_CHECKING:
    from striate.engine import TrainingStep

__all__ = ["Training"]


@dataclass(kw_only=True)
class Training:
    """What changes while a network learns; everything else is in the run's configuration."""

    run: Run
    splits: Splits
    network: nn.Module
    processes: Processes = field(default_factory=Processes)
    epoch: int = 0
    """Epochs finished."""
    step_in_epoch: int = 0
    best_accuracy: float = -math.inf
    best_loss: float = math.inf
    best_epoch: int = 0
    plateau: PlateauState = field(default_factory=PlateauState)
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        config = self.run.config
        recipe, machine = config.recipe, config.machine
        self.device = torch.device(machine.device)
        self.network.to(self.device)
        if config.model.image_size is not None:
            self.network.to(memory_format=machine.memory_format)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.network, recipe=recipe, fused=machine.fused_optimizer)
        self.ema = ModelEma(self.network, decay=recipe.model_ema) if recipe.model_ema else None
        on_cuda = self.device.type == "cuda"
        computing = machine.computing(self.network)
        self.evaluating = machine.computing(self.ema.model) if self.ema else computing
        """What computes the outputs of `evaluated_network`."""
        step_network: Any = wrap(computing, processes=self.processes, cuda=on_cuda)
        self.step_network: Any = torch.compile(step_network) if machine.compile else step_network
        self._fused_steps: dict[torch.Size, TrainingStep | None] = {}
        self.steps_per_epoch = len(self.splits.train) // recipe.batch_size
        self.class_weights: Tensor | None = None
        if recipe.class_weights == "balanced":
            labels = self.splits.train.labels
            self.class_weights = balanced_class_weights(labels, num_classes=len(config.class_names)).to(self.device)

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return self.epoch * self.steps_per_epoch + self.step_in_epoch

    def fused_step(self, inputs: Tensor) -> TrainingStep | None:
        """Return the engine's whole step for such inputs; None where the parts of a step are taken one by one."""
        config = self.run.config
        if config.machine.engine != "striate" or self.processes.world_size > 1:
            return None
        if inputs.shape not in self._fused_steps:
            options: dict[str, Any] = {"recipe": config.recipe, "inputs": inputs, "bf16": config.machine.bf16}
            step = fused_step(self.network, self.optimizer, **options)
            self._fused_steps[inputs.shape] = step
        return self._fused_steps[inputs.shape]

    @property
    def evaluated_network(self) -> nn.Module:
        """The network that is measured and saved: the averaged one where the recipe keeps it."""
        return self.ema.model if self.ema else self.network

    @property
    def is_over(self) -> bool:
        """Whether the last epoch is done, or patience is exhausted."""
        recipe = self.run.config.recipe
        return self.epoch >= recipe.epochs or (
            recipe.patience is not None and self.epoch - self.best_epoch >= recipe.patience
        )

    def save(self) -> None:
        """Write a checkpoint and the last weights.

        Raises:
            DivergedError: a weight is NaN or infinite, as an infinite gradient leaves it; nothing is written.
        """
        if not self.processes.is_main:
            return
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.network.parameters()):
            raise DivergedError(
                f"train: a weight became NaN or infinite before step {self.step:,} of epoch {self.epoch + 1}: "
                "the loss was finite, its gradient was not. Lower --lr, or add --clip-grad 1.0; "
                "the last good state is untouched."
            )
        state = {
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "best_accuracy": self.best_accuracy if self.best_epoch else None,
            "best_loss": self.best_loss if self.best_epoch else None,
            "best_epoch": self.best_epoch,
            "plateau": [
                self.plateau.best if math.isfinite(self.plateau.best) else None,
                self.plateau.epochs_since_best,
                self.plateau.drops,
            ],
            "tally": [self.tally.loss, self.tally.correct, self.tally.samples, self.tally.seconds],
        }
        with without_compiler():
            checkpoint = Checkpoint(
                model=self.network.state_dict(),
                optimizer=self.optimizer.state_dict(),
                ema=self.ema.model.state_dict() if self.ema else None,
                state=state,
            )
        checkpoints.save(self.run.folder / "checkpoints", checkpoint, step=self.step)
        self.save_weights("last")

    def save_weights(self, name: str) -> None:
        """Write the evaluated network's weights as ``weights/NAME.safetensors``."""
        if self.processes.is_main:
            write_tensors(self.run.folder / "weights" / f"{name}.safetensors", self.evaluated_network.state_dict())

    def save_epoch(self) -> None:
        """Write the weights after so many epochs as ``weights/epoch-NNN.safetensors``."""
        self.save_weights(epoch_name(self.epoch))

    @property
    def keeps_epochs(self) -> bool:
        """Whether the weights of every epoch are kept: those before the first are there."""
        return (self.run.folder / "weights" / f"{epoch_name(0)}.safetensors").is_file()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint.

        Raises:
            ModelError: it was written for another network.
        """
        try:
            self.network.load_state_dict(checkpoint.model)
            with without_compiler():
                self.optimizer.load_state_dict(checkpoint.optimizer)
            if self.ema and checkpoint.ema is not None:
                self.ema.model.load_state_dict(checkpoint.ema)
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"resume: the checkpoint in `{self.run.folder}` is of another network "
                f"({' '.join(str(error).split())[:200]}). Give the network that was trained."
            ) from error
        self._lay_out_optimizer_state()
        state = checkpoint.state
        self.epoch, self.step_in_epoch = state["epoch"], state["step_in_epoch"]
        self.best_epoch = state["best_epoch"]
        if self.best_epoch:
            self.best_accuracy, self.best_loss = state["best_accuracy"], state["best_loss"]
        best, since, drops = state["plateau"]
        self.plateau = PlateauState(best=-math.inf if best is None else best, epochs_since_best=since, drops=drops)
        loss, correct, samples, seconds = state["tally"]
        self.tally = Tally(loss=loss, correct=correct, samples=samples, seconds=seconds)

    def _lay_out_optimizer_state(self) -> None:
        """Give momenta the layout of their weights: files hold plain ones, and fused kernels walk both side by side."""
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                if value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
