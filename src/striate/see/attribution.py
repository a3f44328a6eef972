"""What the methods return: a number for each number of the input, what it is about, and how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from striate.see._plots import signed_image, subplots

__all__ = ["Attribution"]

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """Maps of one method for a batch of images."""

    method: str
    """Name of the function."""
    values: Array
    """float32, (N, C, H, W) as the input; (N, 1, h, w) of a method that works on a layer, as Grad-CAM."""
    units: tuple[str, ...]
    """For each image the number that was looked at: ``fc[3]``."""
    scores: Array
    """That number, (N,)."""
    inputs: Array
    """What the network was given, (N, C, H, W)."""
    rewritten: tuple[str, ...] = ()
    """Nodes whose backward pass the method replaced."""
    by_gradient: tuple[str, ...] = ()
    """Nodes that the method has no rule for and that were passed by their gradient, as normalisations by the data."""
    notes: tuple[str, ...] = ()
    """What a reader of the maps must know: the layer that was taken, the steps, how far a sum is off."""

    def heat(self) -> Array:
        """Return one number a pixel, at least 0, (N, H, W): the largest magnitude over the channels.

        Maps of a layer are brought to the size of the input by linear interpolation between the middles of its cells.
        """
        heat = np.abs(self.values).max(axis=1)
        return heat if heat.shape[1:] == self.inputs.shape[2:] else resized(heat, self.inputs.shape[2:])

    def figure(self) -> Any:
        """Return a matplotlib figure: a row for each image, the input beside its map.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        figure, axes = subplots(len(self.values), 2)
        for row, (image, values) in enumerate(zip(self.inputs, self.values, strict=True)):
            for axis, (title, pixels) in zip(
                axes[row], (("input", image), (f"{self.method}, {self.units[row]}", values)), strict=True
            ):
                axis.imshow(signed_image(pixels, around_zero=pixels is values), interpolation="nearest")
                axis.set_title(title, fontsize=9)
        return figure


def resized(maps: Array, sides: tuple[int, ...]) -> Array:
    """Bring maps (N, h, w) to another size by linear interpolation between the middles of their cells.

    Example:
        >>> resized(np.array([[[0.0, 1.0]]]), (1, 4)).tolist()
        [[[0.0, 0.25, 0.75, 1.0]]]
    """
    for axis, side in zip((1, 2), sides, strict=True):
        length = maps.shape[axis]
        at = np.clip((np.arange(side) + 0.5) * length / side - 0.5, 0, length - 1)
        low = np.minimum(at.astype(np.int64), max(length - 2, 0))
        share = (at - low).reshape((-1, 1) if axis == 1 else (-1,)).astype(maps.dtype)
        high = np.minimum(low + 1, length - 1)
        maps = maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share
    return maps
