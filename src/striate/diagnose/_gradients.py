"""How large the gradient is at each layer, and which parameters it does not reach."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from striate.diagnose._setup import Trial
from striate.diagnose._structure import weight_nodes
from striate.graph import Graph

__all__ = ["LayerGradient", "ParameterGradients", "by_layer", "of_parameters"]


@dataclass(frozen=True, kw_only=True)
class LayerGradient:
    """One layer with weights."""

    name: str
    size: float
    """Norm of dL/d(output of the layer), over a batch."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ParameterGradients:
    """What one backward pass gave the parameters, by name."""

    missing: tuple[str, ...]
    """Trainable, and no gradient at all."""
    zero: tuple[str, ...]
    not_finite: tuple[str, ...]
    frozen: tuple[str, ...]
    """``requires_grad`` is off."""
    loss_has_gradient: bool


def by_layer(graph: Graph) -> tuple[LayerGradient, ...]:
    """Return the gradient at each layer with weights, from the input to the output.

    Args:
        graph: Captured with a loss.
    """
    found = list[LayerGradient]()
    for node in weight_nodes(graph):
        gradient = graph.gradient(node)
        size = math.nan if gradient is None else float(gradient.double().norm())
        found.append(LayerGradient(name=node.name, size=size))
    return tuple(found)


def of_parameters(trial: Trial, inputs: Tensor, targets: Tensor) -> ParameterGradients:
    """Run one backward pass of a copy in training mode.

    Args:
        trial: The copy.
        inputs: (n, ...).
        targets: (n, ...).
    """
    trial.model.train()
    trial.optimizer.zero_grad(set_to_none=True)
    for parameter in trial.model.parameters():
        parameter.grad = None
    torch.manual_seed(trial.setup.seed)
    loss = trial.loss(trial.outputs(inputs), targets)
    has_gradient = loss.requires_grad
    if has_gradient:
        loss.backward()
    named = [*trial.model.named_parameters()]
    trainable = [(name, p.grad) for name, p in named if p.requires_grad]
    return ParameterGradients(
        missing=tuple(name for name, grad in trainable if grad is None),
        zero=tuple(name for name, grad in trainable if grad is not None and not bool(grad.any())),
        not_finite=tuple(name for name, grad in trainable if grad is not None and not bool(grad.isfinite().all())),
        frozen=tuple(name for name, p in named if not p.requires_grad),
        loss_has_gradient=has_gradient,
    )
