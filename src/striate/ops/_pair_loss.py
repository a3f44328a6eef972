"""Losses that compare each output with the target at the same place: what they share."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import check_grad_output
from striate.ops._forms import floats
from striate.ops._positions import checked
from striate.ops._reduction import MEANS, reduced, spread
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working, number

__all__ = ["PairLoss", "apply_pair", "apply_pair_backward"]


@dataclass(frozen=True)
class PairLoss(Op):
    """A loss of output y and target t, place by place; inputs: the outputs, the targets."""

    reduction: str = "mean"
    gradient_equation: ClassVar[str]
    flops_per_value: ClassVar[int]

    @abstractmethod
    def losses(self, y: Array, t: Array) -> Array:
        """Return the loss at each place."""

    @abstractmethod
    def slopes(self, y: Array, t: Array) -> tuple[Array, Array]:
        """Return the derivatives with respect to y and to t."""

    @abstractmethod
    def terms(self, scale: float, y: float, t: float, where: str) -> list[Term]:
        """Return `scale` times the loss at one place as terms."""

    @abstractmethod
    def gradient_terms(self, c: float, y: float, t: float) -> list[Term]:
        """Return c times the derivative with respect to y at one place as terms."""

    def check(self, y: Array, t: Array) -> None:
        """Refuse values for which the loss is not defined."""

    def divisor(self, shape: Shape) -> int:
        """Return what a mean divides the sum by."""
        return math.prod(shape)

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return () for a mean or sum, else the shape of the outputs."""
        y, t = inputs
        if y != t:
            raise UsageError(
                f"{self.name}: `targets` must have the shape of the outputs {y}, got {t}. "
                "Drop or add an axis with reshape: (N,) and (N, 1) do not pair up."
            )
        return y if self.reduction == "none" else ()

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the loss at each place and reduce."""
        y, t = inputs
        self.check(y, t)
        return reduced(self.losses(y, t), self.divisor(y.shape), self.reduction)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Multiply by the derivative at each place."""
        y, t = inputs
        self.check(y, t)
        scale = spread(grad_output, self.divisor(y.shape), self.reduction)
        grad_y, grad_t = self.slopes(y, t)
        return Gradients((scale * grad_y, scale * grad_t))

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count the arithmetic steps: a fixed number a value."""
        return self.flops_per_value * math.prod(inputs[0])

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold the loss into the terms of each place, or of one where nothing is reduced."""
        y, t = (np.asarray(array, dtype=np.float64) for array in inputs)
        position = checked(self.name, position, self.output_shape(y.shape, t.shape))
        value = float(np.asarray(self.forward(y, t))[position])
        divisor, is_mean = self.divisor(y.shape), self.reduction in MEANS
        scale = 1 / divisor if is_mean else 1.0
        cells = [position] if self.reduction == "none" else list(np.ndindex(*y.shape))
        terms = [term for cell in cells for term in self.terms(scale, float(y[cell]), float(t[cell]), f"{list(cell)}")]
        heading = {
            "mean": f"mean over {y.size} values: each term is divided by {divisor}",
            "batchmean": f"sum over {y.size} values: each term is divided by {divisor}, the number of samples",
            "sum": f"sum over {y.size} values",
            "none": f"output {number(y[cells[0]])}, target {number(t[cells[0]])}" if cells else "",
        }
        parts = (Line(heading[self.reduction]), Sum("L", tuple(terms), value))
        return Working(f"{self.name} at {list(position)}", self.equation, parts, value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold the gradient of one output."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        y, t = (np.asarray(array, dtype=np.float64) for array in inputs)
        position = checked(self.name, position, y.shape)
        divisor = self.divisor(y.shape)
        scale = spread(np.asarray(grad_output, dtype=np.float64), divisor, self.reduction)
        c = float(np.broadcast_to(scale, y.shape)[position])
        value = float(self.backward(grad_output, y, t).inputs[0][position])
        parts = (
            Line(f"c = dL/dloss{f' / {divisor}' if self.reduction in MEANS else ''} = {number(c)}"),
            Line(f"output {number(y[position])}, target {number(t[position])}"),
            Sum("dL/dinput", tuple(self.gradient_terms(c, float(y[position]), float(t[position]))), value),
        )
        return Working(f"{self.name}, dL/dinput at {list(position)}", self.gradient_equation, parts, value)


def apply_pair(op: PairLoss, function: str, outputs: Any, targets: Any) -> Array:
    """Compute a loss of anything that is an array."""
    y, t = floats(function, outputs=outputs, targets=targets)
    op.output_shape(y.shape, t.shape)
    return op.forward(y, t)


def apply_pair_backward(op: PairLoss, function: str, grad_output: Any, outputs: Any, targets: Any) -> Array:
    """Compute the gradient of a loss with respect to the outputs."""
    grad_output, y, t = floats(function, grad_output=grad_output, outputs=outputs, targets=targets)
    check_grad_output(function, grad_output, op.output_shape(y.shape, t.shape))
    return op.backward(grad_output, y, t).inputs[0]
