"""PyTorch's activations, as functions, as methods and in place; clamping is one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call
from striate.ops.activation import ELU, Hardtanh, Identity, LeakyReLU, ReLU, ReLU6, Sigmoid, Tanh
from striate.ops.op import Op
from striate.ops.smooth_activation import GELU, Hardsigmoid, Hardswish, SiLU, Softplus
from striate.ops.softmax import LogSoftmax, Softmax

__all__ = ["ADAPTERS"]


def _plain(op: Op) -> Callable[..., Call]:
    def adapt(input: Tensor, inplace: bool = False, *, out: Tensor | None = None) -> Call:
        return Call(op, (input,))

    return adapt


def _hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Call:
    if (min_val, max_val) == (0, 6):
        return Call(ReLU6(), (input,))
    return Call(Hardtanh(float(min_val), float(max_val)), (input,))


def _clamp(input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None) -> Call | None:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        return None
    if max is None:
        return Call(ReLU(), (input,)) if min == 0 else None
    return None if min is None else _hardtanh(input, min, max)


def _clamp_min(input: Tensor, min: Any, *, out: Tensor | None = None) -> Call | None:
    return _clamp(input, min)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Call:
    return Call(LeakyReLU(float(negative_slope)), (input,))


def _elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Call:
    return Call(ELU(float(alpha)), (input,))


def _softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Call:
    return Call(Softplus(float(beta), float(threshold)), (input,))


def _gelu(input: Tensor, *, approximate: str = "none") -> Call:
    return Call(GELU(approximate), (input,))


def _along(kind: type[Softmax] | type[LogSoftmax]) -> Callable[..., Call | None]:
    def adapt(
        input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None, *, out: Any = None
    ) -> Call | None:
        # Without `dim` PyTorch guesses an axis and warns.
        return (
            None if dim is None or dtype not in (None, input.dtype) else Call(kind(dim % max(1, input.ndim)), (input,))
        )

    return adapt


def _converted(input: Tensor, *args: Any, **kwargs: Any) -> Call | None:
    """Adapt changes of number format or device, and copies: the numbers stay what they are, up to rounding."""
    return Call(Identity(), (input,))


ADAPTERS: dict[str, Callable[..., Any]] = {
    "relu": _plain(ReLU()),
    "relu6": _plain(ReLU6()),
    "sigmoid": _plain(Sigmoid()),
    "tanh": _plain(Tanh()),
    "silu": _plain(SiLU()),
    "hardsigmoid": _plain(Hardsigmoid()),
    "hardswish": _plain(Hardswish()),
    "hardtanh": _hardtanh,
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp_min,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "softplus": _softplus,
    "gelu": _gelu,
    "softmax": _along(Softmax),
    "log_softmax": _along(LogSoftmax),
    **dict.fromkeys(("clone", "contiguous", "to", "float", "double", "half", "bfloat16", "cpu", "cuda"), _converted),
}
