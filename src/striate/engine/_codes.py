"""Activations by the numbers under which the kernels know them (`native/activation.hpp`)."""

from __future__ import annotations

from dataclasses import dataclass

from striate.ops.activation import ELU, Hardtanh, Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from striate.ops.op import Op
from striate.ops.smooth_activation import GELU, Hardsigmoid, Hardswish, SiLU, Softplus

__all__ = ["AFFINE", "IDENTITY", "PLAIN", "RELU", "Code", "code_of"]

IDENTITY, RELU, LEAKY_RELU, CLAMP, ELU_CODE, SIGMOID, TANH = range(7)
GELU_CODE, SILU, HARDSWISH, HARDSIGMOID, GELU_TANH, SOFTPLUS, AFFINE = range(7, 14)


@dataclass(frozen=True)
class Code:
    """An activation as the kernels take it."""

    kind: int
    numbers: tuple[float, float] = (0.0, 0.0)

    @property
    def needs_input(self) -> bool:
        """Whether the slope follows from the input alone; else the output is enough."""
        return self.kind in (GELU_CODE, SILU, HARDSWISH, GELU_TANH, SOFTPLUS)


PLAIN = Code(IDENTITY)
"""No activation."""


def code_of(op: Op) -> Code | None:
    """Return an operation's code; None: the engine does not have it."""
    match op:
        case Identity():
            return PLAIN
        case ReLU():
            return Code(RELU)
        case LeakyReLU() if op.negative_slope > 0:  # else the output does not tell on which side the input was
            return Code(LEAKY_RELU, (op.negative_slope, 0.0))
        case Hardtanh():
            return Code(CLAMP, (op.min_val, op.max_val))
        case ELU() if op.alpha > 0:
            return Code(ELU_CODE, (op.alpha, 0.0))
        case Sigmoid():
            return Code(SIGMOID)
        case Tanh():
            return Code(TANH)
        case GELU():
            return Code(GELU_CODE if op.approximate == "none" else GELU_TANH)
        case SiLU():
            return Code(SILU)
        case Hardswish():
            return Code(HARDSWISH)
        case Hardsigmoid():
            return Code(HARDSIGMOID)
        case Softplus():
            return Code(SOFTPLUS, (op.beta, op.threshold))
    return None
