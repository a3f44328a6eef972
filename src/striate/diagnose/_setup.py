"""A training as the user set it up, and variations: each is tried on copies, briefly, with the same random numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from striate.diagnose._samples import Samples

__all__ = ["Setup", "Trained", "Trial", "is_clearly_better"]

Call = Callable[..., Any]


class Replacing(TorchFunctionMode):
    """Calls other functions in place of PyTorch's own, by name; modules and functional calls alike."""

    def __init__(self, calls: Mapping[str, Call]) -> None:
        super().__init__()
        self.calls = calls

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the call, or what stands for it: a function of the original, its arguments and its keywords."""
        instead = self.calls.get(getattr(func, "__name__", "").rstrip("_"))
        return func(*args, **(kwargs or {})) if instead is None else instead(func, *args, **(kwargs or {}))


@dataclass(eq=False)
class Trial:
    """Copies that may be changed."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss_fn: Call
    setup: Setup

    def outputs(self, inputs: Tensor) -> Any:
        """Run the network on inputs as the user gives them."""
        setup = self.setup
        with setup.replacing():
            outputs = self.model(setup.prepare(inputs.to(setup.device)))
        return setup.finish(outputs) if isinstance(outputs, Tensor) else outputs

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """Compare outputs with targets."""
        loss: Tensor = self.loss_fn(outputs, targets.to(self.setup.device))
        return loss


@dataclass(frozen=True, eq=False, kw_only=True)
class Setup:
    """Network, loss, optimizer and data; none of them is touched."""

    model: nn.Module
    loss_fn: Call
    optimizer: torch.optim.Optimizer | None
    samples: Samples
    validation: Samples | None = None
    augment: Call | None = None
    steps: int = 60
    """Of one brief training."""
    seed: int = 0
    prepare: Call = field(default=lambda inputs: inputs)
    finish: Call = field(default=lambda outputs: outputs)
    edits: tuple[Callable[[Trial], None], ...] = ()
    """Done on each copy before it is used."""
    calls: Mapping[str, Call] = field(default_factory=dict)
    rate: float = 1.0
    """Factor on the learning rates."""

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def replacing(self) -> AbstractContextManager[Any]:
        """Return the context in which calls are replaced."""
        return Replacing(self.calls) if self.calls else nullcontext()

    def edited(self, *edits: Callable[[Trial], None], **changes: Any) -> Setup:
        """Return a variation."""
        return replace(self, edits=(*self.edits, *edits), **changes)

    def trial(self) -> Trial:
        """Copy network, optimizer and loss together, so that the optimizer's parameters are the copy's."""
        torch.manual_seed(self.seed)
        model, optimizer, loss_fn = copy.deepcopy((self.model, self.optimizer, self.loss_fn))
        if optimizer is None:
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        trial = Trial(model, optimizer, loss_fn, self)
        for edit in self.edits:
            edit(trial)
        for group in trial.optimizer.param_groups:
            group["lr"] = group["lr"] * self.rate
        return trial

    def train(self, *, steps: int | None = None, samples: Samples | None = None) -> Trained:
        """Train a copy for some steps and say how it went."""
        trial, samples = self.trial(), samples or self.samples
        trial.model.train()
        generator = torch.Generator().manual_seed(self.seed)
        losses, right, seen = list[float](), list[float](), 0
        wanted = steps or self.steps
        order = torch.randperm(len(samples), generator=generator)
        size = min(samples.batch_size, len(samples), 64)
        for _ in range(wanted):
            if seen + size > len(order):
                order, seen = torch.randperm(len(samples), generator=generator), 0
            rows, seen = order[seen : seen + size], seen + size
            outputs = trial.outputs(samples.inputs[rows])
            loss = trial.loss(outputs, samples.targets[rows])
            losses.append(float(loss.detach()))
            right.append(share_right(outputs, samples.targets[rows]))
            if not math.isfinite(losses[-1]) or not loss.requires_grad:
                break
            trial.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            trial.optimizer.step()
        return Trained(trial=trial, losses=tuple(losses), right=tuple(right), wanted=wanted)


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """How a brief training went."""

    trial: Trial
    losses: tuple[float, ...]
    right: tuple[float, ...]
    """Share of each batch that was right before the step; NaN where there is no such thing."""
    wanted: int

    @property
    def is_finite(self) -> bool:
        """Whether all losses were numbers and all steps were taken."""
        return len(self.losses) == self.wanted and all(map(math.isfinite, self.losses))

    @property
    def start(self) -> float:
        """The first loss."""
        return self.losses[0]

    @property
    def end(self) -> float:
        """Mean loss of the last quarter; infinite where the training broke."""
        return _mean_of_end(self.losses) if self.is_finite else math.inf

    @property
    def accuracy(self) -> float:
        """Mean accuracy of the last quarter, 0 to 1; NaN where there is none, 0 where the training broke."""
        return _mean_of_end(self.right) if self.is_finite else 0.0

    def text(self) -> str:
        """Say it in a few words."""
        if not self.is_finite:
            return f"loss {self.start:.3g} -> {self.losses[-1]:.3g} after {len(self.losses)} steps"
        right = "" if math.isnan(self.accuracy) else f", {100 * self.accuracy:.0f} % right"
        return f"loss {self.start:.3g} -> {self.end:.3g}{right}"


def is_clearly_better(new: Trained, old: Trained, *, same_loss: bool = True) -> bool:
    """Say whether a brief training went clearly better than another.

    Ten points of accuracy are four standard errors for the 400 or more answers of the last quarter; where losses can be
    compared, a fifth less is far outside of what another order of the batches changes.

    Args:
        new: With the edit.
        old: Without it.
        same_loss: Whether the losses of both measure the same.
    """
    if not new.is_finite:
        return False
    if not old.is_finite:
        return new.end < new.start or new.accuracy > 0.5
    if math.isnan(new.accuracy):
        return same_loss and new.end < 0.8 * old.end
    if new.accuracy >= old.accuracy + 0.10:
        return True
    return same_loss and new.end < 0.8 * old.end and new.accuracy >= old.accuracy + 0.03


def share_right(outputs: Any, targets: Tensor) -> float:
    """Return the share of right answers; NaN where outputs are no scores of classes."""
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(targets):
        return math.nan
    classes = targets.argmax(1) if targets.ndim == 2 and targets.shape[1] == outputs.shape[1] else targets
    if outputs.shape[1] < 2 or classes.ndim != 1:
        return math.nan
    return float((outputs.detach().argmax(1).cpu() == classes.cpu()).float().mean())


def _mean_of_end(values: tuple[float, ...]) -> float:
    last = values[-max(1, len(values) // 4) :]
    return sum(last) / len(last)
