"""Placing values at listed positions of an array: how LeNet-5's connection table becomes one weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from striate.errors import UsageError
from striate.ops._movement import everything
from striate.ops._positions import checked, named
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Line, Sum, Term, Working

__all__ = ["IndexPut"]


@dataclass(frozen=True)
class IndexPut(Op):
    """Copy an array and set the values at listed positions; where a position is listed twice, the last one counts.

    Inputs: the array, the values, then one array of positions for each of the first axes.

    Example:
        >>> IndexPut().forward(np.zeros(4), np.array([7.0, 8.0]), np.array([2, 0])).tolist()
        [8.0, 0.0, 7.0, 0.0]
    """

    name: ClassVar[str] = "index_put"
    equation: ClassVar[str] = "y = x, but y[index[n]] = values[n]"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the array."""
        x, values, *indices = inputs
        target = (*np.broadcast_shapes(*indices), *x[len(indices) :])
        lengths = zip(reversed(values), reversed(target), strict=False)
        if len(values) > len(target) or any(own not in (1, length) for own, length in lengths):
            raise UsageError(
                f"index_put: `values` must fit the places that the indices name, {target}, got {values}. "
                "Give one value, or one block, for each."
            )
        return x

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Set the values."""
        x, values, *indices = inputs
        y = x.copy()
        y[self._places(indices)] = values
        return y

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send each gradient to where its number came from; positions get zeros."""
        x, values, *indices = inputs
        origins = self._origins(x, values, indices)
        flat = grad_output.ravel()
        grad_x = np.where(origins < x.size, grad_output, 0)
        is_value = origins.ravel() >= x.size
        placed = np.bincount(origins.ravel()[is_value] - x.size, weights=flat[is_value], minlength=values.size)
        grad_values = placed.reshape(values.shape).astype(grad_output.dtype)
        return Gradients((grad_x, grad_values, *(np.zeros(index.shape) for index in indices)))

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Say where the number came from."""
        x, values, *indices = inputs
        position = checked(self.name, position, x.shape)
        origin = int(self._origins(x, values, indices)[position])
        source, name, at = (x, "x", origin) if origin < x.size else (values, "values", origin - x.size)
        place = tuple(int(i) for i in np.unravel_index(at, source.shape))
        value = float(source[place])
        parts = (Line(f"{named('y', position)} is {named(name, place)}"), Sum("y", (Term((value,), name),), value))
        return Working(f"index_put at {list(position)}", self.equation, parts, value)

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return every position: nothing is known of neighbourhoods."""
        return everything(size)

    def _places(self, indices: list[Array]) -> Any:
        return tuple(index.astype(np.int64) for index in indices)

    def _origins(self, x: Array, values: Array, indices: list[Array]) -> Array:
        """Return for each output the flat position in the array, or that in the values plus the array's size."""
        origins = np.arange(x.size, dtype=np.int64).reshape(x.shape)
        origins[self._places(indices)] = x.size + np.arange(values.size).reshape(values.shape)
        return origins
