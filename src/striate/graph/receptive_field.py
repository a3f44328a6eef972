"""Which part of the input a place of a node can see, followed back through every path of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.graph._hulls import Hull, hulls, keeps_axes
from striate.graph._reading import Listed, Part, Relation, relation
from striate.graph.graph import Graph, Node
from striate.ops._movement import Movement
from striate.ops._over_axes import OverAxes
from striate.ops._pairwise import Pairwise
from striate.ops.op import Shape
from striate.ops.stacking import Stack

__all__ = ["Field", "receptive_field", "receptive_set"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Field:
    """The smallest box of the input that holds everything a place can see, padding left out of it."""

    start: tuple[int, ...]
    """First row, first column ... in pixels."""
    stop: tuple[int, ...]
    """One past the last."""
    reach: tuple[int, ...]
    """Length along each axis with the part that lies in padding."""
    origin: tuple[int, ...]
    """First row, first column with the part that lies in padding; may be negative."""

    @property
    def size(self) -> tuple[int, ...]:
        """Length of the box along each axis, in pixels."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """The box as an index of the spatial axes."""
        return tuple(slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))


def receptive_field(graph: Graph, node: Node, place: Sequence[int], *, input: Node | None = None) -> Field | None:
    """Return the part of an input that can change a node's value at one place.

    The ends of the box are those of `receptive_set`.

    Args:
        graph: The captured graph.
        node: Where to look from.
        place: Spatial position in it, one number an axis; empty for a node without spatial axes.
        input: Which input of the network; None: the first.

    Returns:
        None where no path leads from the input to the node.

    Raises:
        UsageError: a path runs through an operation that striate does not know; or the input has no spatial axes.
    """
    target = graph.inputs[0] if input is None else input
    found, everywhere = _checked(graph, node, place, target)
    if not isinstance(everywhere, Hull):
        return None
    seen = _walk(graph, node, place, target, found)
    first, last = everywhere.ends(place)
    inside = [
        np.flatnonzero(seen.any(axis=tuple(k for k in range(seen.ndim) if k != axis))) for axis in range(seen.ndim)
    ]
    return Field(
        start=tuple(int(axis[0]) if len(axis) else 0 for axis in inside),
        stop=tuple(int(axis[-1]) + 1 if len(axis) else 0 for axis in inside),
        reach=tuple(b - a + 1 for a, b in zip(first, last, strict=True)),
        origin=first,
    )


def receptive_set(graph: Graph, node: Node, place: Sequence[int], *, input: Node | None = None) -> Mask:
    """Return every position of an input that can change a node's value at one place, in any channel.

    Paths are followed one by one, and channels apart from each other: what a concatenation joins, a slice takes from
    or a grouped convolution keeps apart is not mixed. The value of a batch's other images counts as the image's own.

    Args:
        graph: The captured graph.
        node: Where to look from.
        place: Spatial position in it, one number an axis; empty for a node without spatial axes.
        input: Which input of the network; None: the first.

    Returns:
        Boolean, of the spatial axes of the input; all False where no path leads from it to the node.

    Raises:
        UsageError: as `receptive_field`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from striate.graph import capture
        >>> graph = capture(nn.Conv2d(1, 1, 2, dilation=2), torch.zeros(1, 1, 3, 3))
        >>> receptive_set(graph, graph.outputs[0], (0, 0)).astype(int).tolist()
        [[1, 0, 1], [0, 0, 0], [1, 0, 1]]
    """
    target = graph.inputs[0] if input is None else input
    found, everywhere = _checked(graph, node, place, target)
    if everywhere is None:
        return np.zeros(target.output_shape[2:], dtype=bool)
    return _walk(graph, node, place, target, found)


def _checked(
    graph: Graph, node: Node, place: Sequence[int], target: Node
) -> tuple[dict[int, Hull | Node], Hull | None]:
    """Return the hulls of all nodes and of this one, or say why there are none."""
    if len(target.output_shape) < 3:
        raise UsageError(
            f"receptive_field: `input` must have spatial axes, (N, C, H, W), got {target.output_shape}. "
            "A network of vectors sees all of its input."
        )
    lengths = node.output_shape[2:]
    if place and (len(place) != len(lengths) or any(not 0 <= p < n for p, n in zip(place, lengths, strict=True))):
        raise UsageError(
            f"receptive_field: `place` must be a position in `{node.name}`, of lengths {lengths}, got {tuple(place)}. "
            "Give one number from 0 on for each spatial axis."
        )
    found = hulls(graph, target)
    own = found.get(node.index)
    if isinstance(own, Node):
        raise UsageError(
            f"receptive_field: `{own.name}` must be an operation that striate knows, got {own.op.text}. "  # type: ignore[attr-defined]
            f"What it reads of `{own.sources[0].name}` cannot be said."
        )
    return found, own


def _walk(graph: Graph, node: Node, place: Sequence[int], target: Node, found: Mapping[int, Hull | Node]) -> Mask:
    """Follow a place back to the input, as a mask of every node on the way; length 1 stands for a whole axis."""
    dims = len(node.output_shape)
    start = np.ones((1,) * dims, dtype=bool)
    for axis, position in enumerate(place, start=2):
        start = start & (np.arange(node.output_shape[axis]) == position).reshape(
            [-1 if k == axis else 1 for k in range(dims)]
        )
    seen: dict[int, Mask] = {node.index: start}
    for current in reversed(graph.nodes[: node.index + 1]):
        if current is target or current.index not in seen:
            continue
        mask = seen.pop(current.index)
        for operand, source in enumerate(current.sources):
            if source.index in found:
                read = _back(current, operand, mask)
                seen[source.index] = seen[source.index] | read if source.index in seen else read
    mask = seen.get(target.index, np.zeros((1,) * len(target.output_shape), dtype=bool))
    return np.broadcast_to(mask.any(axis=(0, 1)), target.output_shape[2:]).copy()


def _back(node: Node, operand: int, mask: Mask) -> Mask:
    """Return what a node reads of a source for a mask of its own places."""
    op, source = node.op, node.sources[operand].output_shape
    dims = len(source)
    if not keeps_axes(node, operand):
        if operand < len(node.inputs) and isinstance(op, Movement):
            whole = np.broadcast_to(mask, node.output_shape).astype(np.float32)
            return np.asarray(op.move_back(whole, source) > 0)
        if isinstance(op, OverAxes):
            mask = mask if op.keepdim else np.expand_dims(mask, op.axes)
        elif isinstance(op, Stack):
            return np.asarray(mask.take(operand if mask.shape[op.axis] > 1 else 0, op.axis))
        elif isinstance(op, Pairwise) and mask.ndim > dims:
            mask = np.asarray(mask.any(axis=tuple(range(mask.ndim - dims))))
            own = node.output_shape[-dims:]
            broadcast: list[Relation] = ["same" if n == m else "all" for n, m in zip(source, own, strict=True)]
            return _read(mask, broadcast, source, own)
        else:
            return np.full((1,) * dims, mask.any())
    links = [relation(node, operand, axis) for axis in range(dims)]
    return _read(mask, links, source, node.output_shape)


def _read(mask: Mask, links: Sequence[Relation], source: Shape, own: Shape) -> Mask:
    """Return what is read along each axis."""
    for axis, link in enumerate(links):
        if link == "all":
            mask = np.asarray(mask.any(axis=axis, keepdims=True))
        elif isinstance(link, Part) and mask.shape[axis] > 1:
            mask = mask.take(range(link.start, link.start + source[axis]), axis)
        elif isinstance(link, Listed):
            mask = _listed(mask, link, axis, own[axis])
    return mask


def _listed(mask: Mask, link: Listed, axis: int, length: int) -> Mask:
    mask = np.moveaxis(mask, axis, -1)
    if mask.shape[-1] == 1:  # all positions alike
        read = link.table.any(axis=0)
        mask = mask if read.all() else mask & read
    else:
        mask = mask.astype(np.float32) @ link.table > 0
    return np.moveaxis(mask, -1, axis)
