"""The ends of what every place of every node can see, in one pass from the input: as if maps had no border."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.graph._reading import Listed, Part, Relation, relation
from striate.graph.graph import Graph, Node
from striate.graph.opaque import Opaque
from striate.ops._movement import Movement
from striate.ops._over_axes import OverAxes
from striate.ops._pairwise import Pairwise
from striate.ops.slicing import Pad, Slice
from striate.ops.stacking import Stack

__all__ = ["Hull", "hulls", "keeps_axes"]

Positions = npt.NDArray[np.int64]
NOWHERE = 2**40
"""First position of what sees nothing; its last is the negative."""


@dataclass(frozen=True, eq=False)
class Hull:
    """First and last position of the input that each place of a node sees, an array for each spatial axis.

    Arrays have the axes of the node; length 1 says that all places along an axis see the same.
    """

    first: tuple[Positions, ...]
    last: tuple[Positions, ...]
    jump: tuple[int, ...]
    """Pixels from the first position of one place to that of the next; 0 where places are not evenly spaced."""

    def ends(self, place: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the first and the last position that a place sees along each axis, over all channels."""

        def at(values: Positions) -> Positions:
            for axis, position in enumerate(place, start=2):
                values = values.take([position if values.shape[axis] > 1 else 0], axis)
            return values

        return tuple(int(at(v).min()) for v in self.first), tuple(int(at(v).max()) for v in self.last)


def hulls(graph: Graph, target: Node) -> dict[int, Hull | Node]:
    """Return the hull of each node that depends on an input; behind an opaque operation, that operation's node.

    Where places are evenly spaced the spacing goes on beyond the border of a map, so that what lies in padding is
    counted; elsewhere padding adds nothing.
    """
    axes = len(target.output_shape) - 2
    found: dict[int, Hull | Node] = {target.index: _identity(target)}
    for node in graph.nodes:
        operands = [(i, found[s.index]) for i, s in enumerate(node.sources) if s.index in found]
        if not operands or node.index in found:
            continue
        blocked = next((hull for _, hull in operands if isinstance(hull, Node)), None)
        if isinstance(node.op, Opaque) or blocked is not None:
            found[node.index] = blocked or node
            continue
        parts = [_through(node, i, hull) for i, hull in operands if isinstance(hull, Hull)]
        first, last = list(parts[0].first), list(parts[0].last)
        for part in parts[1:]:
            first = [np.minimum(a, b) for a, b in zip(first, part.first, strict=True)]
            last = [np.maximum(a, b) for a, b in zip(last, part.last, strict=True)]
        jump = tuple(_spacing(first[a], node, a, [part.jump[a] for part in parts]) for a in range(axes))
        found[node.index] = Hull(tuple(first), tuple(last), jump)
    return found


def keeps_axes(node: Node, operand: int) -> bool:
    """Whether the axes of a node are those of a source, so that what it reads can be said axis by axis."""
    same = len(node.sources[operand].output_shape) == len(node.output_shape)
    return same and (not isinstance(node.op, Movement) or isinstance(node.op, Slice | Pad))


def _identity(target: Node) -> Hull:
    shape = target.output_shape
    own = tuple(
        np.arange(length, dtype=np.int64).reshape([-1 if k == axis + 2 else 1 for k in range(len(shape))])
        for axis, length in enumerate(shape[2:])
    )
    return Hull(own, own, (1,) * len(own))


def _through(node: Node, operand: int, hull: Hull) -> Hull:
    """Return what a node sees of the input through one of its sources."""
    dims, op = len(node.output_shape), node.op
    source = node.sources[operand].output_shape
    if keeps_axes(node, operand) or (isinstance(op, OverAxes) and operand < len(node.inputs)):
        relations = [relation(node, operand, axis) for axis in range(len(source))]
        ends = [
            tuple(_gathered(values, relations, node, source, end=end, jump=(axis, hull.jump[axis])) for axis, values in
                  enumerate(arrays)) for end, arrays in ((min, hull.first), (max, hull.last))
        ]  # fmt: skip
        if isinstance(op, OverAxes) and not op.keepdim:
            ends = [tuple(values.squeeze(op.axes) for values in arrays) for arrays in ends]
        return Hull(ends[0], ends[1], tuple(_step(j, relations, a) for a, j in enumerate(hull.jump)))
    change = _change_of_axes(node, operand, source)
    jump = hull.jump if isinstance(op, Pairwise) else (0,) * len(hull.jump)
    if change is None:  # no rule: every place sees what any place of the source sees
        low, high = (
            [np.full((1,) * dims, end(v)) for v in a] for end, a in ((np.min, hull.first), (np.max, hull.last))
        )
        return Hull(tuple(low), tuple(high), jump)
    return Hull(tuple(map(change, hull.first)), tuple(map(change, hull.last)), jump)


def _change_of_axes(node: Node, operand: int, source: tuple[int, ...]) -> Callable[[Any], Any] | None:
    """Return how values of a source come to stand in a node with other axes; None: nothing is known."""
    op, dims = node.op, len(node.output_shape)
    if operand >= len(node.inputs):
        return None
    if isinstance(op, Movement):
        return lambda values: _shortened(op.move(np.broadcast_to(values, source)))
    if isinstance(op, Stack):
        return lambda values: np.expand_dims(values, op.axis)  # what several show is united after this
    if isinstance(op, Pairwise) and len(source) < dims:
        return lambda values: values.reshape((1,) * (dims - len(source)) + values.shape)
    return None


def _shortened(values: Positions) -> Positions:
    """Leave one of equal values along each axis."""
    for axis in range(values.ndim):
        one = values.take([0], axis)
        if (values == one).all():
            values = one
    return values


def _gathered(
    values: Positions,
    relations: list[Relation],
    node: Node,
    source: tuple[int, ...],
    *,
    end: Callable[..., Any],
    jump: tuple[int, int],
) -> Positions:
    """Take the smallest or the largest value that each position reads, axis by axis."""
    for axis, link in enumerate(relations):
        own = jump[1] if axis == jump[0] + 2 else 0
        if link == "all":
            values = values.min(axis, keepdims=True) if end is min else values.max(axis, keepdims=True)
        elif isinstance(link, Part):
            values = _placed(values, link, axis, source[axis], node.output_shape[axis], end)
        elif isinstance(link, Listed):
            values = _listed(values, link, axis, own, end)
    return values


def _placed(values: Positions, link: Part, axis: int, size: int, length: int, end: Callable[..., Any]) -> Positions:
    """Put the values where the source lies in the node; elsewhere nothing is seen."""
    if size == length:
        return values
    shape = [length if k == axis else n for k, n in enumerate(values.shape)]
    placed = np.full(shape, NOWHERE if end is min else -NOWHERE)
    index = tuple(slice(link.start, link.start + size) if k == axis else slice(None) for k in range(values.ndim))
    placed[index] = values
    return placed


def _listed(values: Positions, link: Listed, axis: int, jump: int, end: Callable[..., Any]) -> Positions:
    """Take the values at listed positions; beyond the border they go on by `jump`."""
    nothing = NOWHERE if end is min else -NOWHERE
    values = np.moveaxis(values, axis, -1)
    if values.shape[-1] == 1 and link.counts.any(axis=1).all() and jump == 0:
        return np.moveaxis(values, -1, axis)
    inside = np.clip(link.index, 0, max(0, values.shape[-1] - 1))
    read = np.where(link.counts, values[..., inside] + jump * (link.index - inside), nothing)
    read = read.min(axis=-1) if end is min else read.max(axis=-1)
    return np.moveaxis(read, -1, axis)


def _step(jump: int, relations: list[Relation], axis: int) -> int:
    """Return the spacing behind a node of one place, which cannot be seen from its values."""
    link = relations[axis + 2] if axis + 2 < len(relations) else "all"
    return jump * link.step if isinstance(link, Listed) else jump if link == "same" else 0


def _spacing(first: Positions, node: Node, axis: int, jumps: list[int]) -> int:
    """Return how many pixels lie between the fields of neighbours; 0 where it is not the same everywhere."""
    if len(node.output_shape) <= axis + 2:
        return 0
    if node.output_shape[axis + 2] == 1:
        return max(jumps, key=abs)
    others = tuple(k for k in range(first.ndim) if k != axis + 2)
    steps = np.diff(first.min(axis=others))
    return int(steps[0]) if len(steps) and (steps == steps[0]).all() else 0
