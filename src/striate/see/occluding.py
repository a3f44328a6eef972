"""Occlusion: what the network says while a grey square hides each part of the image in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from striate.errors import UsageError
from striate.graph import Graph, Node
from striate.see._looking import as_inputs, looking, named, sides
from striate.see._plots import heat_colours, signed_image, subplots
from striate.see._seen import Seen
from striate.see.class_maps import last_maps
from striate.see.unit import Unit, parse_unit, unit_node

__all__ = ["Occlusion", "occlusion"]

Array: TypeAlias = npt.NDArray[Any]

SMALL = 96
"""Pixels; up to here a pass is cheap and the square moves by a quarter of its side."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Occlusion:
    """The three maps of Zeiler and Fergus for each image, each number the square's at one place."""

    scores: Array
    """Probability of the class, or the unit's activation, while the square is there: (N, rows, columns)."""
    predicted: Array
    """Most probable class then, int64, (N, rows, columns)."""
    activity: Array
    """Sum of the strongest feature map of `layer` then, (N, rows, columns)."""
    unhidden: Array
    """`scores` without a square, (N,)."""
    channels: Array
    """Which feature map of `layer` was the strongest without a square, (N,)."""
    layer: str | None
    """None: there is no layer with positions; `activity` is empty."""
    units: tuple[str, ...]
    rows: Array
    """First row of the square at each place."""
    columns: Array
    """First column."""
    size: int
    """Side of the square, in pixels."""
    inputs: Array
    """What the network was given, (N, C, H, W)."""

    def heat(self) -> Array:
        """Return for each pixel how much the score falls on average when a square hides it, (N, H, W)."""
        drop = self.unhidden[:, None, None] - self.scores
        total = np.zeros((len(drop), *self.inputs.shape[2:]))
        count = np.zeros(self.inputs.shape[2:])
        for i, row in enumerate(self.rows):
            for j, column in enumerate(self.columns):
                total[:, row : row + self.size, column : column + self.size] += drop[:, i, j, None, None]
                count[row : row + self.size, column : column + self.size] += 1
        heat: Array = total / np.maximum(count, 1)
        return heat

    def figure(self) -> Any:
        """Return a matplotlib figure: a row for each image, the input and the three maps.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        figure, axes = subplots(len(self.scores), 4)
        for row, image in enumerate(self.inputs):
            pictures = [
                ("input", signed_image(image, around_zero=False)),
                (f"{self.units[row]}, hidden at", heat_colours(self.scores[row])),
                ("predicted, hidden at", self.predicted[row]),
            ]
            if self.layer is not None:
                title = f"{self.layer}[{self.channels[row]}], hidden at"
                pictures.append((title, heat_colours(self.activity[row])))
            for axis, (title, pixels) in zip(axes[row], pictures, strict=False):
                axis.imshow(pixels, interpolation="nearest", cmap="tab20")
                axis.set_title(title, fontsize=9)
        return figure


def occlusion(
    model: nn.Module,
    x: Any,
    *,
    of: Unit | str | int | None = None,
    size: int | None = None,
    stride: int | None = None,
    fill: float = 0.0,
    layer: str | None = None,
) -> Occlusion:
    """Hide each part of the images by a square and record what becomes of a class, the answer, and a feature map.

    Args:
        model: Any module; it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W), or a tuple of inputs of which the first is hidden in part.
        of: A class, another unit (its activation instead of a probability), or None: the predicted class.
        size: Side of the square in pixels; None: a quarter of the image's shorter side.
        stride: Step of the square; None: a quarter of its side, half of it for images over 96 pixels.
        fill: What the square holds; of normalised images 0 is the mean colour of the training images.
        layer: Whose strongest feature map is followed; None: the last feature maps.

    Raises:
        UsageError: images without positions, a square that does not fit, or a step below 1.

    Source: Zeiler and Fergus, Visualizing and understanding convolutional networks, 2014, section 4.2 and figure 7.
    """
    inputs = as_inputs(model, x, what="occlusion")
    rows, columns, size = _places(inputs[0], size, stride)
    with looking(model, *inputs, keep_values=True) as graph:
        seen = Seen.of(graph, inputs, parse_unit(of))
        followed = _followed(graph, seen.node, layer)
        answer = _answer(graph, seen.node)
        is_class = len(seen.node.output_shape) == 2 and seen.node.index == answer.index
        found = [
            _of_image(seen, which, rows, columns, size, fill, followed=followed, answer=answer, is_class=is_class)
            for which in range(len(inputs[0]))
        ]
    scores, predicted, activity, unhidden, channels = (np.stack(parts) for parts in zip(*found, strict=True))
    return Occlusion(
        scores=scores,
        predicted=predicted,
        activity=activity,
        unhidden=unhidden,
        channels=channels,
        layer=None if followed is None else followed.name,
        units=seen.unit.names(),
        rows=rows,
        columns=columns,
        size=size,
        inputs=inputs[0].float().cpu().numpy(),
    )


def _places(x: Tensor, size: int | None, stride: int | None) -> tuple[Array, Array, int]:
    """Return first rows and first columns of the square, the last flush with the edge, and its side."""
    if x.ndim != 4:
        raise UsageError(f"occlusion: `x` must be images (N, C, H, W), got shape {tuple(x.shape)}. Use gradient.")
    shorter = min(x.shape[2:])
    size = max(1, shorter // 4) if size is None else size
    stride = max(1, size // (4 if shorter <= SMALL else 2)) if stride is None else stride
    if not 1 <= size <= shorter or stride < 1:
        raise UsageError(
            f"occlusion: `size` must be from 1 to {shorter} and `stride` at least 1, got {size} and {stride}. "
            "A quarter of the image's side and a quarter of that are usual."
        )
    rows, columns = (np.unique(np.append(np.arange(0, side - size, stride), side - size)) for side in x.shape[2:])
    return rows, columns, size


def _followed(graph: Graph, node: Node, layer: str | None) -> Node | None:
    """Return the layer whose feature map is followed; None: there is none with positions."""
    if layer is not None:
        found = named(graph, layer)
        if not sides(found):
            raise UsageError(
                f"occlusion: `layer` must have positions, (N, C, H, W), got `{layer}` with {found.output_shape}. "
                "Leave it out to take the last feature maps."
            )
        return found
    try:
        return last_maps(graph, node, method="occlusion")
    except UsageError:  # a network without convolutions has no feature map to follow, and the other two maps
        return None


def _answer(graph: Graph, node: Node) -> Node:
    """Return the node of the network's logits, or the unit's where there are none."""
    try:
        return unit_node(graph, Unit(""))
    except UsageError:  # it returns something else than classes: what is predicted is the unit's strongest channel
        return node


def _of_image(
    seen: Seen,
    which: int,
    rows: Array,
    columns: Array,
    size: int,
    fill: float,
    *,
    followed: Node | None,
    answer: Node,
    is_class: bool,
) -> tuple[Array, Array, Array, Array, Array]:
    """Return the three maps of one image, its score without a square, and the channel that is followed."""
    image = seen.inputs[0][which]
    made = image.repeat(len(rows) * len(columns) + 1, 1, 1, 1)
    for number, (row, column) in enumerate((row, column) for row in rows for column in columns):
        made[number + 1, :, row : row + size, column : column + size] = fill
    nodes = [seen.node, answer, *([followed] if followed is not None else [])]
    values = seen.values_of_one(made, which, *nodes)
    scored = values[0].softmax(dim=1) if is_class else values[0]
    index = seen.unit.index[which]
    scores = scored[(slice(None), *index)].float().cpu().numpy()
    predicted = values[1].flatten(1).argmax(dim=1)[1:].cpu().numpy()
    shape = (len(rows), len(columns))
    if followed is None:
        return scores[1:].reshape(shape), predicted.reshape(shape), np.zeros(shape), scores[0], np.array(-1)
    sums = values[2].sum(dim=(2, 3))
    channel = int(sums[0].argmax())
    activity = sums[1:, channel].float().cpu().numpy()
    return scores[1:].reshape(shape), predicted.reshape(shape), activity.reshape(shape), scores[0], np.array(channel)
