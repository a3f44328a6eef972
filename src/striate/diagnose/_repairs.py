"""Edits that experiments make on copies to see whether a cause is the cause."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from striate.diagnose._samples import Samples
from striate.diagnose._setup import Trial

__all__ = ["include", "normaliser", "rescaled", "with_activations"]

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def normaliser(samples: Samples) -> Callable[[Tensor], Tensor]:
    """Return what subtracts the mean of each channel and divides by its deviation."""
    inputs = samples.inputs.float()
    axes = [axis for axis in range(inputs.ndim) if axis != 1] if inputs.ndim > 2 else [*range(inputs.ndim)]
    mean, deviation = inputs.mean(axes, keepdim=True), inputs.std(axes, keepdim=True).clamp(min=1e-6)
    return lambda x: (x - mean.to(x.device)) / deviation.to(x.device)


def rescaled(batch: Tensor) -> Callable[[Trial], None]:
    """Return an edit that draws all weights again so that each layer answers with variance 1 on a batch.

    Source: Mishkin and Matas, "All you need is a good init", 2016, section 3 (LSUV).
    """

    def edit(trial: Trial) -> None:
        layers = [module for module in trial.model.modules() if isinstance(module, LAYERS)]
        for layer in layers:
            nn.init.orthogonal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

        def scale(layer: Any, inputs: Any, output: Tensor) -> Tensor:
            deviation = float(output.detach().std())
            if 0 < deviation < float("inf"):
                layer.weight.data /= deviation
                return output / deviation
            return output

        handles = [layer.register_forward_hook(scale) for layer in layers]
        buffers = {name: value.clone() for name, value in trial.model.named_buffers()}
        with torch.no_grad():
            trial.model.train()
            trial.outputs(batch)
        for handle in handles:
            handle.remove()
        for name, value in trial.model.named_buffers():
            value.copy_(buffers[name])

    return edit


def with_activations(count: int) -> dict[str, Callable[..., Any]]:
    """Return calls that put a ReLU behind each layer with weights but the last of a forward pass.

    Args:
        count: How many such layers run in one pass.
    """
    seen = 0

    def bent(func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        nonlocal seen
        seen += 1
        output = func(*args, **options)
        return output if seen % count == 0 else output.clamp(min=0.0)

    return dict.fromkeys(("conv1d", "conv2d", "conv3d", "linear"), bent)


def include(names: Iterable[str]) -> Callable[[Trial], None]:
    """Return an edit that lets parameters learn: gradient on, and in the optimizer."""
    wanted = [*names]

    def edit(trial: Trial) -> None:
        held = {id(p) for group in trial.optimizer.param_groups for p in group["params"]}
        by_name = dict(trial.model.named_parameters())
        new = [by_name[name].requires_grad_() for name in wanted if name in by_name]
        new = [parameter for parameter in new if id(parameter) not in held]
        if new:
            trial.optimizer.add_param_group({"params": new})

    return edit
