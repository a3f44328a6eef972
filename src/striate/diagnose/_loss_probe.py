"""What a loss rewards, found by asking it: it is a function, and its name may say nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["LossProbe"]


@dataclass(frozen=True, eq=False)
class LossProbe:
    """A loss, some outputs of the network in evaluation mode and their targets."""

    loss_fn: Callable[..., Any]
    outputs: Tensor
    """(n, C) or (n, ...)."""
    targets: Tensor
    classes: Tensor | None
    """(n,)."""

    def ask(self, outputs: Tensor, targets: Tensor | None = None) -> float:
        """Return the loss of other outputs; NaN where it refuses them."""
        try:
            value = self.loss_fn(outputs, self.targets if targets is None else targets)
            return float(value.detach()) if isinstance(value, Tensor) and value.numel() == 1 else math.nan
        except (RuntimeError, ValueError, IndexError, TypeError):
            return math.nan

    @cached_property
    def refusal(self) -> str | None:
        """What the loss raises for the network's own outputs, or what it returns instead of one number."""
        try:
            value = self.loss_fn(self.outputs, self.targets)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
        if isinstance(value, Tensor) and value.numel() == 1:
            return None
        return f"it returns {tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}, not one number"

    @cached_property
    def value(self) -> float:
        """The loss of the network's own outputs."""
        return self.ask(self.outputs)

    @property
    def scores_classes(self) -> bool:
        """Whether there is one output for each class."""
        return self.classes is not None and self.outputs.ndim == 2 and self.outputs.shape[1] > 1

    @cached_property
    def one_hot(self) -> Tensor:
        """1 at the right class."""
        if self.classes is None:
            return self.outputs
        classes = self.classes.clamp(max=self.outputs.shape[1] - 1)
        return functional.one_hot(classes, self.outputs.shape[1]).to(self.outputs.dtype)

    @cached_property
    def is_shift_invariant(self) -> bool:
        """Whether adding a number to all outputs of an image changes nothing: the loss applies a softmax itself."""
        torch.manual_seed(0)
        shift = torch.randn(len(self.outputs), 1, dtype=self.outputs.dtype, device=self.outputs.device) * 3
        other = self.ask(self.outputs + shift)
        return math.isfinite(other) and abs(other - self.value) <= 1e-4 * max(1.0, abs(self.value))

    @cached_property
    def squashed(self) -> str | None:
        """Say how outputs are confined, where they are: ``softmax`` or ``sigmoid``."""
        outputs = self.outputs
        if outputs.ndim != 2 or not bool(((outputs >= 0) & (outputs <= 1)).all()):
            return None
        if outputs.shape[1] > 1 and bool(((outputs.sum(1) - 1).abs() < 1e-4).all()):
            return "softmax"
        return "sigmoid"

    @property
    def are_log_probabilities(self) -> bool:
        """Whether outputs are those of a log-softmax."""
        outputs = self.outputs
        return outputs.ndim == 2 and outputs.shape[1] > 1 and bool((outputs.logsumexp(1).abs() < 1e-3).all())

    @cached_property
    def best_of_squashed(self) -> tuple[float, float]:
        """The loss of perfect answers between 0 and 1, and of perfect logits."""
        perfect = self.targets.to(self.outputs.dtype).reshape(self.outputs.shape) if self._is_binary else self.one_hot
        return self.ask(perfect), self.ask(40 * perfect - 20)

    @property
    def _is_binary(self) -> bool:
        return self.targets.numel() == self.outputs.numel()

    @cached_property
    def right_and_wrong(self) -> tuple[float, float]:
        """The loss of answers that favour the right class, and of those that favour the next one."""
        wrong = self.one_hot.roll(1, dims=1)
        if self.are_log_probabilities:
            return self.ask((5 * self.one_hot).log_softmax(1)), self.ask((5 * wrong).log_softmax(1))
        if self.squashed:
            return self.ask(0.8 * self.one_hot + 0.1), self.ask(0.8 * wrong + 0.1)
        return self.ask(self.one_hot), self.ask(wrong)

    @cached_property
    def unbounded(self) -> float:
        """The loss of very large right outputs: far below 0 where the loss wanted log-probabilities."""
        return self.ask(100 * self.one_hot)

    @cached_property
    def crosstalk(self) -> float:
        """How much the gradient of one image's output turns when the targets of the others change; 0: not at all."""
        if len(self.outputs) < 3:
            return 0.0
        before, after = self._gradient(self.targets), self._gradient(_others_changed(self.targets))
        if before is None or after is None or not bool(before.isfinite().all() and after.isfinite().all()):
            return 0.0
        sizes = before.norm() * after.norm()
        if float(sizes) == 0.0:
            return float((before - after).norm() > 0)
        if before.numel() == 1:
            return float((before - after).abs() / torch.maximum(before.abs(), after.abs()))
        return float(1 - (before * after).sum() / sizes)

    def _gradient(self, targets: Tensor) -> Tensor | None:
        outputs = self.outputs.detach().clone().requires_grad_()
        with torch.enable_grad():
            try:
                loss = self.loss_fn(outputs, targets)
                (gradient,) = torch.autograd.grad(loss, outputs)
            except (RuntimeError, ValueError, IndexError, TypeError):
                return None
        return gradient[0].flatten()


def _others_changed(targets: Tensor) -> Tensor:
    """Give all but the first image one target, that of the image which differs most from the first."""
    distance = (
        (targets - targets[:1]).abs().flatten(1).double().sum(1) if targets.ndim > 1 else (targets - targets[0]).abs()
    )
    other = int(distance.argmax())
    return torch.cat([targets[:1], targets[other : other + 1].expand_as(targets[1:])])
