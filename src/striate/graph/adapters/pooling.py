"""PyTorch's poolings: maximum, average and Lp by windows, maximum and average to a given size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call, per_axis, shape_of
from striate.ops.adaptive_pooling import AdaptiveAvgPool, AdaptiveMaxPool
from striate.ops.average_pooling import AvgPool
from striate.ops.lp_pooling import LpPool
from striate.ops.max_pooling import MaxPool

__all__ = ["ADAPTERS"]

PerAxis = int | Sequence[int]


def _max_pool(dims: int) -> Callable[..., Call]:
    def adapt(
        input: Tensor,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Call:
        return Call(MaxPool(**_window(dims, kernel_size, stride, padding, dilation), ceil_mode=ceil_mode), (input,))

    return adapt


def _max_pool_with_indices(dims: int) -> Callable[..., list[Call | None]]:
    adapt = _max_pool(dims)

    def adapt_both(*args: Any, **kwargs: Any) -> list[Call | None]:
        return [adapt(*args, **kwargs), None]

    return adapt_both


def _avg_pool(dims: int) -> Callable[..., Call]:
    def adapt(
        input: Tensor,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: PerAxis = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Call:
        op = AvgPool(
            **_window(dims, kernel_size, stride, padding, 1),
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )
        return Call(op, (input,))

    return adapt


def _lp_pool(dims: int) -> Callable[..., Call]:
    def adapt(
        input: Tensor, norm_type: float, kernel_size: PerAxis, stride: PerAxis | None = None, ceil_mode: bool = False
    ) -> Call:
        window = _window(dims, kernel_size, stride, 0, 1)
        return Call(LpPool(**window, ceil_mode=ceil_mode, norm_type=float(norm_type)), (input,))

    return adapt


def _adaptive(kind: type[AdaptiveAvgPool] | type[AdaptiveMaxPool], dims: int) -> Callable[..., Call]:
    def adapt(input: Tensor, output_size: int | Sequence[int | None], return_indices: bool = False) -> Call:
        wanted = (output_size,) * dims if isinstance(output_size, int) else tuple(output_size)
        sizes = wanted * dims if len(wanted) == 1 else wanted
        present = shape_of(input)[-dims:]
        return Call(
            kind(tuple(now if size is None else size for size, now in zip(sizes, present, strict=True))), (input,)
        )

    return adapt


def _window(
    dims: int, kernel_size: PerAxis, stride: PerAxis | None, padding: PerAxis, dilation: PerAxis
) -> dict[str, Any]:
    kernel = per_axis(kernel_size, dims)
    step = kernel if stride is None or stride == [] or stride == () else per_axis(stride, dims)
    pads = tuple((pad, pad) for pad in per_axis(padding, dims))
    return {"kernel_size": kernel, "stride": step, "pads": pads, "dilation": per_axis(dilation, dims)}


ADAPTERS: dict[str, Callable[..., Any]] = {}
for _dims in (1, 2, 3):
    ADAPTERS |= {
        f"max_pool{_dims}d": _max_pool(_dims),
        f"max_pool{_dims}d_with_indices": _max_pool_with_indices(_dims),
        f"avg_pool{_dims}d": _avg_pool(_dims),
        f"lp_pool{_dims}d": _lp_pool(_dims),
        f"adaptive_avg_pool{_dims}d": _adaptive(AdaptiveAvgPool, _dims),
        f"adaptive_max_pool{_dims}d": _adaptive(AdaptiveMaxPool, _dims),
    }
