"""Tensors that no call of PyTorch was seen to make: were they there before, or did something hidden compute them?

Scripted functions, extension modules called directly and NumPy are hidden from PyTorch's own hooks.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor

__all__ = ["is_older", "origins"]

T = TypeVar("T")


def is_older(tensor: Tensor) -> bool:
    """Whether a tensor belongs to a module, an object or a closure, and so was there before the run.

    What was computed in the run and not yet stored is held by local variables alone, which are none of these.
    """
    if tensor.grad_fn is not None:
        return False
    return any(isinstance(holder, dict | types.CellType) for holder in gc.get_referrers(tensor))


def origins(tensor: Tensor, made: Mapping[object, T]) -> tuple[T, ...]:
    """Return what a hidden computation started from, as far as autograd's graph shows it.

    Args:
        tensor: Its result.
        made: For each function of autograd's graph that is known, what it made.
    """
    found: dict[T, None] = {}
    waiting, seen = [tensor.grad_fn], set[object]()
    while waiting:
        function = waiting.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        if function in made:
            found[made[function]] = None
        else:
            waiting += [earlier for earlier, _ in function.next_functions]
    return tuple(found)
