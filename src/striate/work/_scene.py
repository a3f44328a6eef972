"""What properties are measured on: a picture or random pixels, and random numbers that depend on the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.work._pixels import Floats, name_of, read_pixels, reduce, to_bytes

__all__ = ["LONGEST", "SHORTEST", "Scene", "change", "difference", "ratio", "read_scene"]

SHORTEST, LONGEST = 28, 96
"""Pixels of the side: a digit of MNIST is enough, and what is larger is reduced, so that all takes seconds."""
RANDOM_SIDE = 64


@dataclass(frozen=True, eq=False)
class Scene:
    """A square grey picture and what else the properties draw at random."""

    name: str
    pixels: Floats
    """(S, S), from 0 (black) to 1 (white)."""
    seed: int

    @property
    def side(self) -> int:
        """Height and width in pixels."""
        return len(self.pixels)

    @property
    def batch(self) -> Floats:
        """The picture as (1, 1, S, S)."""
        return self.pixels[None, None]

    def centre(self, height: int, width: int) -> Floats:
        """Return the middle of the picture, (height, width)."""
        top, left = (self.side - height) // 2, (self.side - width) // 2
        return self.pixels[top : top + height, left : left + width]

    def generator(self, purpose: str) -> np.random.Generator:
        """Return a generator of its own for each purpose: no property changes what another one draws."""
        return np.random.default_rng([self.seed, *purpose.encode()])

    def noise(self, purpose: str) -> Floats:
        """Return random pixels from 0 to 1, of the picture's size."""
        return self.generator(purpose).random(self.pixels.shape)

    def kernel(self, size: int, purpose: str = "kernel") -> Floats:
        """Return a random kernel (size, size), normally distributed."""
        return self.generator(f"{purpose}-{size}").normal(size=(size, size))


def read_scene(image: Any, *, seed: int) -> Scene:
    """Return the central square of a picture in grey, reduced to at most `LONGEST` pixels; of None random pixels.

    Raises:
        ImageError: a file cannot be read.
        UsageError: the picture is too small, or the seed is no whole number from 0 on.
    """
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise UsageError(f"properties: `seed` must be a whole number from 0 on, got {seed!r}. Write seed=0.")
    if image is None:
        pixels = np.random.default_rng(seed).random((RANDOM_SIDE, RANDOM_SIDE))
        return Scene(f"{RANDOM_SIDE} x {RANDOM_SIDE} random pixels", pixels, int(seed))
    values = read_pixels("properties", image, grey=True)
    height, width = values.shape[1:]
    side = min(height, width)
    if side < SHORTEST:
        raise UsageError(
            f"properties: `image` must have at least {SHORTEST} x {SHORTEST} pixels, got {height} x {width}. "
            "Take a larger picture, or leave it out for random pixels."
        )
    top, left = (height - side) // 2, (width - side) // 2
    square = values[:, top : top + side, left : left + side]
    if side > LONGEST:
        square = reduce(to_bytes(square), size=LONGEST, panels=1).astype(np.float64)
    cut = "" if height == width else f" of {height} x {width}, its central square"
    reduced = f", reduced to {LONGEST} x {LONGEST}" if side > LONGEST else f" {side} x {side}" if not cut else ""
    return Scene(f"{name_of(image)}{cut}{reduced}, in grey", square[0] / 255, int(seed))


def difference(one: Any, other: Any) -> float:
    """Return the largest difference of two arrays as a share of their largest value.

    Example:
        >>> difference([1.0, 2.0], [1.0, 1.5]), difference([0.0], [0.0])
        (0.25, 0.0)
    """
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    largest = max(float(np.abs(one).max()), float(np.abs(other).max()))
    return ratio(float(np.abs(one - other).max()), largest)


def ratio(part: float, whole: float) -> float:
    """Divide; nothing of nothing is nothing."""
    return part / whole if whole else 0.0


def change(before: Any, after: Any) -> float:
    """Return the root-mean-square difference of two arrays as a share of the first one's.

    Example:
        >>> change([3.0, 4.0], [3.0, 9.0])
        1.0
    """
    before, after = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    size = float(np.sqrt(np.mean(before**2)))
    return ratio(float(np.sqrt(np.mean((after - before) ** 2))), size)
