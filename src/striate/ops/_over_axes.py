"""Operations that make one number of all values along some axes: shapes, gradients, and the working."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import check_grad_output
from striate.ops._forms import floats
from striate.ops._movement import everything
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Grid, Line, Sum, Term, Working, number

__all__ = ["OverAxes", "apply_over_axes", "apply_over_axes_backward"]


def apply_over_axes(op: OverAxes, x: Array) -> Array:
    """Check the shape and reduce."""
    op.output_shape(x.shape)
    return op.forward(x)


def apply_over_axes_backward(op: OverAxes, function: str, grad_output: Any, x: Array) -> Array:
    """Check the shapes and send the gradient back."""
    (grad_output,) = floats(function, grad_output=grad_output)
    check_grad_output(function, grad_output, op.output_shape(x.shape))
    return op.backward(grad_output, x).inputs[0]


@dataclass(frozen=True)
class OverAxes(Op):
    """One number of all values along some axes."""

    axes: tuple[int, ...]
    """Counted from the front, ascending."""
    keepdim: bool = False
    gradient_equation: ClassVar[str]

    @abstractmethod
    def reduced(self, x: Array) -> Array:
        """Return the output with the reduced axes left in place."""

    @abstractmethod
    def slopes(self, x: Array) -> Array:
        """Return dy/dx for each value."""

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape without the reduced axes, or with length 1 there."""
        (x,) = inputs
        if any(axis >= len(x) or x[axis] == 0 for axis in self.axes):
            raise UsageError(
                f"{self.name}: `x` must have values along the axes {self.axes}, got shape {x}. Name axes that it has."
            )
        if self.keepdim:
            return tuple(1 if axis in self.axes else n for axis, n in enumerate(x))
        return tuple(n for axis, n in enumerate(x) if axis not in self.axes)

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Reduce."""
        (x,) = inputs
        return np.asarray(self.reduced(x)).reshape(self.output_shape(x.shape))

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Hand the gradient of each output to the values it came from, times their slopes."""
        (x,) = inputs
        kept = tuple(1 if axis in self.axes else n for axis, n in enumerate(x.shape))
        return Gradients((grad_output.reshape(kept) * self.slopes(x),))

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count one step a value."""
        return math.prod(inputs[0])

    def cells(self, position: tuple[int, ...], dims: int) -> Any:
        """Return the index of all values that one output was made of."""
        kept = iter(position)
        index: list[Any] = []
        for axis in range(dims):
            if axis not in self.axes:
                index.append(next(kept))
            else:
                index.append(slice(None))
                if self.keepdim:
                    next(kept)
        return tuple(index)

    def names(self, index: Any, shape: Shape) -> list[str]:
        """Return the names of those values, row by row."""
        ranges = [range(n) if isinstance(i, slice) else [i] for i, n in zip(index, shape, strict=True)]
        return [f"x{list(cell)}" for cell in product(*ranges)]

    def parts(self, values: Array, names: list[str], value: float) -> tuple[Line | Grid | Sum, ...]:
        """Return the working of one output from its values."""
        terms = tuple(Term((v,), name) for v, name in zip(values.ravel().tolist(), names, strict=True))
        return (Sum("sum", terms, float(values.sum())),)

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output into the values that it was made of."""
        (x,) = inputs
        position = checked(self.name, position, self.output_shape(x.shape))
        index = self.cells(position, x.ndim)
        values = np.asarray(x[index], dtype=np.float64)
        alone = replace(self, axes=tuple(range(values.ndim)), keepdim=False)
        value = float(alone.forward(values))
        parts = self.parts(values, self.names(index, x.shape), value)
        return Working(f"{self.name} at {list(position)}", self.equation, parts, value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Write dL/dx as the gradient of its output times the slope."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        (x,) = inputs
        position = checked(self.name, position, x.shape)
        kept = tuple(0 if axis in self.axes else i for axis, i in enumerate(position))
        place = kept if self.keepdim else tuple(i for axis, i in enumerate(position) if axis not in self.axes)
        slope = float(self.slopes(x)[position])
        value = float(self.backward(grad_output, x).inputs[0][position])
        term = Term((float(grad_output[place]), slope), f"{named('dL/dy', place)} dy/dx")
        parts = (Line(f"dy/dx = {number(slope)}"), Sum("dL/dx", (term,), value))
        return Working(f"{self.name}, dL/dinput at {list(position)}", self.gradient_equation, parts, value)

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return every position along a reduced axis, the same one along another."""
        return everything(size) if axis + 2 in self.axes else positions
