r"""Penalties on large weights, added to the loss: L2 (weight decay) and L1.

$$ P_2 = \frac{\lambda}{2} \sum_i w_i^2, \; \frac{\partial P_2}{\partial w_i} = \lambda w_i; \qquad
   P_1 = \lambda \sum_i |w_i|, \; \frac{\partial P_1}{\partial w_i} = \lambda\, \mathrm{sign}(w_i) . $$

L2 pulls in proportion to a weight and never to 0 exactly; L1 pulls all alike, and small weights to 0.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.ops._arguments import check_grad_output, check_range
from striate.ops._forms import floats
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working, number

__all__ = ["L1Penalty", "L2Penalty", "l1_penalty", "l1_penalty_backward", "l2_penalty", "l2_penalty_backward"]


def l2_penalty(parameter: Any, *, strength: float) -> Array:
    """Return strength / 2 times the sum of squares; its gradient is what `weight_decay=strength` adds in PyTorch.

    Raises:
        UsageError: a negative strength.

    Example:
        >>> float(l2_penalty([3.0, -4.0], strength=0.1))
        1.25
    """
    return _apply("l2_penalty", L2Penalty, parameter, strength)


def l2_penalty_backward(grad_output: Any, parameter: Any, *, strength: float) -> Array:
    """Return the gradient of `l2_penalty`: strength w."""
    return _apply_backward("l2_penalty_backward", L2Penalty, grad_output, parameter, strength)


def l1_penalty(parameter: Any, *, strength: float) -> Array:
    """Return strength times the sum of absolute values.

    Example:
        >>> round(float(l1_penalty([3.0, -4.0], strength=0.1)), 4)
        0.7
    """
    return _apply("l1_penalty", L1Penalty, parameter, strength)


def l1_penalty_backward(grad_output: Any, parameter: Any, *, strength: float) -> Array:
    """Return the gradient of `l1_penalty`: strength times the sign of w, 0 at 0."""
    return _apply_backward("l1_penalty_backward", L1Penalty, grad_output, parameter, strength)


def _apply(function: str, kind: type[_Penalty], parameter: Any, strength: float) -> Array:
    (parameter,) = floats(function, parameter=parameter)
    check_range(function, "strength", strength, above=0, closed=True)
    return kind(float(strength)).forward(parameter)


def _apply_backward(function: str, kind: type[_Penalty], grad_output: Any, parameter: Any, strength: float) -> Array:
    grad_output, parameter = floats(function, grad_output=grad_output, parameter=parameter)
    check_range(function, "strength", strength, above=0, closed=True)
    check_grad_output(function, grad_output, ())
    return kind(float(strength)).backward(grad_output, parameter).inputs[0]


@dataclass(frozen=True)
class _Penalty(Op):
    """A cost of the weights themselves; input: the weights."""

    strength: float
    gradient_equation: ClassVar[str]

    @abstractmethod
    def factors(self, w: float) -> tuple[float, ...]:
        """Return the factors of the cost of one weight."""

    @abstractmethod
    def slopes(self, w: Array) -> Array:
        """Return the derivative with respect to each weight, without the strength."""

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return (): one number."""
        return ()

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Multiply the slopes by the strength."""
        return Gradients((np.asarray(grad_output * self.strength * self.slopes(inputs[0])),))

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count two steps a weight, and the strength."""
        return 2 * math.prod(inputs[0]) + 1

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold the penalty into the cost of each weight."""
        w = np.asarray(inputs[0], dtype=np.float64)
        value = float(self.forward(w))
        terms = tuple(Term(self.factors(float(w[i])), named("w", i)) for i in np.ndindex(*w.shape))
        parts = (Line(f"strength {number(self.strength)}, {w.size} weights"), Sum("P", terms, value))
        return Working(self.name, self.equation, parts, value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Write the gradient of one weight."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        (w,) = inputs
        position = checked(self.name, position, w.shape)
        g, slope = float(grad_output), float(self.slopes(w)[position])
        value = float(self.backward(np.asarray(g), np.asarray(w[position], dtype=np.float64)).inputs[0])
        total = Sum(
            "dL/dw", (Term((g, self.strength, slope), f"dL/dP strength slope at {named('w', position)}"),), value
        )
        return Working(f"{self.name}, dL/dinput at {list(position)}", self.gradient_equation, (total,), value)


@dataclass(frozen=True)
class L2Penalty(_Penalty):
    """Half the sum of squares, times the strength."""

    name: ClassVar[str] = "l2_penalty"
    equation: ClassVar[str] = "P = strength / 2 sum of w^2"
    gradient_equation: ClassVar[str] = "dL/dw = dL/dP strength w"

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the penalty."""
        return np.asarray(self.strength / 2 * (inputs[0] * inputs[0]).sum())

    def factors(self, w: float) -> tuple[float, ...]:
        """Return strength / 2, w and w."""
        return self.strength / 2, w, w

    def slopes(self, w: Array) -> Array:
        """Return w."""
        return w


@dataclass(frozen=True)
class L1Penalty(_Penalty):
    """The sum of absolute values, times the strength."""

    name: ClassVar[str] = "l1_penalty"
    equation: ClassVar[str] = "P = strength sum of |w|"
    gradient_equation: ClassVar[str] = "dL/dw = dL/dP strength sign(w)"

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the penalty."""
        return np.asarray(self.strength * np.abs(inputs[0]).sum())

    def factors(self, w: float) -> tuple[float, ...]:
        """Return strength and |w|."""
        return self.strength, abs(w)

    def slopes(self, w: Array) -> Array:
        """Return the signs."""
        return np.sign(w)
