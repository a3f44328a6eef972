"""Operations that move numbers without changing them: where an output came from, and where an input went."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np

from striate.ops._arguments import check_grad_output
from striate.ops._forms import floats
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working, number

__all__ = ["Movement", "apply_movement", "apply_movement_backward", "everything"]


class Movement(Op):
    """Each output is a copy of one input value, or a constant."""

    @abstractmethod
    def move(self, x: Array) -> Array:
        """Return the values at their new places."""

    @abstractmethod
    def move_back(self, grad_output: Array, shape: Shape) -> Array:
        """Return, for an input of this shape, the sum of the gradients of its copies."""

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Move the values."""
        return self.move(inputs[0])

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Move the gradients back."""
        return Gradients((self.move_back(grad_output, inputs[0].shape),))

    def origins(self, shape: Shape) -> Array:
        """Return for each output the flat position of the input that it copies, -1 for none."""
        return self.move(np.arange(math.prod(shape), dtype=np.int64).reshape(shape))

    def index_lines(self, position: tuple[int, ...], source: tuple[int, ...], shape: Shape) -> list[Line]:
        """Return the arithmetic of the positions, where there is any."""
        return []

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Say which input value came to a position."""
        (x,) = inputs
        out = self.output_shape(x.shape)
        position = checked(self.name, position, out)
        origin = int(self.origins(x.shape)[position])
        value = float(self.move(x)[position])
        if origin < 0:
            term = Term((value,), "the constant")
            lines = [Line(f"{named('y', position)} lies outside x and holds the constant {number(value)}")]
        else:
            source = tuple(int(i) for i in np.unravel_index(origin, x.shape))
            term = Term((float(x[source]),), named("x", source))
            lines = [Line(f"{named('y', position)} is {named('x', source)}")]
            lines += self.index_lines(position, source, x.shape)
        lines = [Line(f"{list(x.shape)} -> {list(out)}"), *lines]
        return Working(f"{self.name} at {list(position)}", self.equation, (*lines, Sum("y", (term,), value)), value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Add up the gradients of the outputs that an input value went to."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        (x,) = inputs
        position = checked(self.name, position, x.shape)
        flat = int(np.ravel_multi_index(position, x.shape))
        copies = [tuple(map(int, copy)) for copy in np.argwhere(self.origins(x.shape) == flat)]
        value = float(self.move_back(grad_output, x.shape)[position])
        terms = tuple(Term((float(grad_output[copy]),), named("dL/dy", copy)) for copy in copies)
        went = ", ".join(named("y", copy) for copy in copies[:2]) or "nowhere"
        more = f" and {len(copies) - 2} more" if len(copies) > 2 else ""
        parts = (Line(f"{named('x', position)} went to {went}{more}"), Sum("dL/dx", terms, value))
        equation = "dL/dx = sum of dL/dy over the copies of x"
        return Working(f"{self.name}, dL/dinput at {list(position)}", equation, parts, value)


def everything(size: int) -> Any:
    """Return every position of an axis: what an operation reads that has no neighbourhood."""
    return np.arange(size, dtype=np.int64)


def apply_movement(op: Movement, function: str, x: Any) -> Array:
    """Move the values of anything that is an array."""
    (x,) = floats(function, x=x)
    op.output_shape(x.shape)
    return op.forward(x)


def apply_movement_backward(op: Movement, function: str, grad_output: Any, x: Any) -> Array:
    """Move the gradients back to where the values were."""
    grad_output, x = floats(function, grad_output=grad_output, x=x)
    check_grad_output(function, grad_output, op.output_shape(x.shape))
    return op.backward(grad_output, x).inputs[0]
