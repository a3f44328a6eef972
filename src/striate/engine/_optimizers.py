"""Optimizers whose updates the engine makes itself: their numbers and their state, as PyTorch keeps them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from striate.engine.extension import extension
from striate.errors import UsageError

__all__ = ["AdamUpdates", "SGDUpdates", "reason_against", "updates_of"]


def reason_against(optimizer: torch.optim.Optimizer) -> str | None:
    """Say why the engine cannot make an optimizer's updates; None: it can."""
    kind = type(optimizer)
    if kind not in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        return f"{kind.__name__} is none of SGD, Adam and AdamW"
    for group in optimizer.param_groups:
        for option in ("maximize", "amsgrad", "differentiable", "capturable"):
            if group.get(option):
                return f"{option}=True"
    return None


def updates_of(optimizer: torch.optim.Optimizer) -> SGDUpdates | AdamUpdates:
    """Return what the engine needs of an optimizer.

    Raises:
        UsageError: the engine does not have it.
    """
    reason = reason_against(optimizer)
    if reason is not None:
        raise UsageError(
            f"TrainingStep: `optimizer` must be torch.optim.SGD, Adam or AdamW without special options, got {reason}. "
            "Use striate.accelerate(model) and call the optimizer yourself."
        )
    return SGDUpdates(optimizer) if isinstance(optimizer, torch.optim.SGD) else AdamUpdates(optimizer)


class _Updates:
    """An optimizer seen from the engine: the group of each parameter, its state, and the numbers of this step."""

    kernel: str
    width: int
    """Numbers of a group."""
    states: tuple[str, ...]
    """Tensors that the optimizer keeps for each parameter."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._groups = {id(p): n for n, group in enumerate(optimizer.param_groups) for p in group["params"]}

    def group(self, parameter: Tensor) -> int | None:
        """Return the number of a parameter's group; None: the optimizer leaves it alone."""
        return self._groups.get(id(parameter))

    def keeps(self, parameter: Tensor) -> bool:
        """Whether there is state for a parameter."""
        return True

    def state(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return the state of the parameters, one after the other, made where it is missing."""
        return [self._tensor(p, name) for p in parameters for name in self.states if self.keeps(p)]

    def _tensor(self, parameter: Tensor, name: str) -> Tensor:
        state = self.optimizer.state[parameter]
        tensor = state.get(name)
        if tensor is None or not tensor.is_contiguous() or tensor.dtype != torch.float32:
            made = torch.zeros(parameter.shape) if tensor is None else tensor.float().contiguous()
            tensor = state[name] = made
        return cast("Tensor", tensor)

    @property
    def momenta(self) -> list[bool]:
        """Whether there is a momentum, for each group."""
        return [bool(group.get("momentum")) for group in self.optimizer.param_groups]

    def guard(self, parameters: Sequence[Tensor]) -> Any:
        """Return a guard that says whether the state of parameters is still that of now."""
        state = self.optimizer.state
        same: list[tuple[dict[Any, Any], Any, Any]] = [(vars(self.optimizer), "state", state)]
        for parameter in parameters:
            if self.keeps(parameter):
                same.append((state, parameter, state[parameter]))
                same += [(state[parameter], name, state[parameter][name]) for name in self.states]
        return extension().Guard(same, [], [])

    def finish(self) -> None:
        """Let schedulers know that a step was taken."""
        self.optimizer._opt_called = True  # type: ignore[attr-defined]


class SGDUpdates(_Updates):
    """`torch.optim.SGD`."""

    kernel = "update_sgd"
    width = 5
    states = ("momentum_buffer",)

    def keeps(self, parameter: Tensor) -> bool:
        """Whether there is a momentum."""
        return bool(self.optimizer.param_groups[self._groups[id(parameter)]]["momentum"])

    def numbers(self, updated: Sequence[Tensor] = ()) -> list[float]:
        """Return the numbers of all groups for this step.

        Args:
            updated: Parameters that may have no state yet.
        """
        missing = {self.group(p) for p in updated if "momentum_buffer" not in self.optimizer.state.get(p, {})}
        numbers: list[float] = []
        for n, group in enumerate(self.optimizer.param_groups):
            # PyTorch starts a momentum with the whole gradient, whatever the dampening.
            fresh = 1.0 if n in missing else 1.0 - group["dampening"]
            numbers += [float(group["lr"]), group["momentum"], fresh, group["weight_decay"], float(group["nesterov"])]
        return numbers


class AdamUpdates(_Updates):
    """`torch.optim.Adam` and `torch.optim.AdamW`."""

    kernel = "update_adam"
    width = 8
    states = ("exp_avg", "exp_avg_sq")

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(optimizer)
        self._decoupled = isinstance(optimizer, torch.optim.AdamW)

    def numbers(self, updated: Sequence[Tensor] = ()) -> list[float]:
        """Count the step, and return the numbers of all groups for it."""
        numbers: list[float] = []
        for group in self.optimizer.param_groups:
            step = self._count(group["params"])
            beta1, beta2 = (float(beta) for beta in group["betas"])
            decoupled = self._decoupled or bool(group.get("decoupled_weight_decay"))
            numbers += [float(group["lr"]), beta1, beta2, group["eps"], group["weight_decay"]]
            numbers += [1 - beta1**step, math.sqrt(1 - beta2**step), float(decoupled)]
        return numbers

    def _count(self, parameters: Sequence[Tensor]) -> float:
        """Count one step in the state of every parameter."""
        states = [self.optimizer.state[p] for p in parameters]
        for state in states:
            if "step" not in state:
                state["step"] = torch.tensor(0.0)
        counters = [state["step"] for state in states]
        torch._foreach_add_(counters, 1)
        return float(counters[0])
