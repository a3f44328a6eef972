r"""Steps of Adam and AdamW: momentum, with a step length of its own for each number.

With $m$ and $s$ the running means of the gradient and of its square after $t$ steps,

$$ m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad s \leftarrow \beta_2 s + (1 - \beta_2) g^2, \quad
   w \leftarrow w - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \epsilon} . $$

The divisors make up for starting at 0. Adam adds weight decay to the gradient, where the root scales it; AdamW takes it
from the weight itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import check_range
from striate.ops._rule import Rule, as_decayed, check_rates, check_step
from striate.ops.op import Array
from striate.ops.working import Line, Sum, Term, number

__all__ = ["Adam", "AdamState", "AdamW", "adam_step", "adamw_step"]


@dataclass(frozen=True, eq=False)
class AdamState:
    """What Adam remembers of one parameter."""

    step: int
    """Steps taken."""
    mean: Array
    """Running mean of the gradient, m."""
    square: Array
    """Running mean of its square, s."""


def adam_step(
    parameter: Any,
    gradient: Any,
    state: AdamState | None = None,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Array, AdamState]:
    """Take one step of Adam.

    Args:
        parameter: w, any shape.
        gradient: g = dL/dw, of the same shape.
        state: What the step before returned; None before the first step.
        lr: Learning rate: about the length of a step in each number, however large the gradient.
        betas: Shares of the running means that are kept, from 0 to below 1.
        eps: Added to the root, so that a gradient of 0 divides by no 0.
        weight_decay: Strength of the L2 term, added to the gradient.

    Returns:
        The new parameter and the new state.

    Raises:
        UsageError: shapes that differ, or a setting outside its range.

    Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.

    Example:
        >>> w, state = adam_step([1.0, 1.0], [0.001, -100.0], lr=0.1)
        >>> w.round(4).tolist(), state.step
        ([0.9, 1.1], 1)
    """
    _check("adam_step", lr, betas, eps, weight_decay)
    parameter, gradient = check_step("adam_step", parameter, gradient)
    return Adam(lr, betas, eps, weight_decay).step(parameter, gradient, _state("adam_step", state, parameter))


def adamw_step(
    parameter: Any,
    gradient: Any,
    state: AdamState | None = None,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> tuple[Array, AdamState]:
    """Take one step of AdamW: the weight first shrinks by lr weight_decay w, then Adam steps; arguments as there.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.

    Example:
        >>> adamw_step([1.0], [0.0], lr=0.1, weight_decay=0.5)[0].tolist()
        [0.95]
    """
    _check("adamw_step", lr, betas, eps, weight_decay)
    parameter, gradient = check_step("adamw_step", parameter, gradient)
    return AdamW(lr, betas, eps, weight_decay).step(parameter, gradient, _state("adamw_step", state, parameter))


def _check(function: str, lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
    check_rates(function, lr=lr, weight_decay=weight_decay)
    for beta in betas:
        check_range(function, "betas", beta, above=0, below=1, closed=True)
    check_range(function, "eps", eps, above=0, closed=True)


def _state(function: str, state: AdamState | None, parameter: Array) -> AdamState | None:
    if state is not None and not np.shape(state.mean) == np.shape(state.square) == parameter.shape:
        raise UsageError(
            f"{function}: `state` must have the parameter's shape {parameter.shape}, got {np.shape(state.mean)}. "
            "Give the state that this parameter's last step returned, or None."
        )
    return state


@dataclass(frozen=True)
class Adam(Rule):
    """Adam with its settings."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    name: ClassVar[str] = "adam_step"
    equation: ClassVar[str] = "w <- w - lr (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)"

    def decayed(self, parameter: Array, gradient: Array) -> tuple[Array, Array]:
        """Return the parameter and the gradient after weight decay."""
        return parameter, np.asarray(gradient + self.weight_decay * parameter)

    def step(self, parameter: Array, gradient: Array, state: AdamState | None = None) -> tuple[Array, AdamState]:
        """Update both running means and step by their quotient."""
        parameter, gradient = self.decayed(parameter, gradient)
        new = self.remember(gradient, state)
        correction_mean, correction_square = (1 - beta**new.step for beta in self.betas)
        root = np.sqrt(new.square / correction_square)
        return np.asarray(parameter - self.lr * (new.mean / correction_mean) / (root + self.eps)), new

    def remember(self, gradient: Array, state: AdamState | None) -> AdamState:
        """Return the running means with this gradient in them."""
        if state is None:
            state = AdamState(0, np.zeros_like(gradient), np.zeros_like(gradient))
        beta1, beta2 = self.betas
        mean = np.asarray(beta1 * state.mean + (1 - beta1) * gradient)
        square = np.asarray(beta2 * state.square + (1 - beta2) * gradient * gradient)
        return AdamState(state.step + 1, mean, square)

    def state_at(self, state: AdamState, position: tuple[int, ...]) -> AdamState:
        """Return the state of one number."""
        mean, square = (np.asarray(a[position], dtype=np.float64) for a in (state.mean, state.square))
        return AdamState(state.step, mean, square)

    def decay_parts(self, parameter: float, gradient: float) -> Sum:
        """Return the working of the weight decay."""
        return as_decayed(gradient, parameter, self.weight_decay)

    def parts(self, parameter: float, gradient: float, state: AdamState | None, value: float) -> tuple[Any, ...]:
        """Return the decay, both running means, their corrections and the step."""
        w, g = (float(a) for a in self.decayed(np.asarray(parameter), np.asarray(gradient)))
        new = self.remember(np.asarray(g), state)
        old_mean, old_square = (0.0, 0.0) if state is None else (float(state.mean), float(state.square))
        (beta1, beta2), m, s = self.betas, float(new.mean), float(new.square)
        m_hat, s_hat = m / (1 - beta1**new.step), s / (1 - beta2**new.step)
        direction = m_hat / (math.sqrt(s_hat) + self.eps)
        return (
            self.decay_parts(parameter, gradient),
            Sum("m", (Term((beta1, old_mean), "beta1 m"), Term((1 - beta1, g), "(1 - beta1) g")), m),
            Sum("s", (Term((beta2, old_square), "beta2 s"), Term((1 - beta2, g, g), "(1 - beta2) g^2")), s),
            Line(f"corrected: {number(m)} / (1 - {number(beta1)}^{new.step}) = {number(m_hat)}"),
            Line(f"corrected: {number(s)} / (1 - {number(beta2)}^{new.step}) = {number(s_hat)}"),
            Line(f"d = {number(m_hat)} / (sqrt({number(s_hat)}) + {number(self.eps)}) = {number(direction)}"),
            Sum("new w", (Term((w,), "w"), Term((-self.lr, direction), "-lr d")), value),
        )


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay apart from the gradient."""

    weight_decay: float = 0.01
    name: ClassVar[str] = "adamw_step"
    equation: ClassVar[str] = "w <- w - lr weight_decay w, then as Adam without decay"

    def decayed(self, parameter: Array, gradient: Array) -> tuple[Array, Array]:
        """Return the parameter shrunk, and the gradient as it is."""
        return np.asarray(parameter * (1 - self.lr * self.weight_decay)), gradient

    def decay_parts(self, parameter: float, gradient: float) -> Sum:
        """Return the working of the weight decay."""
        terms = (Term((parameter,), "w"), Term((-self.lr, self.weight_decay, parameter), "-lr weight_decay w"))
        return Sum("w", terms, parameter * (1 - self.lr * self.weight_decay))
