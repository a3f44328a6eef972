"""PyTorch's calls that make one number of many: `mean`, `sum`, `prod`, `amax`, `amin`, `max`, `min`, `var`, `std`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call
from striate.ops.comparison import Maximum, Minimum
from striate.ops.op import Op
from striate.ops.reduction import Amax, Amin, Mean, Prod, Total
from striate.ops.variance import Std, Var

__all__ = ["ADAPTERS"]

Dim = int | Sequence[int] | None


def _axes(input: Tensor, dim: Dim) -> tuple[int, ...]:
    if dim is None or dim == () or dim == []:
        return tuple(range(input.ndim))
    given = (dim,) if isinstance(dim, int) else dim
    return tuple(sorted(axis % max(1, input.ndim) for axis in given))


def _reduction(kind: Callable[[tuple[int, ...], bool], Op]) -> Callable[..., Call | None]:
    def adapt(
        input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
    ) -> Call | None:
        if dtype not in (None, input.dtype):
            return None
        return Call(kind(_axes(input, dim), keepdim), (input,))

    return adapt


def _extreme(kind: Callable[[tuple[int, ...], bool], Op], *, of_two: Op) -> Callable[..., list[Call | None] | Call]:
    """Adapt ``max`` and ``min``: of all values, along an axis (positions are a second output), or of two tensors."""

    def adapt(input: Tensor, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> list[Call | None] | Call:
        if isinstance(dim, Tensor):
            return Call(of_two, (input, dim))
        call = Call(kind(_axes(input, dim), keepdim), (input,))
        return call if dim is None else [call, None]

    return adapt


def _spread(kind: type[Var], *, with_mean: bool = False) -> Callable[..., list[Call] | Call]:
    """Adapt ``var`` and ``std``; in older forms a flag `unbiased` says whether the correction is 1."""

    def adapt(
        input: Tensor,
        dim: Dim = None,
        unbiased: bool | None = None,
        keepdim: bool = False,
        *,
        correction: float | None = None,
        out: Any = None,
    ) -> list[Call] | Call:
        if isinstance(dim, bool):  # ``x.var(False)``
            dim, unbiased = None, dim
        amount = 1 if correction is None else correction
        axes = _axes(input, dim)
        call = Call(kind(axes, keepdim, amount if unbiased is None else int(unbiased)), (input,))
        return [call, Call(Mean(axes, keepdim), (input,))] if with_mean else call

    return adapt


ADAPTERS: dict[str, Callable[..., Any]] = {
    "mean": _reduction(Mean),
    "sum": _reduction(Total),
    "prod": _reduction(Prod),
    "amax": _reduction(Amax),
    "amin": _reduction(Amin),
    "max": _extreme(Amax, of_two=Maximum()),
    "min": _extreme(Amin, of_two=Minimum()),
    "var": _spread(Var),
    "std": _spread(Std),
    "var_mean": _spread(Var, with_mean=True),
    "std_mean": _spread(Std, with_mean=True),
}
