"""Optimizers by name, with weight decay on weights only, and the two gradient terms PyTorch does not offer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from striate.train.muon import Muon
from striate.train.recipe import Recipe

__all__ = ["add_gradient_terms", "build_optimizer", "set_learning_rate", "without_compiler"]


def build_optimizer(model: nn.Module, *, recipe: Recipe, fused: bool = False) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over the trainable parameters of a model.

    Weights decay; biases and normalisation parameters do not unless ``recipe.decay_all`` is set. Muon makes the updates
    of all weight matrices but the last orthogonal; the last and everything else takes SGD at ``recipe.rest_lr`` with
    ``recipe.rest_momentum``.

    Args:
        model: Any module; frozen parameters (``requires_grad=False``) are left out.
        recipe: Names the optimizer and its numbers.
        fused: Use PyTorch's fused kernels (sgd, adam, adamw).

    Source: decoupled decay: Loshchilov and Hutter 2019, arXiv:1711.05101.
    """
    groups = _parameter_groups(model, recipe=recipe)
    with without_compiler():
        return _construct(groups, recipe=recipe, fused=fused)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Keep PyTorch from importing its compiler for an optimizer's construction and ``state_dict``.

    Their methods are wrapped to be left alone when a network is compiled, and each wrapper imports the compiler: a
    second, of a training that may take three. Where the compiler is not imported, nothing is being compiled, and the
    methods may run as they are; the mark by which a wrapper knows what to call is taken off again at the end.
    """
    mark = "__dynamo_disable"  # of torch/_compile.py; a version of PyTorch without it costs the second, no more
    wrapped = [method.__wrapped__ for method in vars(torch.optim.Optimizer).values() if hasattr(method, "__wrapped__")]
    unmarked = [] if "torch._dynamo" in sys.modules else [method for method in wrapped if not hasattr(method, mark)]
    for method in unmarked:
        setattr(method, mark, method)
    try:
        yield
    finally:
        for method in unmarked:
            delattr(method, mark)


def _construct(groups: list[dict[str, Any]], *, recipe: Recipe, fused: bool) -> torch.optim.Optimizer:
    match recipe.opt:
        case "sgd":
            nesterov = recipe.nesterov and recipe.momentum > 0
            return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=fused)
        case "adam":
            return torch.optim.Adam(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999), fused=fused)
        case "adamw":
            return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999), fused=fused)
        case _:
            return Muon(
                groups,
                lr=recipe.lr,
                momentum=recipe.momentum,
                nesterov=recipe.nesterov,
                normalize=recipe.normalize_weights,
            )


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group, times the group's own ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def add_gradient_terms(optimizer: torch.optim.Optimizer, *, recipe: Recipe, step: int) -> None:
    """Add the L1 term, the gradient noise and the clipping of a recipe to the gradients in place.

    The noise is Gaussian with standard deviation ``grad_noise * (1 + step) ** -0.275`` and is drawn from PyTorch's
    global generator, which the training loop seeds anew at each step.

    Source: Neelakantan et al. 2015, arXiv:1511.06807, sec. 3 (variance decays with exponent 0.55).
    """
    if recipe.l1:
        for group in optimizer.param_groups:
            weights = [p for p in group["params"] if p.grad is not None and group["decays"]]
            if weights:
                signs = torch._foreach_sign([p.detach() for p in weights])
                torch._foreach_add_([_grad(p) for p in weights], signs, alpha=recipe.l1)
    if recipe.grad_noise:
        deviation = recipe.grad_noise * (1 + step) ** -0.275
        for parameter in _with_gradient(optimizer):
            _grad(parameter).add_(torch.randn_like(parameter), alpha=deviation)
    if recipe.clip_grad is not None:
        torch.nn.utils.clip_grad_norm_(list(_with_gradient(optimizer)), recipe.clip_grad)


def _parameter_groups(model: nn.Module, *, recipe: Recipe) -> list[dict[str, Any]]:
    """Sort parameters by what the recipe does to them: decay, a learning rate of their own, orthogonal updates."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trainable if parameter.ndim >= 2]
    kinds = {"hidden": list[nn.Parameter](), "head": [], "vectors": []}
    for parameter in trainable:
        if parameter.ndim >= 2:
            kinds["head" if parameter is matrices[-1] else "hidden"].append(parameter)
        else:
            kinds["vectors"].append(parameter)
    rest = 1.0 if recipe.opt != "muon" or recipe.rest_lr is None else recipe.rest_lr / recipe.lr
    scales = {"hidden": 1.0, "head": rest, "vectors": rest * recipe.bias_lr_scale}
    groups = list[dict[str, Any]]()
    for kind, parameters in kinds.items():
        decays = kind in ("hidden", "head") or recipe.decay_all
        group = {
            "params": parameters,
            "weight_decay": recipe.weight_decay if decays else 0.0,
            "lr_scale": scales[kind],
            "decays": decays,
            "orthogonal": kind == "hidden",
        }
        if recipe.opt == "muon" and kind != "hidden" and recipe.rest_momentum is not None:
            group["momentum"] = recipe.rest_momentum
        groups += [group] if parameters else []
    return groups


def _with_gradient(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    for group in optimizer.param_groups:
        yield from (parameter for parameter in group["params"] if parameter.grad is not None)


def _grad(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        raise RuntimeError("a parameter without gradient reached an in-place gradient term")
    return parameter.grad
