"""Operations on two numbers at the same place: broadcasting, the gradient of what was repeated, and the working."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import check_grad_output
from striate.ops._forms import floats
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working

__all__ = ["Pairwise", "apply_pairwise", "apply_pairwise_backward", "broadcast_shape", "source_of", "summed_to"]


def apply_pairwise(op: Pairwise, x: Any, other: Any, **parameters: Array) -> Array:
    """Compute an operation on anything that is two arrays."""
    x, other = floats(op.name, x=x, other=other)
    op.output_shape(x.shape, other.shape, **{name: array.shape for name, array in parameters.items()})
    return op.forward(x, other, **parameters)


def apply_pairwise_backward(
    op: Pairwise, grad_output: Any, x: Any, other: Any, **parameters: Array
) -> tuple[Array, Array]:
    """Compute the gradients of an operation with respect to both arrays."""
    function = f"{op.name}_backward"
    grad_output, x, other = floats(function, grad_output=grad_output, x=x, other=other)
    shapes = {name: array.shape for name, array in parameters.items()}
    check_grad_output(function, grad_output, op.output_shape(x.shape, other.shape, **shapes))
    grad_x, grad_other = op.backward(grad_output, x, other, **parameters).inputs
    return grad_x, grad_other


def summed_to(gradient: Array, shape: Shape) -> Array:
    """Add up a gradient over the axes along which an input of this shape was repeated."""
    added = tuple(range(gradient.ndim - len(shape)))
    repeated = tuple(
        axis + len(added) for axis, n in enumerate(shape) if n == 1 and gradient.shape[axis + len(added)] != 1
    )
    return np.asarray(gradient.sum(axis=added + repeated).reshape(shape))


def broadcast_shape(function: str, shapes: tuple[Shape, ...]) -> Shape:
    """Return the shape that two arrays are brought to."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise UsageError(
            f"{function}: `other` must have the shape {shapes[0]}, or lengths of 1 where it differs, got {shapes[1]}. "
            "For a residual connection bring the shortcut to the same channels and stride, by a 1 x 1 convolution."
        ) from None


def source_of(position: tuple[int, ...], shape: Shape) -> tuple[int, ...]:
    """Return where an input of this shape is read for an output position."""
    return tuple(0 if n == 1 else i for i, n in zip(position[len(position) - len(shape) :], shape, strict=True))


class Pairwise(Op):
    """An operation on two numbers at the same place."""

    @abstractmethod
    def value(self, a: Array, b: Array, **parameters: Array) -> Array:
        """Compute the output."""

    @abstractmethod
    def slopes(self, a: Array, b: Array, **parameters: Array) -> tuple[Array, Array]:
        """Return the derivatives with respect to a and to b."""

    @abstractmethod
    def terms(self, a: float, b: float, names: Sequence[str], **parameters: Array) -> tuple[Term, ...]:
        """Return the terms of the output at one place; `names` are those of the two numbers."""

    def remarks(self, a: float, b: float, names: Sequence[str], **parameters: Array) -> tuple[Line, ...]:
        """Return what else there is to say about one place."""
        return ()

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape that both are brought to."""
        return broadcast_shape(self.name, inputs)

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the output."""
        return np.asarray(self.value(*inputs, **parameters))

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Multiply by the derivatives, and sum where an input was repeated."""
        slopes = self.slopes(*inputs, **parameters)
        return Gradients(tuple(summed_to(grad_output * s, x.shape) for s, x in zip(slopes, inputs, strict=True)))

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count one step a value."""
        return math.prod(self.output_shape(*inputs, **parameters))

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output into the two numbers that met there."""
        shapes = {name: array.shape for name, array in parameters.items()}
        position = checked(self.name, position, self.output_shape(*(x.shape for x in inputs), **shapes))
        sources = [source_of(position, x.shape) for x in inputs]
        a, b = (float(x[source]) for x, source in zip(inputs, sources, strict=True))
        here = {name: np.asarray(p[source_of(position, p.shape)]) for name, p in parameters.items()}
        value = float(self.value(np.asarray(a), np.asarray(b), **here))
        names = [named(f"x{i}", source) for i, source in enumerate(sources)]
        parts: tuple[Line | Sum, ...] = (
            Line(f"{named('y', position)} from {names[0]} and {names[1]}"),
            *self.remarks(a, b, names, **here),
            Sum("y", self.terms(a, b, names, **here), value),
        )
        return Working(f"{self.name} at {list(position)}", self.equation, parts, value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold the gradient of one value of ``input`` or ``input1``, summed over its copies."""
        if of not in ("input", "input1"):
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        which = int(of == "input1")
        position = checked(self.name, position, inputs[which].shape)
        slope = np.broadcast_to(self.slopes(*inputs, **parameters)[which], grad_output.shape)
        fixed = (*[0] * (grad_output.ndim - len(position)), *position)
        own = (*[1] * (grad_output.ndim - len(position)), *inputs[which].shape)
        ranges = [[i] if n > 1 else range(out) for i, n, out in zip(fixed, own, grad_output.shape, strict=True)]
        cells = [
            tuple(map(int, cell)) for cell in np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, len(own))
        ]
        terms = tuple(
            Term((float(grad_output[cell]), float(slope[cell])), f"{named('dL/dy', cell)} dy/dx{which}")
            for cell in cells
        )
        value = float(self.backward(grad_output, *inputs, **parameters).inputs[which][position])
        copies = "1 copy" if len(cells) == 1 else f"{len(cells)} copies"
        parts = (
            Line(f"{named(f'x{which}', position)} went into the output by {copies}"),
            Sum(f"dL/dx{which}", terms, value),
        )
        equation = f"dL/dx{which} = sum over its copies of dL/dy dy/dx{which}"
        return Working(f"{self.name}, dL/d{of} at {list(position)}", equation, parts, value)
