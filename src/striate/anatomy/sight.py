"""What the units of a layer see of the input: size, jump and start along each axis, and the share that is padding."""

from __future__ import annotations

import math
from dataclasses import dataclass

from striate.graph import Graph, Node
from striate.graph._hulls import Hull, hulls

__all__ = ["Sight", "sights"]


@dataclass(frozen=True)
class Sight:
    """The receptive field of a layer, in pixels of the network's first input, rows first.

    Unit i along an axis sees the positions from ``start + i * jump`` on, `size` of them with those in padding.
    """

    size: tuple[int, ...]
    """Of the unit in the middle, over all channels."""
    jump: tuple[int | None, ...]
    """Pixels from the field of one unit to that of the next; None where they are not evenly spaced, or see the same."""
    start: tuple[int, ...]
    """First position that unit 0 sees; negative in padding."""
    centre: tuple[int, ...]
    """First position that the unit in the middle sees; negative in padding."""
    padding_share: float
    """Of the box that the unit in the middle sees, the part outside of the image, from 0 to 1."""
    covers: tuple[bool, ...]
    """Along which axes the field of the unit in the middle is as long as the image or longer."""

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers and lists."""
        return {
            "size": list(self.size),
            "jump": list(self.jump),
            "start": list(self.start),
            "centre": list(self.centre),
            "padding_share": self.padding_share,
            "covers": list(self.covers),
        }


def sights(graph: Graph) -> dict[int, Sight | str | None]:
    """Return what each node sees of the first input, by the node's index.

    Returns:
        A text where an operation that striate does not know stands before it: its name; nothing for nodes that do not
        depend on the input, and for networks of vectors.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from striate.graph import capture
        >>> graph = capture(nn.Conv2d(1, 1, 5, stride=2, padding=2), torch.zeros(1, 1, 16, 16))
        >>> sight = sights(graph)[1]
        >>> sight.size, sight.jump, sight.start
        ((5, 5), (2, 2), (-2, -2))
    """
    if not graph.inputs or len(graph.inputs[0].output_shape) < 3:
        return {}
    target = graph.inputs[0]
    found = hulls(graph, target)
    return {
        index: hull.name if isinstance(hull, Node) else _sight(graph.nodes[index], hull, target.output_shape[2:])
        for index, hull in found.items()
    }


def _sight(node: Node, hull: Hull, image: tuple[int, ...]) -> Sight | None:
    middle = tuple(length // 2 for length in node.output_shape[2:])
    first, last = hull.ends(middle)
    if any(a > b for a, b in zip(first, last, strict=True)):
        return None
    size = tuple(b - a + 1 for a, b in zip(first, last, strict=True))
    inside = [max(0, min(b + 1, n) - max(a, 0)) for a, b, n in zip(first, last, image, strict=True)]
    return Sight(
        size=size,
        jump=tuple(jump or None for jump in hull.jump),
        start=hull.ends((0,) * len(middle))[0],
        centre=first,
        padding_share=1 - math.prod(inside) / math.prod(size),
        covers=tuple(length >= n for length, n in zip(size, image, strict=True)),
    )
