"""Which values a dropout silenced: the same random numbers drawn again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["DROPOUTS", "drawn_mask", "generator_state"]

DROPOUTS = frozenset({"dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"})


def generator_state(tensor: Tensor) -> Tensor:
    """Return the state of the generator that a tensor's device draws from."""
    if tensor.device.type == "cpu":
        return torch.get_rng_state()
    state: Tensor = torch.get_device_module(tensor.device).get_rng_state(tensor.device)
    return state


def _set_generator_state(tensor: Tensor, state: Tensor) -> None:
    if tensor.device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(tensor.device).set_rng_state(state, tensor.device)


def drawn_mask(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], before: Tensor
) -> Tensor | None:
    """Return the mask of a dropout that has just run, True where a value stayed.

    It cannot be read off the output, where a value may have been zero before. So the dropout runs again, on ones, from
    the state that the generator had before.

    Returns:
        None where no random number was drawn, as in evaluation.
    """
    x: Tensor = args[0] if args else kwargs["input"]
    after = generator_state(x)
    if torch.equal(before, after):
        return None
    _set_generator_state(x, before)
    with torch.no_grad():
        ones = torch.ones_like(x)
        again = func(ones, *args[1:], **kwargs) if args else func(**{**kwargs, "input": ones})
    _set_generator_state(x, after)
    mask: Tensor = again != 0
    return mask
