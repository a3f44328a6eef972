"""Update rules: what the steps of all optimizers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import check_range
from striate.ops._forms import floats
from striate.ops._positions import checked
from striate.ops.op import Array
from striate.ops.working import Sum, Term, Working

__all__ = ["Rule", "as_decayed", "check_rates", "check_step"]


class Rule(ABC):
    """One optimizer with its settings: a step from a parameter, its gradient and a state to the next of both."""

    name: ClassVar[str]
    equation: ClassVar[str]

    @abstractmethod
    def step(self, parameter: Array, gradient: Array, state: Any = None) -> tuple[Array, Any]:
        """Return the new parameter and the new state; None is the state before the first step."""

    @abstractmethod
    def parts(self, parameter: float, gradient: float, state: Any, value: float) -> tuple[Any, ...]:
        """Return the working of one number, `value` being its new value and `state` its own state."""

    @abstractmethod
    def state_at(self, state: Any, position: tuple[int, ...]) -> Any:
        """Return the state of one number."""

    def working(self, position: tuple[int, ...], parameter: Any, gradient: Any, state: Any = None) -> Working:
        """Unfold the step of one number into its arithmetic.

        Raises:
            UsageError: shapes that differ, or a position outside.
        """
        parameter, gradient = check_step(self.name, parameter, gradient)
        position = checked(self.name, position, parameter.shape)
        own = None if state is None else self.state_at(state, position)
        w, g = float(parameter[position]), float(gradient[position])
        value = float(self.step(np.asarray(w), np.asarray(g), own)[0])
        return Working(f"{self.name} at {list(position)}", self.equation, self.parts(w, g, own, value), value)


def check_step(function: str, parameter: Any, gradient: Any) -> tuple[Array, Array]:
    """Return both as arrays of one shape."""
    parameter, gradient = floats(function, parameter=parameter, gradient=gradient)
    if parameter.shape != gradient.shape:
        raise UsageError(
            f"{function}: `gradient` must have the parameter's shape {parameter.shape}, got {gradient.shape}. "
            "Give dL/dw of this parameter."
        )
    return parameter, gradient


def check_rates(function: str, *, lr: float, weight_decay: float) -> None:
    """Refuse a negative step or decay."""
    check_range(function, "lr", lr, above=0, closed=True)
    check_range(function, "weight_decay", weight_decay, above=0, closed=True)


def as_decayed(gradient: float, parameter: float, weight_decay: float) -> Sum:
    """Return the gradient with the L2 term's added, as a sum."""
    total = gradient + weight_decay * parameter
    return Sum("g", (Term((gradient,), "dL/dw"), Term((weight_decay, parameter), "weight_decay w")), total)
