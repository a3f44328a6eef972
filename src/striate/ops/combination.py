r"""Operations that combine several arrays: add (the residual connection), subtract, multiply, divide, concatenate.

A sum hands the gradient to both, a product crosses them over, a concatenation cuts it where the inputs met:

$$ y = a + b: \; \frac{\partial L}{\partial a} = \frac{\partial L}{\partial b} = \delta, \qquad
   y = a b: \; \frac{\partial L}{\partial a} = \delta\, b, \; \frac{\partial L}{\partial b} = \delta\, a . $$

An input that is repeated to fit the other (broadcasting) collects the gradients of all its copies as their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import axis_of, check_grad_output
from striate.ops._forms import floats
from striate.ops._movement import everything
from striate.ops._pairwise import Pairwise, apply_pairwise, apply_pairwise_backward
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working

__all__ = [
    "Add", "Concatenate", "Divide", "Multiply", "ScaledAdd", "Subtract", "add", "add_backward", "concat",
    "concat_backward", "divide", "divide_backward", "multiply", "multiply_backward", "subtract", "subtract_backward",
]  # fmt: skip


def add(x: Any, other: Any, *, alpha: float = 1.0) -> Array:
    """Add two arrays, as a residual connection adds its shortcut; shapes are broadcast.

    Args:
        x: Any shape.
        other: Of a shape that fits.
        alpha: Multiplies `other` first.

    Raises:
        UsageError: shapes that do not fit.

    Example:
        >>> add([1, 2], [10, 20]).tolist(), add([1, 2], [10, 20], alpha=0.5).tolist()
        ([11.0, 22.0], [6.0, 12.0])
    """
    return apply_pairwise(_sum(alpha), x, other)


def add_backward(grad_output: Any, x: Any, other: Any, *, alpha: float = 1.0) -> tuple[Array, Array]:
    """Return the gradients of `add`: the same for both, which is why shortcuts carry it through deep networks.

    That of `other` is multiplied by alpha.
    """
    return apply_pairwise_backward(_sum(alpha), grad_output, x, other)


def subtract(x: Any, other: Any, *, alpha: float = 1.0) -> Array:
    """Subtract the second array, multiplied by alpha, from the first."""
    return apply_pairwise(_difference(alpha), x, other)


def subtract_backward(grad_output: Any, x: Any, other: Any, *, alpha: float = 1.0) -> tuple[Array, Array]:
    """Return the gradients of `subtract`: g and -alpha g."""
    return apply_pairwise_backward(_difference(alpha), grad_output, x, other)


def multiply(x: Any, other: Any) -> Array:
    """Multiply two arrays place by place, as a gate does; shapes are broadcast."""
    return apply_pairwise(Multiply(), x, other)


def multiply_backward(grad_output: Any, x: Any, other: Any) -> tuple[Array, Array]:
    """Return the gradients of `multiply`: g other, and g x.

    Example:
        >>> [gradient.tolist() for gradient in multiply_backward([1.0, 1.0], [2.0, 3.0], 5.0)]
        [[5.0, 5.0], 5.0]
    """
    return apply_pairwise_backward(Multiply(), grad_output, x, other)


def divide(x: Any, other: Any) -> Array:
    """Divide the first array by the second."""
    return apply_pairwise(Divide(), x, other)


def divide_backward(grad_output: Any, x: Any, other: Any) -> tuple[Array, Array]:
    """Return the gradients of `divide`: g / other, and -g x / other^2."""
    return apply_pairwise_backward(Divide(), grad_output, x, other)


def concat(*arrays: Any, axis: int = 1) -> Array:
    """Put arrays one behind the other along an axis, as Inception modules stack their branches' channels.

    Raises:
        UsageError: no arrays, or shapes that differ along another axis.

    Example:
        >>> concat([[1, 2]], [[3]]).tolist()
        [[1.0, 2.0, 3.0]]
    """
    converted, op = _concatenate("concat", arrays, axis)
    op.output_shape(*(array.shape for array in converted))
    return op.forward(*converted)


def concat_backward(grad_output: Any, *arrays: Any, axis: int = 1) -> tuple[Array, ...]:
    """Return the gradients of `concat`: each input's own part."""
    converted, op = _concatenate("concat_backward", arrays, axis)
    (grad_output,) = floats("concat_backward", grad_output=grad_output)
    check_grad_output("concat_backward", grad_output, op.output_shape(*(array.shape for array in converted)))
    return op.backward(grad_output, *converted).inputs


def _sum(alpha: float) -> Pairwise:
    return Add() if alpha == 1 else ScaledAdd(float(alpha))


def _difference(alpha: float) -> Pairwise:
    return Subtract() if alpha == 1 else ScaledAdd(-float(alpha))


def _concatenate(function: str, arrays: tuple[Any, ...], axis: int) -> tuple[list[Array], Concatenate]:
    if not arrays:
        raise UsageError(
            f"{function}: `arrays` must be at least one array, got none. Give them one by one: concat(a, b)."
        )
    converted = floats(function, **{f"arrays[{i}]": array for i, array in enumerate(arrays)})
    return converted, Concatenate(axis_of(function, axis, dims=converted[0].ndim))


@dataclass(frozen=True)
class Add(Pairwise):
    """Sum of two arrays."""

    name: ClassVar[str] = "add"
    equation: ClassVar[str] = "y = x0 + x1"

    def value(self, a: Array, b: Array, **parameters: Array) -> Array:
        """Return a + b."""
        return np.asarray(a + b)

    def slopes(self, a: Array, b: Array, **parameters: Array) -> tuple[Array, Array]:
        """Return 1 and 1."""
        return np.ones_like(a), np.ones_like(b)

    def terms(self, a: float, b: float, names: Sequence[str], **parameters: Array) -> tuple[Term, ...]:
        """Return both numbers."""
        return Term((a,), names[0]), Term((b,), names[1])


@dataclass(frozen=True)
class Subtract(Pairwise):
    """Difference of two arrays."""

    name: ClassVar[str] = "subtract"
    equation: ClassVar[str] = "y = x0 - x1"

    def value(self, a: Array, b: Array, **parameters: Array) -> Array:
        """Return a - b."""
        return np.asarray(a - b)

    def slopes(self, a: Array, b: Array, **parameters: Array) -> tuple[Array, Array]:
        """Return 1 and -1."""
        return np.ones_like(a), -np.ones_like(b)

    def terms(self, a: float, b: float, names: Sequence[str], **parameters: Array) -> tuple[Term, ...]:
        """Return the first number and minus the second."""
        return Term((a,), names[0]), Term((-b,), f"-{names[1]}")


@dataclass(frozen=True)
class ScaledAdd(Pairwise):
    """Sum of an array and a multiple of another."""

    alpha: float
    name: ClassVar[str] = "add"
    equation: ClassVar[str] = "y = x0 + alpha x1"

    def value(self, a: Array, b: Array, **parameters: Array) -> Array:
        """Return a + alpha b."""
        return np.asarray(a + self.alpha * b)

    def slopes(self, a: Array, b: Array, **parameters: Array) -> tuple[Array, Array]:
        """Return 1 and alpha."""
        return np.ones_like(a), np.ones_like(b) * self.alpha

    def terms(self, a: float, b: float, names: Sequence[str], **parameters: Array) -> tuple[Term, ...]:
        """Return the first number and alpha times the second."""
        return Term((a,), names[0]), Term((self.alpha, b), f"alpha {names[1]}")

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count a product and an addition a value."""
        return 2 * super().flops(*inputs)


@dataclass(frozen=True)
class Multiply(Pairwise):
    """Product of two arrays, place by place."""

    name: ClassVar[str] = "multiply"
    equation: ClassVar[str] = "y = x0 x1"

    def value(self, a: Array, b: Array, **parameters: Array) -> Array:
        """Return a b."""
        return np.asarray(a * b)

    def slopes(self, a: Array, b: Array, **parameters: Array) -> tuple[Array, Array]:
        """Return b and a."""
        return b, a

    def terms(self, a: float, b: float, names: Sequence[str], **parameters: Array) -> tuple[Term, ...]:
        """Return the product."""
        return (Term((a, b), " ".join(names)),)


@dataclass(frozen=True)
class Divide(Pairwise):
    """Quotient of two arrays, place by place."""

    name: ClassVar[str] = "divide"
    equation: ClassVar[str] = "y = x0 / x1"

    def value(self, a: Array, b: Array, **parameters: Array) -> Array:
        """Return a / b."""
        return np.asarray(a / b)

    def slopes(self, a: Array, b: Array, **parameters: Array) -> tuple[Array, Array]:
        """Return 1 / b and -a / b^2."""
        return 1 / b, -a / (b * b)

    def terms(self, a: float, b: float, names: Sequence[str], **parameters: Array) -> tuple[Term, ...]:
        """Return the first number times the reciprocal of the second."""
        return (Term((a, 1 / b), f"{names[0]} 1/{names[1]}"),)


@dataclass(frozen=True)
class Concatenate(Op):
    """Arrays one behind the other."""

    axis: int = 1
    """Counted from the front."""
    name: ClassVar[str] = "concat"
    equation: ClassVar[str] = "y = x0, then x1, then ... along the axis"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the first shape with the lengths along the axis added up."""
        first = inputs[0]
        axis_of(self.name, self.axis, dims=len(first))
        for i, shape in enumerate(inputs):
            if shape[: self.axis] + shape[self.axis + 1 :] != first[: self.axis] + first[self.axis + 1 :]:
                raise UsageError(
                    f"concat: `arrays` must agree along every axis but axis {self.axis}, got {first} and {shape}, "
                    f"number {i}. Bring heights and widths together by padding or stride."
                )
        return (*first[: self.axis], sum(shape[self.axis] for shape in inputs), *first[self.axis + 1 :])

    def bounds(self, *inputs: Shape) -> list[int]:
        """Return where each input begins along the axis, and the end."""
        return [0, *np.cumsum([shape[self.axis] for shape in inputs]).tolist()]

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Put one behind the other."""
        return np.concatenate(inputs, axis=self.axis)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Cut the gradient where the inputs met."""
        inner = self.bounds(*(x.shape for x in inputs))[1:-1]
        return Gradients(tuple(np.split(grad_output, inner, axis=self.axis)))

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Say which input the value came from, and where it stood there."""
        shapes = [x.shape for x in inputs]
        position = checked(self.name, position, self.output_shape(*shapes))
        bounds, along = self.bounds(*shapes), position[self.axis]
        which = int(np.searchsorted(bounds, along, side="right")) - 1
        source = (*position[: self.axis], along - bounds[which], *position[self.axis + 1 :])
        value = float(inputs[which][source])
        span = f"{bounds[which]} to {bounds[which + 1] - 1} of {bounds[-1]} positions"
        parts = (
            Line(f"along axis {self.axis}, {span} come from x{which}, one of {len(inputs)} inputs"),
            Line(f"{named('y', position)} is {named(f'x{which}', source)}"),
            Sum("y", (Term((value,), named(f"x{which}", source)),), value),
        )
        return Working(f"concat at {list(position)}", self.equation, parts, value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Say where the gradient of one value of ``input``, ``input1`` ... comes from."""
        names = ["input", *(f"input{i}" for i in range(1, len(inputs)))]
        if of not in names:
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        which = names.index(of)
        position = checked(self.name, position, inputs[which].shape)
        begin = self.bounds(*(x.shape for x in inputs))[which]
        target = (*position[: self.axis], position[self.axis] + begin, *position[self.axis + 1 :])
        value = float(self.backward(grad_output, *inputs).inputs[which][position])
        parts = (
            Line(f"{named(f'x{which}', position)} went to {named('y', target)}: input {which} begins at {begin}"),
            Sum(f"dL/dx{which}", (Term((float(grad_output[target]),), named("dL/dy", target)),), value),
        )
        return Working(f"concat, dL/d{of} at {list(position)}", f"dL/dx{which} = its part of dL/dy", parts, value)

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return the same positions; along the axis of the concatenation all, for each input holds but a part."""
        return everything(size) if axis + 2 == self.axis else positions
