"""A unit: one number of a network, as its user writes it, and where it is for each image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from striate.errors import UsageError
from striate.graph import Graph, Node
from striate.graph.opaque import Constant, Input
from striate.see._looking import named, varying

__all__ = ["Located", "Unit", "locate", "parse_unit", "unit_node"]

NORMALISED = ("softmax", "log_softmax", "sigmoid", "logsigmoid")
"""A class is read before these: their gradient mixes in the other classes and vanishes where the network is sure."""


@dataclass(frozen=True)
class Unit:
    """One channel of a node, at one position or at the strongest of each image."""

    node: str
    """Its name in the graph; empty: the network's output, of which `channel` is a class."""
    channel: int | None = None
    """None, only of the output: the class that the network predicts for each image."""
    position: tuple[int, ...] | None = None
    """Row and column; None: where the channel is strongest, for each image."""

    def __str__(self) -> str:
        if not self.node:
            return "the predicted class" if self.channel is None else f"class {self.channel}"
        places = (self.channel, *(self.position or ()))
        return f"{self.node}[{','.join(str(place) for place in places)}]"


@dataclass(frozen=True, eq=False)
class Located:
    """A unit found in a graph: one number of its node for each image."""

    node: Node
    index: Tensor
    """Index of the number without the batch axis: int64, (N, number of axes)."""

    def score(self, value: Tensor) -> Tensor:
        """Return the unit's numbers, (N,), of a value of its node."""
        rows = torch.arange(len(value), device=value.device)
        picked: Tensor = value[(rows, *self.index.to(value.device).T)]
        return picked

    def repeated(self, times: int) -> Located:
        """Return the units of a batch in which each image stands `times` times in a row."""
        return Located(self.node, self.index.repeat_interleave(times, dim=0))

    def names(self) -> tuple[str, ...]:
        """Name the number of each image: ``conv2[17,4,9]``."""
        return tuple(f"{self.node.name}[{','.join(str(int(i)) for i in row)}]" for row in self.index)


def parse_unit(of: Unit | str | int | None) -> Unit:
    """Read what a caller may give as a unit.

    Args:
        of: ``layer3.conv2[17,4,9]`` (channel, row, column), ``layer3.conv2[17]`` (its strongest place in each image),
            a number (that class), or None (the predicted class).

    Raises:
        UsageError: something else.

    Example:
        >>> parse_unit("layer3.conv2[17, 4, 9]")
        Unit(node='layer3.conv2', channel=17, position=(4, 9))
        >>> str(parse_unit(3))
        'class 3'
    """
    if of is None:
        return Unit("")
    if isinstance(of, Unit):
        return of
    if isinstance(of, int) and not isinstance(of, bool):
        return Unit("", of)
    found = re.fullmatch(r"\s*(.*?)\s*\[\s*(\d[\d\s,]*?)\s*\]\s*", of) if isinstance(of, str) else None
    if found is None or not found[1]:
        raise UsageError(
            f"see: `of` must name a unit, got {of!r}. Write conv2[17] or conv2[17,4,9] (channel, row, column), or a "
            "number for a class."
        )
    channel, *position = (int(word) for word in re.split(r"[\s,]+", found[2]))
    return Unit(found[1], channel, tuple(position) or None)


def unit_node(graph: Graph, unit: Unit) -> Node:
    """Return the node of a unit; that of a class is the network's first output, before a softmax that ends it.

    Raises:
        UsageError: there is none of that name, with the nearest; or a constant.
    """
    if unit.node:
        node = named(graph, unit.node)
        if isinstance(node.op, Input | Constant) or node.index not in varying(graph):
            raise UsageError(
                f"see: `of` must name a layer that depends on the input, got `{node.name}`. Name a later one."
            )
        return node
    node = graph.outputs[0]
    while node.call in NORMALISED and node.inputs:
        node = node.inputs[0]
    if len(node.output_shape) != 2:
        raise UsageError(
            f"see: `of` must name a unit, because the network returns {node.output_shape} and not classes, "
            "(N, num_classes). Write node[channel,row,column]."
        )
    return node


def locate(graph: Graph, unit: Unit, values: Mapping[int, Tensor]) -> Located:
    """Find a unit's number for each image.

    Args:
        graph: The captured graph.
        unit: What is looked at.
        values: The value of its node, by the index of the node.

    Raises:
        UsageError: the channel or the position is outside the node.
    """
    node = unit_node(graph, unit)
    value = values[node.index].detach()
    channels, sides = value.shape[1], tuple(value.shape[2:])
    if unit.channel is not None and not 0 <= unit.channel < channels:
        kind = "class" if not unit.node else "channel"
        raise UsageError(f"see: `of` must be a {kind} from 0 to {channels - 1}, got {unit.channel}. Give another.")
    if unit.position is not None:
        is_inside = len(unit.position) == len(sides) and all(p < s for p, s in zip(unit.position, sides, strict=True))
        if not is_inside:
            last = ",".join(str(side - 1) for side in sides)
            raise UsageError(
                f"see: `of` must be a position in `{node.name}`, up to [{unit.channel},{last}], got {unit}. "
                "Write channel, row, column."
            )
    if unit.channel is None:
        return Located(node, value.argmax(dim=1)[:, None])
    channel = torch.full((len(value), 1), unit.channel, device=value.device)
    if unit.position is not None or not sides:
        position = torch.tensor([unit.position or ()], device=value.device, dtype=torch.int64)
        return Located(node, torch.cat([channel, position.expand(len(value), -1)], dim=1))
    strongest = value[:, unit.channel].flatten(1).argmax(dim=1)
    places = torch.stack(torch.unravel_index(strongest, sides), dim=1)
    return Located(node, torch.cat([channel, places], dim=1))
