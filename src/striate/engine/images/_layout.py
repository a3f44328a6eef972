"""The layout of one image: rows, columns, and in each place all channels, so that a vector holds channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from striate.engine._builder import Builder, Value
from striate.engine._instructions import Encoded
from striate.engine._lanes import Extent, Lanes
from striate.engine.lowering.movement import extent_of
from striate.ops.op import Shape

__all__ = ["Image", "image", "image_of", "load", "store", "vectors_of"]


@dataclass(eq=False)
class Image(Lanes):
    """A tensor of one image. Places are in floats; borders of zeros are around the whole map, not each channel's."""

    pitch: int = 1
    """Floats from pixel to pixel."""

    @property
    def row(self) -> int:
        """Floats from row to row."""
        return (self.borders[2] + self.extent[2] + self.borders[3]) * self.pitch

    @property
    def plane(self) -> int:
        """Floats from channel to channel."""
        return 1

    @property
    def first(self) -> int:
        """The place of row 0, column 0."""
        return self.borders[0] * self.row + self.borders[2] * self.pitch

    @property
    def places(self) -> int:
        """Floats of the image, borders included."""
        return (self.borders[0] + self.extent[1] + self.borders[1]) * self.row

    @property
    def geometry(self) -> tuple[Any, ...]:
        """What two tensors have in common that lie alike."""
        return (*super().geometry, self.pitch)

    def bytes(self, width: int) -> int:
        """Memory of the image; a vector that begins at its last channel ends in it."""
        return 4 * -(-self.places // width) * width

    def at(self, channel: Any, row: Any, column: Any) -> Any:
        """Return the place of a position; arrays are broadcast."""
        return channel + self.first + row * self.row + column * self.pitch

    @property
    def pixels(self) -> list[int]:
        """What kernels take: floats from pixel to pixel, from row to row, and to the first."""
        return [self.pitch, self.row, self.first]

    @property
    def padded(self) -> list[int]:
        """The extent, with all that there is room for in a pixel as channels."""
        return [self.pitch, *self.extent[1:]]


def vectors_of(channels: int, width: int) -> int:
    """Return how many vectors hold so many channels."""
    return -(-channels // width)


def image(b: Builder, extent: Extent, *, is_dense: bool = False) -> Image:
    """Return a new image, each pixel filled up to whole vectors; dense: with nothing between the pixels."""
    pitch = extent[0] if is_dense else vectors_of(extent[0], b.machine.width) * b.machine.width
    return Image(b.label, extent, pitch=pitch)


def image_of(x: Value) -> Image:
    """Return where a value is."""
    if not isinstance(x.lanes, Image):
        raise TypeError(type(x.lanes).__name__)
    return x.lanes


def load(b: Builder, external: str, shape: Shape, *, is_dense: bool) -> Image:
    """Emit the way from PyTorch's memory."""
    x = image(b, extent_of(shape), is_dense=is_dense)
    b.emit("image_load", (b.external(external), x), lambda: Encoded([*x.extent, *x.pixels]))
    return x


def store(b: Builder, y: Image, external: str) -> None:
    """Emit the way to PyTorch's memory."""
    b.emit("image_store", (y, b.external(external)), lambda: Encoded([*y.extent, *y.pixels]))
