"""Exponential moving average of the weights: the network that is evaluated and saved when a recipe asks for it."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["ModelEma"]


class ModelEma:
    r"""Keeps $\bar w \leftarrow d\,\bar w + (1 - d)\\,w$ for every parameter; buffers are copied as they are.

    The decay of the first steps is smaller, $\min(d, (1 + t) / (10 + t))$, so that the start is forgotten quickly.

    Args:
        model: The network that is trained.
        decay: d, per optimizer step.

    Source: Polyak and Juditsky 1992; the warm-up of the decay follows TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module, *, step: int) -> None:
        """Take in the weights after optimizer step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
