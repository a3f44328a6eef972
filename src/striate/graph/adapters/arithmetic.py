"""PyTorch's arithmetic between tensors and numbers, concatenation, and what makes one number of many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call, Operand
from striate.ops.combination import Add, Concatenate, Divide, Multiply, Subtract
from striate.ops.matmul import Matmul
from striate.ops.op import Op
from striate.ops.reduction import Amax, Mean, Total

__all__ = ["ADAPTERS"]


def _pairwise(op: Op, *, is_reversed: bool = False) -> Callable[..., Call | None]:
    def adapt(
        input: Operand, other: Operand, *, alpha: float = 1, rounding_mode: str | None = None, out: Any = None
    ) -> Call | None:
        if alpha != 1 or rounding_mode is not None:
            return None
        return Call(op, (other, input) if is_reversed else (input, other))

    return adapt


def _negative(input: Tensor, *, out: Any = None) -> Call:
    return Call(Multiply(), (input, -1.0))


def _square(input: Tensor, *, out: Any = None) -> Call:
    return Call(Multiply(), (input, input))


def _power(input: Operand, exponent: Operand, *, out: Any = None) -> Call | None:
    is_square = isinstance(input, Tensor) and not isinstance(exponent, Tensor) and exponent == 2
    return Call(Multiply(), (input, input)) if is_square else None


def _concatenate(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None, out: Any = None) -> Call | None:
    wanted = dim if axis is None else axis
    # PyTorch lets an empty vector pass in any concatenation, as a start for a loop.
    kept = tuple(t for t in tensors if t.ndim != 1 or t.numel() or len(tensors) == 1)
    return Call(Concatenate(wanted % kept[0].ndim), kept) if kept else None


def _reduction(kind: Callable[[tuple[int, ...], bool], Op]) -> Callable[..., Call | None]:
    def adapt(
        input: Tensor,
        dim: int | Sequence[int] | None = None,
        keepdim: bool = False,
        *,
        dtype: Any = None,
        out: Any = None,
    ) -> Call | None:
        if dtype not in (None, input.dtype):
            return None
        return Call(kind(_axes(input, dim), keepdim), (input,))

    return adapt


def _axes(input: Tensor, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    if dim is None or dim == () or dim == []:
        return tuple(range(input.ndim))
    given = (dim,) if isinstance(dim, int) else dim
    return tuple(sorted(axis % max(1, input.ndim) for axis in given))


def _largest(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, out: Any = None
) -> list[Call | None] | Call | None:
    """Adapt ``max``: of all values, along an axis (with the positions as a second output), or of two tensors."""
    if isinstance(dim, Tensor):
        return None
    call = Call(Amax(_axes(input, dim), keepdim), (input,))
    return call if dim is None else [call, None]


ADAPTERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("add", "radd"), _pairwise(Add())),
    **dict.fromkeys(("mul", "rmul", "multiply"), _pairwise(Multiply())),
    **dict.fromkeys(("sub", "subtract"), _pairwise(Subtract())),
    **dict.fromkeys(("div", "divide", "true_divide", "truediv"), _pairwise(Divide())),
    "rsub": _pairwise(Subtract(), is_reversed=True),
    **dict.fromkeys(("rdiv", "rtruediv"), _pairwise(Divide(), is_reversed=True)),
    **dict.fromkeys(("matmul", "mm", "bmm"), _pairwise(Matmul())),
    "rmatmul": _pairwise(Matmul(), is_reversed=True),
    **dict.fromkeys(("neg", "negative"), _negative),
    "square": _square,
    "pow": _power,
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenate),
    "mean": _reduction(Mean),
    "sum": _reduction(Total),
    "amax": _reduction(Amax),
    "max": _largest,
}
