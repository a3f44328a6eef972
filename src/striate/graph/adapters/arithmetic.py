"""PyTorch's arithmetic between tensors and numbers, elementary functions, and concatenation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call, Operand, plain
from striate.ops.combination import Add, Concatenate, Divide, Multiply, ScaledAdd, Subtract
from striate.ops.elementwise import Abs, Exp, Log, Pow, Reciprocal, Rsqrt, Sqrt
from striate.ops.matmul import Matmul
from striate.ops.op import Op

__all__ = ["ADAPTERS"]


def _pairwise(op: Op, *, is_reversed: bool = False) -> Callable[..., Call | None]:
    def adapt(input: Operand, other: Operand, *, rounding_mode: str | None = None, out: Any = None) -> Call | None:
        if rounding_mode is not None:
            return None
        return Call(op, (other, input) if is_reversed else (input, other))

    return adapt


def _sum(op: Op, *, sign: int, is_reversed: bool = False) -> Callable[..., Call]:
    def adapt(input: Operand, other: Operand, *, alpha: float = 1, out: Any = None) -> Call:
        inputs = (other, input) if is_reversed else (input, other)
        return Call(op if alpha == 1 else ScaledAdd(sign * float(alpha)), inputs)

    return adapt


def _negative(input: Tensor, *, out: Any = None) -> Call:
    return Call(Multiply(), (input, -1.0))


def _square(input: Tensor, *, out: Any = None) -> Call:
    return Call(Multiply(), (input, input))


def _power(input: Operand, exponent: Operand, *, out: Any = None) -> Call | None:
    if not isinstance(input, Tensor) or isinstance(exponent, Tensor) or input.is_complex():
        return None
    return _square(input) if exponent == 2 else Call(Pow(float(exponent)), (input,))


def _concatenate(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None, out: Any = None) -> Call | None:
    wanted = dim if axis is None else axis
    # PyTorch lets an empty vector pass in any concatenation, as a start for a loop.
    kept = tuple(t for t in tensors if t.ndim != 1 or t.numel() or len(tensors) == 1)
    return Call(Concatenate(wanted % kept[0].ndim), kept) if kept else None


ADAPTERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("add", "radd"), _sum(Add(), sign=1)),
    **dict.fromkeys(("sub", "subtract"), _sum(Subtract(), sign=-1)),
    "rsub": _sum(Subtract(), sign=-1, is_reversed=True),
    **dict.fromkeys(("mul", "rmul", "multiply"), _pairwise(Multiply())),
    **dict.fromkeys(("div", "divide", "true_divide", "truediv"), _pairwise(Divide())),
    **dict.fromkeys(("rdiv", "rtruediv"), _pairwise(Divide(), is_reversed=True)),
    **dict.fromkeys(("matmul", "mm", "bmm"), _pairwise(Matmul())),
    "rmatmul": _pairwise(Matmul(), is_reversed=True),
    **dict.fromkeys(("neg", "negative"), _negative),
    "square": _square,
    "pow": _power,
    "exp": plain(Exp()),
    "log": plain(Log()),
    "sqrt": plain(Sqrt()),
    "rsqrt": plain(Rsqrt()),
    **dict.fromkeys(("abs", "absolute"), plain(Abs())),
    "reciprocal": plain(Reciprocal()),
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenate),
}
