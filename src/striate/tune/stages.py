"""A network divided into stages, from its input to its head, and which of them learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from torch import nn

from striate.tune.head import Head

__all__ = ["Stage", "divide", "learning"]

FEWEST, MOST = 4, 6
"""Stages of the base: there are as few where its modules can be divided no further, and neighbours join where there are
more."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Neighbouring layers that are frozen or learn together."""

    name: str
    layers: tuple[str, ...]
    """Dotted paths of the modules that own its parameters and buffers."""


def divide(model: nn.Module, head: Head) -> tuple[Stage, ...]:
    """Divide a network into up to six stages of its base, and the head as the last.

    Modules are taken in the order in which they were registered. A stage is a child of the network; the largest one is
    divided into its own children as long as there are fewer than four.

    Example:
        >>> import torch
        >>> from striate import models
        >>> from striate.tune.head import find_head
        >>> network = models.create("resnet18")
        >>> [stage.name for stage in divide(network, find_head(network, torch.zeros(2, 3, 64, 64)))]
        ['conv1', 'layer1', 'layer2', 'layer3', 'layer4', 'fc']
    """
    owners = [path for path, module in model.named_modules() if path != head.name and _owns(module)]
    groups = _grouped(owners, depths=dict.fromkeys(owners, 1))
    depths = dict.fromkeys(owners, 1)
    while len(groups) < FEWEST and (divisible := [group for group in groups if _can_divide(group, depths)]):
        for path in max(divisible, key=lambda group: _weights(model, group)):
            depths[path] += 1
        groups = _grouped(owners, depths=depths)
    groups = _joined(model, groups)
    base = [Stage(name=_name(model, group, owners), layers=tuple(group)) for group in groups]
    return (*base, Stage(name=head.name, layers=(head.name,)))


def learning(model: nn.Module, stages: Sequence[Stage], *, count: int) -> list[list[nn.Parameter]]:
    """Let the last `count` stages learn and freeze the others; return the parameters of those that learn, in order.

    A frozen layer is in evaluation mode: the statistics of its batch normalisation stay as they are, and are used.
    Dropout and whatever else has no parameters goes with the layer that it comes before.
    """
    frozen = {path for stage in stages[: len(stages) - count] for path in stage.layers}
    known = {path for stage in stages for path in stage.layers}
    learns = count > 0
    for path, module in reversed([*model.named_modules()]):
        if path in known:
            learns = path not in frozen
        module.training = learns
    for module in reversed([*model.modules()]):
        children = [*module.children()]
        if children:  # a container is in training mode where anything in it is
            module.training = any(child.training for child in children)
    groups = []
    for stage in stages:
        own = [p for path in stage.layers for p in model.get_submodule(path).parameters(recurse=False)]
        for parameter in own:
            parameter.requires_grad_(stage.layers[0] not in frozen)
        if stage.layers[0] not in frozen:
            groups.append([*own])
    return groups


def _owns(module: nn.Module) -> bool:
    return bool(module._parameters) or bool(module._buffers)


def _grouped(owners: Sequence[str], *, depths: dict[str, int]) -> list[list[str]]:
    groups: list[list[str]] = []
    before = None
    for path in owners:
        key = ".".join(path.split(".")[: depths[path]])
        if key != before:
            groups.append([])
        groups[-1].append(path)
        before = key
    return groups


def _can_divide(group: Sequence[str], depths: dict[str, int]) -> bool:
    return len({tuple(path.split(".")[: depths[path] + 1]) for path in group}) > 1


def _weights(model: nn.Module, group: Sequence[str]) -> int:
    """Number of layers with weight matrices."""
    parameters = [p for path in group for p in model.get_submodule(path).parameters(recurse=False)]
    return sum(p.ndim > 1 for p in parameters)


def _joined(model: nn.Module, groups: list[list[str]]) -> list[list[str]]:
    """Join normalisation with the layer before it, then the smallest neighbours while there are too many."""
    joined: list[list[str]] = []
    for group in groups:
        if joined and not _weights(model, group):
            joined[-1] += group
        else:
            joined.append([*group])
    while len(joined) > MOST:
        sizes = [_weights(model, group) for group in joined]
        at = min(range(len(joined) - 1), key=lambda n: (sizes[n] + sizes[n + 1], -n))
        joined[at : at + 2] = [joined[at] + joined[at + 1]]
    return joined


def _name(model: nn.Module, group: Sequence[str], owners: Sequence[str]) -> str:
    """The path that these layers share and no others, or the first and the last of those with weight matrices."""
    layers = [path for path in group if _weights(model, [path])] or [*group]
    for paths in (group, layers):
        parts = zip(*(path.split(".") for path in paths), strict=False)
        shared = ".".join(own[0] for own in takewhile(lambda parts: len(set(parts)) == 1, parts))
        if shared and not any(f"{path}.".startswith(f"{shared}.") for path in owners if path not in group):
            return shared
    return f"{layers[0]} to {layers[-1]}"
