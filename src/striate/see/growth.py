"""Features as they grow: the same images through the weights that a run kept after every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.see._plots import heat_colours, signed_image, subplots
from striate.see.maps import feature_maps
from striate.see.weights import filters
from striate.train.run import Run

__all__ = ["Evolution", "evolution"]

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evolution:
    """One layer's answers, and the first layer's filters, through a training."""

    node: str
    epochs: tuple[int, ...]
    """0 is before the first step."""
    maps: Array
    """(epochs, N, C, h, w)."""
    filters: Array
    """Of the first convolution, (epochs, C_out, C_in, kH, kW)."""
    inputs: Array
    """What the network was given, (N, C, H, W)."""

    def changes(self) -> Array:
        """Return how far each channel's maps moved in each epoch, as a share of their length, (epochs - 1, C)."""
        before, after = self.maps[:-1], self.maps[1:]
        moved = np.sqrt(np.square(after - before).sum(axis=(1, 3, 4)))
        lengths = np.sqrt(np.square(after).sum(axis=(1, 3, 4)))
        changes: Array = moved / np.maximum(lengths, 1e-12)
        return changes

    def figure(self, *, image: int = 0, channels: int = 8) -> Any:
        """Return a matplotlib figure: a row a channel, a column an epoch, all of a row on one scale.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        shown = self.maps[:, image, :channels]
        figure, axes = subplots(shown.shape[1], len(self.epochs) + 1)
        for channel in range(shown.shape[1]):
            axes[channel][0].imshow(signed_image(self.inputs[image], around_zero=False), interpolation="nearest")
            row = heat_colours(np.concatenate(list(shown[:, channel]), axis=1))  # one scale
            for column, pixels in enumerate(np.split(row, len(self.epochs), axis=1)):
                axes[channel][column + 1].imshow(pixels, interpolation="nearest")
                axes[channel][column + 1].set_title(f"epoch {self.epochs[column]}", fontsize=8)
        return figure


def evolution(run: Run, x: Any, *, node: str, epochs: Sequence[int] | None = None) -> Evolution:
    """Return what a layer answers to the same images after each epoch of a training.

    Args:
        run: Trained with `keep_epochs` (``striate train --keep-epochs``).
        x: Images as the network takes them, (N, C, H, W).
        node: The layer.
        epochs: Which of `Run.kept_epochs`; None: all.

    Raises:
        UsageError: the run kept no weights, or not those of an epoch.

    Source: Zeiler and Fergus, Visualizing and understanding convolutional networks, 2014, section 4, figure 4.
    """
    kept = run.kept_epochs
    chosen = kept if epochs is None else tuple(epochs)
    if not chosen or not set(chosen) <= set(kept):
        has = f"those of {', '.join(map(str, kept))}" if kept else "none"
        raise UsageError(
            f"evolution: `run` must have kept the weights of the epochs, got {has}. Train with keep_epochs=True, or "
            "`striate train ... --keep-epochs`."
        )
    maps, weights = list[Array](), list[Array]()
    for epoch in chosen:
        network = run.model(weights=epoch)
        (found,) = feature_maps(network, x, nodes=node)
        maps.append(found.values)
        weights.append(filters(network, x).values)
    return Evolution(node=node, epochs=chosen, maps=np.stack(maps), filters=np.stack(weights), inputs=found.inputs)
