"""Where the engine takes part in a training: the whole step where it can, else forward and backward passes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from striate.errors import MissingExtraError, UsageError
from striate.train.recipe import Recipe

if TYPE_CHECKING:
    from striate.engine import TrainingStep

__all__ = ["ENGINES", "accelerated", "fused_step", "has_bf16", "is_usable"]

ENGINES = ("auto", "striate", "torch")
"""What a user may ask for."""


def is_usable(asked: str, *, device: str, bf16: bool | None) -> bool:
    """Whether the engine is to be tried; where it was asked for and cannot be, say why.

    Raises:
        UsageError: the engine was asked for together with what it does not do, or an unknown word was given.
        MissingExtraError: the engine was asked for and is not installed.
    """
    if asked not in ENGINES:
        raise UsageError(f"train: `engine` must be one of {', '.join(ENGINES)}, got {asked!r}.")
    if asked == "torch":
        return False
    if torch.device(device).type != "cpu":
        if asked == "striate":
            raise UsageError(f"train: `engine` striate computes on the CPU, got device {device}. Use --engine auto.")
        return False
    from striate.engine._machine import machine

    try:
        machine("bf16" if bf16 else "float32")
    except MissingExtraError:
        if asked == "striate":
            raise
        return False
    except UsageError as error:
        if asked == "striate":
            raise UsageError(
                "train: `engine` striate computes in bfloat16 (--amp) on processors with avx512_bf16, got one without. "
                "Use --no-amp, or --engine auto."
            ) from error
        return False
    return True


def has_bf16() -> bool:
    """Whether the engine, which is usable, multiplies bfloat16 too."""
    from striate.engine import has_bf16

    return has_bf16()


def accelerated(network: nn.Module, *, bf16: bool = False) -> nn.Module:
    """Return a network whose forward and backward passes run in the engine, in float32 or bfloat16."""
    from striate.engine import accelerate

    return accelerate(network, precision="bf16" if bf16 else "float32")


def fused_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, *, recipe: Recipe, inputs: Tensor, bf16: bool = False
) -> TrainingStep | None:
    """Return the engine's whole step; None where the recipe or the network asks for something between its parts.

    Args:
        network: In training mode.
        optimizer: Of the recipe.
        recipe: Its loss and its changes of the gradients must be those that the engine knows.
        inputs: A batch, to see whether the engine runs all of the network.
        bf16: Whether layers multiply bfloat16.
    """
    extras: tuple[Any, ...] = (recipe.l1, recipe.grad_noise, recipe.clip_grad, recipe.class_weights)
    if any(extras) or recipe.augmentation.mixup:
        return None
    from striate.engine import TrainingStep

    try:
        precision = "bf16" if bf16 else "float32"
        step = TrainingStep(network, optimizer=optimizer, smoothing=recipe.smoothing, precision=precision)
        step.plan(inputs)
    except UsageError:
        return None
    return step
