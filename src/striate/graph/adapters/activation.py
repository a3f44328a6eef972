"""PyTorch's activations, as functions, as methods and in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from striate.graph.adapters._call import Call, plain
from striate.ops.activation import ELU, Hardtanh, Identity, LeakyReLU, ReLU, ReLU6, Sigmoid, Tanh
from striate.ops.learned_activation import PReLU
from striate.ops.smooth_activation import GELU, Hardsigmoid, Hardswish, LogSigmoid, Mish, SiLU, Softplus, Softsign
from striate.ops.softmax import LogSoftmax, Softmax

__all__ = ["ADAPTERS"]


def _hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Call:
    if (min_val, max_val) == (0, 6):
        return Call(ReLU6(), (input,))
    return Call(Hardtanh(float(min_val), float(max_val)), (input,))


def _prelu(input: Tensor, weight: Tensor) -> Call:
    return Call(PReLU(), (input,), {"weight": weight})


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
    "relu": plain(ReLU()),
    "relu6": plain(ReLU6()),
    "sigmoid": plain(Sigmoid()),
    "tanh": plain(Tanh()),
    "silu": plain(SiLU()),
    "hardsigmoid": plain(Hardsigmoid()),
    "hardswish": plain(Hardswish()),
    "mish": plain(Mish()),
    "softsign": plain(Softsign()),
    **dict.fromkeys(("logsigmoid", "log_sigmoid"), plain(LogSigmoid())),
    "prelu": _prelu,
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "softplus": _softplus,
    "gelu": _gelu,
    "softmax": _along(Softmax),
    "log_softmax": _along(LogSoftmax),
    **dict.fromkeys(("clone", "contiguous", "to", "float", "double", "half", "bfloat16", "cpu", "cuda"), _converted),
}
