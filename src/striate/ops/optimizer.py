r"""Steps of gradient descent, plain and with momentum.

The gradient points to where the loss grows fastest, so a step goes against it:

$$ w \leftarrow w - \eta\, g, \qquad g = \frac{\partial L}{\partial w} + \lambda w; \qquad
   v \leftarrow \mu v + g, \quad w \leftarrow w - \eta v . $$

Pure functions: what went in stays as it was, and the state comes back with the parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import check_range
from striate.ops._rule import Rule, as_decayed, check_rates, check_step
from striate.ops.op import Array
from striate.ops.working import Sum, Term

__all__ = ["SGD", "Momentum", "momentum_step", "sgd_step"]


def sgd_step(
    parameter: Any, gradient: Any, state: None = None, *, lr: float, weight_decay: float = 0.0
) -> tuple[Array, None]:
    """Take one step of gradient descent: w - lr (g + weight_decay w).

    Args:
        parameter: w, any shape.
        gradient: g = dL/dw, of the same shape: over a batch for stochastic gradient descent.
        state: None: nothing is remembered. It stands here so that all steps are called alike.
        lr: Learning rate, the length of the step.
        weight_decay: Strength of the L2 term, see `l2_penalty`.

    Returns:
        The new parameter, and None.

    Raises:
        UsageError: shapes that differ, or a negative rate.

    Example:
        >>> sgd_step([1.0, -2.0], [0.5, 0.5], lr=0.1)[0].tolist()
        [0.95, -2.05]
    """
    check_rates("sgd_step", lr=lr, weight_decay=weight_decay)
    return SGD(lr, weight_decay).step(*check_step("sgd_step", parameter, gradient))


def momentum_step(
    parameter: Any,
    gradient: Any,
    state: Any = None,
    *,
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> tuple[Array, Array]:
    """Take one step with momentum: v = momentum v + g, then w - lr v.

    Args:
        parameter: w, any shape.
        gradient: g = dL/dw, of the same shape.
        state: The velocity v that the step before returned; None before the first step.
        lr: Learning rate.
        momentum: Share of the velocity that is kept, from 0 to below 1.
        nesterov: Step along g + momentum v instead, v being the new velocity.
        weight_decay: Strength of the L2 term.

    Returns:
        The new parameter and the new velocity.

    Raises:
        UsageError: shapes that differ, or a setting outside its range.

    Source: Polyak 1964; as in Sutskever et al. 2013, ICML, but with the rate outside the velocity, as in PyTorch.

    Example:
        >>> w, v = momentum_step([1.0], [1.0], lr=0.1)
        >>> w, v = momentum_step(w, [1.0], v, lr=0.1)
        >>> w.round(4).tolist(), v.tolist()
        ([0.71], [1.9])
    """
    function = "momentum_step"
    check_rates(function, lr=lr, weight_decay=weight_decay)
    check_range(function, "momentum", momentum, above=0, below=1, closed=True)
    parameter, gradient = check_step(function, parameter, gradient)
    if state is not None:
        state = np.asarray(state, dtype=parameter.dtype)
        if state.shape != parameter.shape:
            raise UsageError(
                f"{function}: `state` must have the parameter's shape {parameter.shape}, got {state.shape}. "
                "Give the velocity that this parameter's last step returned, or None."
            )
    return Momentum(lr, momentum, nesterov, weight_decay).step(parameter, gradient, state)


@dataclass(frozen=True)
class SGD(Rule):
    """Gradient descent."""

    lr: float
    weight_decay: float = 0.0
    name: ClassVar[str] = "sgd_step"
    equation: ClassVar[str] = "w <- w - lr g, g = dL/dw + weight_decay w"

    def step(self, parameter: Array, gradient: Array, state: None = None) -> tuple[Array, None]:
        """Step against the gradient."""
        return np.asarray(parameter - self.lr * (gradient + self.weight_decay * parameter)), None

    def state_at(self, state: None, position: tuple[int, ...]) -> None:
        """Return None: there is no state."""
        return None

    def parts(self, parameter: float, gradient: float, state: None, value: float) -> tuple[Sum, ...]:
        """Return the decayed gradient and the step."""
        g = as_decayed(gradient, parameter, self.weight_decay)
        return (g, Sum("new w", (Term((parameter,), "w"), Term((-self.lr, g.value), "-lr g")), value))


@dataclass(frozen=True)
class Momentum(Rule):
    """Gradient descent with momentum."""

    lr: float
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    name: ClassVar[str] = "momentum_step"

    @property
    def equation(self) -> str:  # type: ignore[override]
        """The update, with Nesterov's look ahead where it is on."""
        direction = "(g + momentum v)" if self.nesterov else "v"
        return f"v <- momentum v + g, w <- w - lr {direction}, g = dL/dw + weight_decay w"

    def step(self, parameter: Array, gradient: Array, state: Array | None = None) -> tuple[Array, Array]:
        """Update the velocity and step along it."""
        gradient = gradient + self.weight_decay * parameter
        velocity = np.asarray(gradient if state is None else self.momentum * state + gradient)
        direction = gradient + self.momentum * velocity if self.nesterov else velocity
        return np.asarray(parameter - self.lr * direction), velocity

    def state_at(self, state: Array, position: tuple[int, ...]) -> Array:
        """Return the velocity of one number."""
        return np.asarray(np.asarray(state)[position], dtype=np.float64)

    def parts(self, parameter: float, gradient: float, state: Array | None, value: float) -> tuple[Sum, ...]:
        """Return the decayed gradient, the velocity and the step."""
        g = as_decayed(gradient, parameter, self.weight_decay)
        old = 0.0 if state is None else float(state)
        new = self.momentum * old + g.value
        velocity = Sum("v", (Term((self.momentum, old), "momentum v"), Term((g.value,), "g")), new)
        step = [Term((parameter,), "w"), Term((-self.lr, new), "-lr v")]
        if self.nesterov:
            step[1:] = [
                Term((-self.lr, g.value), "-lr g"),
                Term((-self.lr, self.momentum, new), "-lr momentum v"),
            ]
        return (g, velocity, Sum("new w", tuple(step), value))
