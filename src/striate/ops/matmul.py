r"""Matrix product of two arrays, both of them data: what attention computes; a layer with weights is `linear`.

$$ y_{nm} = \sum_k a_{nk} b_{km}, \qquad \frac{\partial L}{\partial a} = \delta\, b^\top, \qquad
   \frac{\partial L}{\partial b} = a^\top \delta . $$
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import check_grad_output
from striate.ops._forms import floats
from striate.ops._movement import everything
from striate.ops._pairwise import broadcast_shape, summed_to
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working

__all__ = ["Matmul", "matmul", "matmul_backward"]


def matmul(x: Any, other: Any) -> Array:
    """Multiply matrices: y[n, m] = sum over k of x[n, k] other[k, m].

    Args:
        x: (..., N, K).
        other: (..., K, M); the axes in front are broadcast.

    Raises:
        UsageError: fewer than 2 axes, or inner lengths that differ.

    Example:
        >>> matmul([[1, 2]], [[3], [4]]).tolist()
        [[11.0]]
    """
    x, other = floats("matmul", x=x, other=other)
    Matmul().output_shape(x.shape, other.shape)
    return Matmul().forward(x, other)


def matmul_backward(grad_output: Any, x: Any, other: Any) -> tuple[Array, Array]:
    """Return the gradients of `matmul`: g other^T, and x^T g."""
    grad_output, x, other = floats("matmul_backward", grad_output=grad_output, x=x, other=other)
    check_grad_output("matmul_backward", grad_output, Matmul().output_shape(x.shape, other.shape))
    grad_x, grad_other = Matmul().backward(grad_output, x, other).inputs
    return grad_x, grad_other


@dataclass(frozen=True)
class Matmul(Op):
    """Matrix product; inputs: both factors."""

    name: ClassVar[str] = "matmul"
    equation: ClassVar[str] = "y[n, m] = sum over k of x0[n, k] x1[k, m]"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return (..., N, M)."""
        x, other = inputs
        if len(x) < 2 or len(other) < 2 or x[-1] != other[-2]:
            raise UsageError(
                f"matmul: `other` must have 2 axes or more and as many rows as x {x} has columns, got {other}. "
                "Transpose it, or add an axis to a vector with reshape."
            )
        return (*broadcast_shape(self.name, (x[:-2], other[:-2])), x[-2], other[-1])

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Multiply."""
        return np.asarray(inputs[0] @ inputs[1])

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Multiply by the other factor transposed, and sum over repeated axes in front."""
        x, other = inputs
        grad_x, grad_other = grad_output @ other.swapaxes(-1, -2), x.swapaxes(-1, -2) @ grad_output
        return Gradients((summed_to(grad_x, x.shape), summed_to(grad_other, other.shape)))

    def macs(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count one multiply-add a term of each output."""
        return math.prod(self.output_shape(*inputs)) * inputs[0][-1]

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output into the products of a row and a column."""
        out = self.output_shape(*(x.shape for x in inputs))
        position = checked(self.name, position, out)
        factors = (np.asarray(factor, dtype=np.float64) for factor in inputs)
        x, other = (np.broadcast_to(f, (*out[:-2], *f.shape[-2:]))[position[:-2]] for f in factors)
        n, m = position[-2:]
        pairs = zip(x[n].tolist(), other[:, m].tolist(), strict=True)
        terms = tuple(Term(pair, f"{named('x0', (n, k))} {named('x1', (k, m))}") for k, pair in enumerate(pairs))
        value = float(self.forward(x[n : n + 1], other[:, m : m + 1])[0, 0])
        parts = (Line(f"row {n} of x0 times column {m} of x1"), Sum("y", terms, value))
        return Working(f"matmul at {list(position)}", self.equation, parts, value)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold the gradient of one value of ``input`` or ``input1``."""
        if of not in ("input", "input1"):
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        which, lead = int(of == "input1"), grad_output.shape[:-2]
        own = inputs[which].shape
        position = checked(self.name, position, own)
        other = np.broadcast_to(inputs[1 - which], (*lead, *inputs[1 - which].shape[-2:]))
        i, j = position[-2:]
        fixed = ((0,) * (len(lead) + 2 - len(own)) + position)[: len(lead)]
        lengths = ((1,) * (len(lead) + 2 - len(own)) + own)[: len(lead)]
        batches = [
            batch
            for batch in np.ndindex(*lead)
            if all(n == 1 or b == f for b, f, n in zip(batch, fixed, lengths, strict=True))
        ]
        terms = []
        for batch in batches:
            grads = grad_output[batch][:, j] if which else grad_output[batch][i]
            factors = other[batch][:, i] if which else other[batch][j]
            pairs = zip(grads.tolist(), factors.tolist(), strict=True)
            terms += [Term(pair, f"dL/dy x{1 - which}, term {k}") for k, pair in enumerate(pairs)]
        value = float(self.backward(grad_output, *inputs).inputs[which][position])
        equation = (
            "dL/dx1[k, m] = sum over n of x0[n, k] dL/dy[n, m]"
            if which
            else "dL/dx0[n, k] = sum over m of dL/dy[n, m] x1[k, m]"
        )
        parts = (Sum(f"dL/dx{which}", tuple(terms), value),)
        return Working(f"matmul, dL/d{of} at {list(position)}", equation, parts, value)

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return every position: a matrix product has no neighbourhood."""
        return everything(size)
