"""Errors explained: images of one cell of the confusion matrix, what spoke for each class, and in which channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from striate.errors import UsageError
from striate.graph import run_nodes
from striate.see._looking import as_inputs, looking
from striate.see._plots import overlay, signed_image, subplots
from striate.see._seen import Seen
from striate.see.attribution import Attribution
from striate.see.class_maps import last_maps, maps_and_gradients
from striate.see.unit import Unit, unit_node

__all__ = ["Mistakes", "mistakes"]

Array: TypeAlias = npt.NDArray[Any]

AT_ONCE = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Mistakes:
    """Images of one class that the network took for another, the surest first."""

    true: int
    predicted: int
    indices: Array
    """Their numbers in the data, int64, (M,)."""
    probabilities: Array
    """Of the true and of the predicted class, (M, 2)."""
    for_predicted: Attribution
    """Grad-CAM of the predicted class."""
    for_true: Attribution
    """Grad-CAM of the true class."""
    layer: str
    channels: Array
    """Channels of `layer`, those first that speak most for the predicted class against the true one, over all these
    images: int64, (C,)."""
    shares: Array
    """What each adds to the difference of the two logits on average, in the order of `channels`: gradient times
    activation, exact where only means and dense layers follow."""

    def figure(self, *, count: int = 6) -> Any:
        """Return a matplotlib figure: a row an image, with the maps of the predicted and the true class.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        shown = min(count, len(self.indices))
        figure, axes = subplots(shown, 3)
        for row in range(shown):
            image = signed_image(self.for_true.inputs[row], around_zero=False)
            pictures = (
                (f"image {self.indices[row]}", image),
                (
                    f"for {self.predicted}: {self.probabilities[row, 1]:.0%}",
                    overlay(image, self.for_predicted.heat()[row]),
                ),
                (f"for {self.true}: {self.probabilities[row, 0]:.0%}", overlay(image, self.for_true.heat()[row])),
            )
            for axis, (title, pixels) in zip(axes[row], pictures, strict=True):
                axis.imshow(pixels, interpolation="nearest")
                axis.set_title(title, fontsize=9)
        return figure


def mistakes(
    model: nn.Module,
    x: Any,
    targets: Any,
    *,
    true: int,
    predicted: int,
    count: int = 16,
    class_names: Sequence[str] | None = None,
) -> Mistakes:
    """Explain one cell of the confusion matrix.

    Args:
        model: Any module that returns logits; it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W).
        targets: Their classes, (N,).
        true: The class they are of.
        predicted: The class the network gave them.
        count: At most so many images, the surest mistakes.
        class_names: For messages; None: classes are told by their numbers.

    Raises:
        UsageError: no image is in that cell (with the cells that are the fullest), the classes are equal, or there are
            not as many targets as images.
    """
    (images,) = as_inputs(model, x, what="mistakes")[:1]
    labels = torch.as_tensor(np.asarray(targets))
    if labels.shape != images.shape[:1] or true == predicted:
        raise UsageError(
            f"mistakes: `targets` must be one class for each of the {len(images)} images, and `true` not `predicted`, "
            f"got shape {tuple(labels.shape)}, {true} and {predicted}."
        )
    chosen, probabilities = _cell(model, images, labels, true, predicted, class_names)
    chosen = chosen[:count]
    inputs = (images[chosen],)
    with looking(model, *inputs, keep_values=True) as graph:
        seen = Seen.of(graph, inputs, Unit("", predicted))
        node = last_maps(graph, seen.node, method="mistakes")
        maps, for_predicted = maps_and_gradients(seen, node)
        other = Seen.of(graph, inputs, Unit("", true))
        _, for_true = maps_and_gradients(other, node)
    shares = ((for_predicted - for_true) * maps).sum(dim=(2, 3)).mean(dim=0).float().cpu().numpy()
    order = np.argsort(-shares, kind="stable")

    def cam(own: Seen, grads: torch.Tensor) -> Attribution:
        values = (grads.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True).clamp(min=0)
        return own.attribution("grad_cam", values, notes=(f"feature maps of {node.name}",))

    return Mistakes(
        true=true,
        predicted=predicted,
        indices=chosen.cpu().numpy(),
        probabilities=probabilities[chosen][:, [true, predicted]].cpu().numpy(),
        for_predicted=cam(seen, for_predicted),
        for_true=cam(other, for_true),
        layer=node.name,
        channels=order,
        shares=shares[order],
    )


def _cell(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    true: int,
    predicted: int,
    class_names: Sequence[str] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the numbers of a cell's images, the surest first, and the probabilities of all images."""
    parts = []
    with looking(model, images[:1]) as graph, torch.no_grad():
        node = unit_node(graph, Unit(""))
        for part in images.split(AT_ONCE):
            parts.append(run_nodes(graph, part, nodes=[node])[node.index].softmax(dim=1).float())
    probabilities = torch.cat(parts)
    labels, answers = labels.to(probabilities.device), probabilities.argmax(dim=1)
    inside = ((labels == true) & (answers == predicted)).nonzero().flatten()
    if not len(inside):
        wrong = labels != answers
        pairs, counts = torch.stack([labels[wrong], answers[wrong]]).unique(dim=1, return_counts=True)
        named = [str(label) for label in range(probabilities.shape[1])] if class_names is None else class_names
        fullest = [
            f"{named[int(pairs[0, i])]} taken for {named[int(pairs[1, i])]} ({int(counts[i])})"
            for i in counts.argsort(descending=True, stable=True)[:3]
        ]
        hint = f"The fullest are {', '.join(fullest)}." if fullest else "It makes no mistake on this data."
        raise UsageError(
            f"mistakes: `true` and `predicted` must name a cell with images, got {named[true]} and {named[predicted]}. "
            f"{hint}"
        )
    return inside[probabilities[inside, predicted].argsort(descending=True, stable=True)], probabilities
