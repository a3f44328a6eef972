"""Memory of the engine: tensors of lanes, and everything else that an instruction can read or write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Extent", "External", "Lanes", "Operand", "Partial", "Shared", "Slot"]

Extent = tuple[int, int, int]
"""Channels, rows, columns."""
Ints = npt.NDArray[np.int64]


@dataclass(eq=False)
class Operand:
    """Something that instructions read and write."""

    name: str


@dataclass(eq=False)
class Lanes(Operand):
    """A tensor of one block: channels, rows, columns, and in each place a vector with one number of each image.

    Borders of zeros around each channel's map let windows reach over its edge; how wide they must be is settled while
    the instructions are made, so places are asked for only after that.
    """

    extent: Extent
    borders: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    """Rows above and below, columns to the left and to the right."""
    lane_bytes: int = 4
    """4 for numbers, 1 for places of a maximum."""
    source: External | None = None
    """Images of PyTorch that hold the same numbers, in the order of the features."""

    @property
    def features(self) -> int:
        """Numbers of one image."""
        channels, rows, columns = self.extent
        return channels * rows * columns

    def reach(self, *, above: int = 0, below: int = 0, left: int = 0, right: int = 0) -> None:
        """Make the borders at least this wide."""
        # In place: tensors that lie alike share one list.
        self.borders[:] = [max(a, b) for a, b in zip(self.borders, (above, below, left, right), strict=True)]

    @property
    def row(self) -> int:
        """Places from row to row."""
        return self.borders[2] + self.extent[2] + self.borders[3]

    @property
    def plane(self) -> int:
        """Places from channel to channel.

        An odd number: with vectors of half a cache line, values of neighbouring channels then lie in different halves,
        and two can be loaded at a time.
        """
        return (self.borders[0] + self.extent[1] + self.borders[1]) * self.row | 1

    @property
    def first(self) -> int:
        """The place of row 0, column 0 of channel 0."""
        return self.borders[0] * self.row + self.borders[2]

    @property
    def places(self) -> int:
        """Places of one block, borders included: an odd number, for the same reason as in `plane`."""
        return self.extent[0] * self.plane | 1

    @property
    def geometry(self) -> tuple[Any, ...]:
        """What two tensors have in common that lie alike."""
        return (type(self), self.extent, *self.borders, self.lane_bytes)

    def bytes(self, width: int) -> int:
        """Memory of one block."""
        return self.places * width * self.lane_bytes

    def at(self, channel: Any, row: Any, column: Any) -> Any:
        """Return the place of a position; arrays are broadcast."""
        return channel * self.plane + self.first + row * self.row + column

    def all_places(self) -> Ints:
        """Return the places of all positions in the order of PyTorch's memory, flat."""
        channels, rows, columns = (np.arange(length, dtype=np.int64) for length in self.extent)
        return np.asarray(self.at(channels[:, None, None], rows[:, None], columns)).reshape(-1)

    def placement(self, width: int) -> tuple[int, int, int]:
        """Return what kernels take: floats from channel to channel, from row to row, and to the first value."""
        return self.plane * width, self.row * width, self.first * width


@dataclass(eq=False)
class Shared(Operand):
    """Memory that exists once: packed weights, statistics, sums."""

    size: int
    """Bytes."""
    image_size: int = 0
    """Bytes more for each image of the batch."""
    is_kept: bool = False
    """Whether it is computed once and used in many runs."""


@dataclass(eq=False)
class Slot(Operand):
    """Sums that each slot of chunks keeps for itself until they are added up in order."""

    size: int


@dataclass(eq=False)
class Partial(Operand):
    """What each chunk leaves for a step over the whole batch."""

    size: int


@dataclass(eq=False)
class External(Operand):
    """Memory of PyTorch: its address comes with each run."""

    index: int
