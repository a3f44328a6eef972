"""What an adapter returns, and the forms in which PyTorch's calls give their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from striate.ops.op import Op, Shape

__all__ = ["Call", "Operand", "named", "per_axis", "plain", "shape_of"]

Operand = Tensor | float
"""What stands on a side of an operator; a plain number becomes a constant."""


@dataclass(frozen=True, eq=False)
class Call:
    """A call of PyTorch in striate's words: the operation, the tensors it takes by position and those by name."""

    op: Op
    inputs: tuple[Operand, ...]
    parameters: Mapping[str, Tensor] = field(default_factory=dict)


def named(**parameters: Tensor | None) -> dict[str, Tensor]:
    """Return the parameters that are there.

    Example:
        >>> named(bias=None)
        {}
    """
    return {name: tensor for name, tensor in parameters.items() if tensor is not None}


def shape_of(tensor: Tensor) -> Shape:
    """Return a tensor's shape as plain numbers."""
    return tuple(tensor.shape)


def per_axis(value: int | Sequence[int], dims: int) -> Shape:
    """Return one number for each spatial axis; PyTorch takes one number, or a sequence of one or of all.

    Example:
        >>> per_axis(2, 2), per_axis([3], 2), per_axis((1, 2), 2)
        ((2, 2), (3, 3), (1, 2))
    """
    values = (value,) if isinstance(value, int) else tuple(int(v) for v in value)
    return values * dims if len(values) == 1 else values


def plain(op: Op) -> Callable[..., Call | None]:
    """Return an adapter of a function of one number that has no options."""

    def adapt(input: Tensor, inplace: bool = False, *, out: Tensor | None = None) -> Call | None:
        return None if input.is_complex() else Call(op, (input,))

    return adapt
