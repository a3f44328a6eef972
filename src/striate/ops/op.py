"""What an operation knows: its shape, its cost, what it reads, forward, backward and its working.

An operation is a frozen set of options (stride, padding ...); the arrays come with each call, first the inputs by
position, then the parameters by name. A node of a captured graph holds one operation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.ops.working import Working

__all__ = ["Array", "Elementwise", "Gradients", "Op", "Shape"]

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Gradients:
    """What `Op.backward` returns: dL/d(input) for each input, dL/d(parameter) for each parameter by name."""

    inputs: tuple[Array, ...]
    parameters: Mapping[str, Array] = field(default_factory=dict)


class Op(ABC):
    """One operation of the field: the only place that knows it.

    Shapes, costs and `reads` need no arrays, so that a network can be described without running it. Every method takes
    the inputs by position and the parameters by name: ``op.forward(x, weight=w, bias=b)``,
    ``op.output_shape((1, 3, 8, 8), weight=(4, 3, 3, 3), bias=(4,))``.
    """

    name: ClassVar[str]
    """The name in PyTorch: conv2d, max_pool2d ..."""
    equation: ClassVar[str]
    """What it computes, in one line of plain text."""

    @abstractmethod
    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the output.

        Raises:
            UsageError: the shapes do not fit each other; the message says the rule, the numbers and the edit.
        """

    @abstractmethod
    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute the output."""

    @abstractmethod
    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Compute the gradients of a loss L from ``grad_output`` = dL/d(output), derived by hand."""

    @abstractmethod
    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold the output at one position, an index of every axis, into the arithmetic that made it."""

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/d(of) at one position into its terms; ``of`` is a parameter's name or ``input``, ``input1`` ..."""
        raise UsageError(f"{self.name}: `of` must be something this operation has a gradient for, got {of!r}.")

    def macs(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count the multiply-adds of one forward pass."""
        return 0

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count the floating-point operations of one forward pass: two a multiply-add, else one an arithmetic step."""
        return 2 * self.macs(*inputs, **parameters)

    def reads(
        self, positions: npt.NDArray[np.int64], *, axis: int, size: int, **parameters: Shape
    ) -> npt.NDArray[np.int64]:
        """Return the input positions that any of some output positions reads, along one spatial axis.

        Args:
            positions: Output positions along the axis, ascending.
            axis: 0 for rows, 1 for columns (0 alone in one dimension, 2 for the third).
            size: Length of the input along the axis.
            **parameters: Shapes of the parameters.

        Returns:
            Input positions, ascending, each once; those below 0 or from `size` on are padding.
        """
        return positions


class Elementwise(Op):
    """An operation on each number by itself: y = f(x), dL/dx = dL/dy f'(x)."""

    derivative: ClassVar[str]
    """The derivative, in one line of plain text."""
    flops_per_value: ClassVar[int] = 1

    @abstractmethod
    def value(self, x: Array) -> Array:
        """Compute f(x)."""

    @abstractmethod
    def slope(self, x: Array) -> Array:
        """Compute f'(x)."""

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the shape of the input."""
        return inputs[0]

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Compute f of every value."""
        return self.value(inputs[0])

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Multiply by the slope at every value."""
        return Gradients((grad_output * self.slope(inputs[0]),))

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count the arithmetic steps: a fixed number a value."""
        return self.flops_per_value * int(np.prod(inputs[0]))
