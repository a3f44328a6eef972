"""What all layers of one image share: the tiles of their sums, and what happens to sums before they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from striate.engine._builder import Builder
from striate.engine._codes import CLAMP, IDENTITY, RELU, Code
from striate.engine._instructions import Scope
from striate.engine._lanes import Extent, Shared
from striate.engine.images._layout import Image, image

__all__ = ["IMAGES_TOGETHER", "MOST_VECTORS", "Epilogue", "output_of", "scope_of", "tile_of"]

INFINITY = float("inf")
MOST_PIXELS, MOST_VECTORS = 8, 12
"""The largest tiles of native/images.hpp."""
IMAGES_TOGETHER = 8
"""Of a larger batch, for which layers with many weights read them once."""
MANY_BYTES = 128 * 1024
"""Weights that do not stay in the cache from image to image."""
SMALL_BYTES = 512 * 1024
"""Maps, before and after a layer, that do when there are several."""


@dataclass(frozen=True, eq=False)
class Epilogue:
    """What happens to sums before they are stored."""

    coefficients: Shared | None
    """Of a batch norm: its scale is multiplied into the weights, its shift becomes the bias."""
    added: Image | None
    code: Code
    pools: bool = False
    """2 x 2 max pooling with stride 2."""

    @property
    def kind(self) -> int:
        """The activation that is left when limits have been applied."""
        return self.code.kind if self.code.kind > RELU and self.code.kind != CLAMP else IDENTITY

    @property
    def numbers(self) -> list[float]:
        """What kernels take: the activation's two numbers, then the limits."""
        limits = {RELU: (0.0, INFINITY), CLAMP: self.code.numbers}.get(self.code.kind, (-INFINITY, INFINITY))
        return [*self.code.numbers, *limits]


@cache
def tile_of(vectors: int, pixels: int, accumulators: int, *, pools: bool = False) -> tuple[int, int]:
    """Return how many vectors x pixels (or windows of four, where it pools) a tile should hold, by a model.

    A tap of a tile costs v p / 2 cycles of multiply-adds or (v + p) / 2 of loads, whichever is more; fewer than 12 sums
    wait for their additions to be ready, as in `_tables.cheapest_tile`, except that tiles of one pixel keep sums of
    several taps in flight; loads hinder a little in any case.
    """

    def cycles(v: int, p: int, *, alone: bool) -> float:
        waiting = 0.0 if alone else 0.3 * max(0, 12 - v * p)
        return max(v * p / 2 + waiting, (v + p) / 2) + 0.05 * (v + p)

    def total(v: int, p: int) -> float:
        full, rest = divmod(pixels, p)
        widths = [v] * (vectors // v) + ([vectors % v] if vectors % v else [])
        rests = sum(cycles(width, rest, alone=False) for width in widths) if rest else 0.0
        return full * sum(cycles(width, p, alone=p == 1) for width in widths) + rests

    tiles = [(v, p) for v in range(1, MOST_VECTORS + 1) for p in ((4, 8) if pools else range(1, MOST_PIXELS + 1))]
    fitting = [(v, p) for v, p in tiles if v <= vectors and p <= pixels and (v * p <= accumulators or p == 1)]
    v, p = min(fitting, key=lambda tile: (total(*tile), -tile[1]))
    return v, p // 4 if pools else p


def scope_of(x: Image, y: Image, *, floats: int) -> Scope:
    """Return whether a layer of so many weights runs for one image after the other, or for several at once."""
    is_small = 4 * (x.features + y.features) <= SMALL_BYTES
    return Scope.CHUNK if 4 * floats > MANY_BYTES and is_small else Scope.BLOCK


def output_of(b: Builder, extent: Extent, epilogue: Epilogue) -> Image:
    """Return a layer's new output."""
    y = image(b, extent)
    if epilogue.added is not None:
        y.borders = epilogue.added.borders  # the same places in both
    return y
