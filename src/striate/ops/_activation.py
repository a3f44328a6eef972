"""What all activation functions share: the working, and how a public function calls its operation."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from striate.ops._arguments import check_grad_output
from striate.ops._forms import floats
from striate.ops.op import Array, Elementwise
from striate.ops.working import Line, Sum, Term, Working, number

__all__ = ["Activation", "apply", "apply_backward", "with_sign"]


def with_sign(value: float) -> str:
    """Write a number as a factor: negative ones in parentheses."""
    return f"({number(value)})" if value < 0 else number(value)


class Activation(Elementwise):
    """An elementwise operation whose working is its formula with the number in it, and the slope there."""

    arithmetic: ClassVar[str]
    """The formula with places for x (`bare`: without parentheses around it) and for the options by name."""

    def formula(self, x: float) -> str:
        """Write f(x) with the numbers in it."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # every activation is a dataclass
        options = {field.name: getattr(self, field.name) for field in fields}
        words = {name: value if isinstance(value, str) else with_sign(value) for name, value in options.items()}
        return self.arithmetic.format(x=with_sign(x), bare=number(x), **words)

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Write the formula with the number in it, and the slope that the gradient is multiplied by."""
        x = np.asarray(inputs[0][position], dtype=np.float64)
        value, slope = float(self.value(x)), float(self.slope(x))
        parts = (
            Line(f"x{list(position)} = {number(x)}"),
            Line(f"y = {self.formula(float(x))} = {number(value)}"),
            Line(f"slope there: {number(slope)}, from {self.derivative}"),
        )
        return Working(f"{self.name} at {list(position)}", self.equation, parts, value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Write dL/dx as dL/dy times the slope."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        x = np.asarray(inputs[0][position], dtype=np.float64)
        gradient, slope = float(grad_output[position]), float(self.slope(x))
        value = float(self.backward(np.asarray(gradient), x).inputs[0])
        parts = (
            Line(f"x{list(position)} = {number(x)}"),
            Line(f"slope there: {number(slope)}, from {self.derivative}"),
            Sum("dL/dx", (Term((gradient, slope), f"dL/dy{list(position)} y'"),), value),
        )
        return Working(f"{self.name}, dL/dinput at {list(position)}", "dL/dx = dL/dy y'(x)", parts, value)


def apply(op: Activation, x: Any) -> Array:
    """Compute an activation of anything that is an array."""
    (x,) = floats(op.name, x=x)
    return np.asarray(op.forward(x))


def apply_backward(op: Activation, grad_output: Any, x: Any) -> Array:
    """Compute the gradient of an activation with respect to its input."""
    function = f"{op.name}_backward"
    grad_output, x = floats(function, grad_output=grad_output, x=x)
    check_grad_output(function, grad_output, x.shape)
    return np.asarray(op.backward(grad_output, x).inputs[0])
