"""What a plan was made for: modules with their settings and modes, and the very tensors of a network."""

from __future__ import annotations

from typing import Any

from torch import nn

from striate.engine._partition import HOOKS
from striate.engine.extension import extension
from striate.graph.graph import Graph

__all__ = ["guard_of"]

PLAIN = (bool, int, float, str, tuple, type(None))
"""Types of settings: a module's attributes of other types are not looked at."""


def guard_of(model: nn.Module, graph: Graph | None) -> Any:
    """Return a guard that says, before each call, whether a network is still what it was when it was captured.

    It sees replaced, added and removed modules, parameters and buffers, hooks, modes, and plain attributes such as the
    probability of a dropout. The numbers in parameters are not its concern.

    Args:
        model: The network.
        graph: Of the network, captured; None where it could not be.
    """
    same: list[tuple[dict[str, Any], str, Any]] = []
    equal: list[tuple[dict[str, Any], str, Any]] = []
    counts: list[tuple[dict[Any, Any], int]] = []
    for module in model.modules():
        own = vars(module)
        equal += [(own, name, v) for name, v in own.items() if not name.startswith("_") and isinstance(v, PLAIN)]
        same += [(module._modules, name, child) for name, child in module._modules.items()]
        counts += [(own[name], len(own[name])) for name in HOOKS]
        if module._modules:
            counts.append((module._modules, len(module._modules)))
    for node in () if graph is None else graph.nodes:
        for parameter in node.parameters.values():
            if parameter.kind != "constant":
                path, _, key = parameter.name.rpartition(".")
                holder = model.get_submodule(path)
                tables = holder._parameters if parameter.kind == "parameter" else holder._buffers
                same.append((tables, key, parameter.tensor))
    return extension().Guard(same, equal, counts)
