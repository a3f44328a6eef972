"""The classifier head of a network: found from the graph of what it computed, whatever its module is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

from striate.errors import ModelError, nearest
from striate.graph import Graph, capture
from striate.graph.graph import Node
from striate.train.modes import modes_kept

__all__ = ["Head", "find_head", "replace_head"]

# Calls between the head and the output that rearrange numbers or average positions, and so leave it the last decision.
_AFTER = {
    "adaptive_avg_pool2d", "avg_pool2d", "contiguous", "flatten", "mean", "reshape", "squeeze", "view",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Head:
    """The last layer with weights: one output for each class."""

    name: str
    """Dotted path of its module."""
    module: nn.Linear | nn.Conv2d
    """The convolution has 1 x 1 kernels."""

    @property
    def num_classes(self) -> int:
        """Its outputs."""
        return int(self.module.weight.shape[0])

    @property
    def num_features(self) -> int:
        """Numbers that it decides on."""
        return int(self.module.weight.shape[1])


def find_head(model: nn.Module, example: Tensor, *, name: str | None = None) -> Head:
    """Find the layer that makes the logits.

    Args:
        model: Any network that returns logits (N, num_classes).
        example: A batch that it takes.
        name: Dotted path of the head, where it cannot be found; it must be a linear layer or a 1 x 1 convolution.

    Raises:
        ModelError: there is no such layer between the last branch and the output; the layers with weights are listed.

    Example:
        >>> from striate import models
        >>> find_head(models.create("resnet20"), torch.zeros(2, 3, 32, 32)).name
        'fc'
    """
    if name is not None:
        return Head(name=name, module=_named(model, name))
    with modes_kept(model):
        model.eval()
        graph = capture(model, example)
    node = _deciding_node(graph)
    module = None if node is None else _module_of(model, node)
    if node is None or module is None:
        known = [path for path, one in model.named_modules() if _is_head(one)]
        raise ModelError(
            f"tune: the network must end in a linear layer or a 1 x 1 convolution, got `{graph.outputs[0].call}`"
            f"{_after(node)}. Name its head: head=PATH (--head PATH), one of {', '.join(known[-4:]) or 'none here'}."
        )
    return Head(name=node.module, module=module)


def replace_head(model: nn.Module, head: Head, *, num_classes: int, seed: int = 0) -> Head:
    """Put a new head of the same kind with random weights in the place of the old one.

    Args:
        model: Changed in place.
        head: What `find_head` found.
        num_classes: Outputs of the new one.
        seed: Of its weights, which are drawn as PyTorch draws them.
    """
    old = head.module
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        has_bias = old.bias is not None
        new: nn.Linear | nn.Conv2d
        if isinstance(old, nn.Linear):
            new = nn.Linear(old.in_features, num_classes, bias=has_bias)
        else:
            new = nn.Conv2d(old.in_channels, num_classes, 1, bias=has_bias)
    weight: Tensor = old.weight
    new.to(device=weight.device, dtype=weight.dtype).train(old.training)
    put(model, head.name, new)
    return Head(name=head.name, module=new)


def put(model: nn.Module, path: str, module: nn.Module) -> None:
    """Set the module at a dotted path."""
    parent, _, own = path.rpartition(".")
    setattr(model.get_submodule(parent), own, module)


def _named(model: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    paths = dict(model.named_modules())
    module = paths.get(name)
    if module is None:
        heads = [path for path, one in paths.items() if _is_head(one)]
        raise ModelError(
            f"tune: `head` must be the path of a layer, got {name!r}.{nearest(name, list(paths))} "
            f"Layers that could be it: {', '.join(heads[-4:]) or 'none'}."
        )
    if not _is_head(module):
        raise ModelError(
            f"tune: `head` must be a linear layer or a 1 x 1 convolution, got {name!r}, a {type(module).__name__}."
        )
    return module


def _is_head(module: nn.Module) -> TypeGuard[nn.Linear | nn.Conv2d]:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)


def _deciding_node(graph: Graph) -> Node | None:
    """Go back from the output over what only moves or averages numbers."""
    if len(graph.outputs) != 1:
        return None
    node = graph.outputs[0]
    while node.call in _AFTER and len(node.inputs) == 1:
        node = node.inputs[0]
    return node if "weight" in node.parameters else None


def _module_of(model: nn.Module, node: Node) -> nn.Linear | nn.Conv2d | None:
    module = dict(model.named_modules()).get(node.module)
    own = None if module is None else getattr(module, "weight", None)
    return module if module is not None and _is_head(module) and own is node.parameters["weight"].tensor else None


def _after(node: Node | None) -> str:
    return "" if node is None else f" of `{node.module or 'the network itself'}`"
