"""The modes of a network, kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["modes_kept"]


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Give every module its mode back, and every parameter its ``requires_grad``."""
    modes = [(module, module.training) for module in model.modules()]
    grads = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in grads:
            parameter.requires_grad_(requires_grad)
