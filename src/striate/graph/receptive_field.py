"""Which part of the input a place of a node can see, followed back through every path of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.graph.graph import Graph, Node
from striate.graph.opaque import Constant, Input, Opaque

__all__ = ["Field", "receptive_field"]

Positions = npt.NDArray[np.int64]


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

    Each operation says which positions of its input it reads for given positions of its output; what several paths
    read is united along each axis. The ends of the box are exact.

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
    if len(target.output_shape) < 3:
        raise UsageError(
            f"receptive_field: `input` must have spatial axes, (N, C, H, W), got {target.output_shape}. "
            "A network of vectors sees all of its input."
        )
    seen = _walk(graph, node, place, inside=True).get(target.index)
    if seen is None:
        return None
    everything = _walk(graph, node, place, inside=False)[target.index]
    return Field(
        start=tuple(int(axis[0]) if len(axis) else 0 for axis in seen),
        stop=tuple(int(axis[-1]) + 1 if len(axis) else 0 for axis in seen),
        reach=tuple(int(axis[-1] - axis[0]) + 1 for axis in everything),
        origin=tuple(int(axis[0]) for axis in everything),
    )


def _walk(graph: Graph, node: Node, place: Sequence[int], *, inside: bool) -> dict[int, tuple[Positions, ...]]:
    """Return the positions of every earlier node that a place can see; `inside` stops at padding, which is constant."""
    seen: dict[int, tuple[Positions, ...]] = {node.index: tuple(np.array([p], dtype=np.int64) for p in place)}
    for current in reversed(graph.nodes[: node.index + 1]):
        if current.index not in seen or isinstance(current.op, Input | Constant):
            continue
        for source in dict.fromkeys(current.sources):
            read = _read(current, source, seen[current.index])
            if inside:
                lengths = source.output_shape[2:]
                read = tuple(a[(a >= 0) & (a < length)] for a, length in zip(read, lengths, strict=True))
            before = seen.get(source.index, read)
            seen[source.index] = tuple(np.union1d(old, new) for old, new in zip(before, read, strict=True))
    return seen


def _read(node: Node, source: Node, positions: tuple[Positions, ...]) -> tuple[Positions, ...]:
    """Return the positions of `source` that `node` reads for `positions` of its own, along each spatial axis."""
    if isinstance(node.op, Opaque):
        raise UsageError(
            f"receptive_field: `{node.name}` must be an operation that striate knows, got {node.op.text}. "
            f"What it reads of `{source.name}` cannot be said."
        )
    lengths = source.output_shape[2:]
    if len(positions) != len(lengths):  # flattened, averaged away, or a matrix product: it reads all there is
        return tuple(np.arange(length, dtype=np.int64) for length in lengths)
    shapes: Mapping[str, tuple[int, ...]] = {
        name: tuple(parameter.tensor.shape) for name, parameter in node.parameters.items()
    } | {name: other.output_shape for name, other in node.computed.items()}
    return tuple(
        node.op.reads(own, axis=axis, size=length, **shapes)
        for axis, (own, length) in enumerate(zip(positions, lengths, strict=True))
    )
