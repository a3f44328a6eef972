"""Where the engine takes part in a training: the whole step where it can, else forward and backward passes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from striate.errors import MissingExtraError, UsageError
from striate.train.recipe import Recipe

if TYPE_CHECKING:
    from striate.engine import TrainingStep

__all__ = ["ENGINES", "accelerated", "fused_step", "is_usable"]

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
    conflict = "bfloat16 (--amp)" if bf16 else "" if torch.device(device).type == "cpu" else f"device {device}"
    if asked == "striate" and conflict:
        raise UsageError(f"train: `engine` striate computes in float32 on the CPU, got {conflict}. Use --engine auto.")
    if conflict:
        return False
    from striate.engine.extension import extension

    try:
        extension()
    except MissingExtraError:
        if asked == "striate":
            raise
        return False
    return True


def accelerated(network: nn.Module) -> nn.Module:
    """Return a network whose forward and backward passes run in the engine."""
    from striate.engine import accelerate

    return accelerate(network)


def fused_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, *, recipe: Recipe, inputs: Tensor
) -> TrainingStep | None:
    """Return the engine's whole step; None where the recipe or the network asks for something between its parts.

    Args:
        network: In training mode.
        optimizer: Of the recipe.
        recipe: Its loss and its changes of the gradients must be those that the engine knows.
        inputs: A batch, to see whether the engine runs all of the network.
    """
    extras: tuple[Any, ...] = (recipe.l1, recipe.grad_noise, recipe.clip_grad, recipe.class_weights)
    if any(extras) or recipe.augmentation.mixup:
        return None
    from striate.engine import TrainingStep

    try:
        step = TrainingStep(network, optimizer=optimizer, smoothing=recipe.smoothing)
        step.plan(inputs)
    except UsageError:
        return None
    return step
