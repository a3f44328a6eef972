"""What one place of a layer sees: exactly, and how strongly it depends on each pixel."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from dataclasses import field as entry
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.graph import Constant, Graph, Input, Node
from striate.graph._untouched import untouched
from striate.graph.receptive_field import Field, receptive_field, receptive_set

__all__ = ["Effective", "Look", "effective", "look", "middle", "parse_at"]

NOTICED = 1 - 0.9545
"""Part of the largest gradient from which a pixel counts. Source: Luo et al., Understanding the Effective Receptive
Field in Deep Convolutional Neural Networks, NeurIPS 2016, section 3.1: what lies beyond two deviations is left out."""


@dataclass(frozen=True)
class Look:
    """What one place sees of the first input."""

    layer: str
    place: tuple[int, ...]
    field: Field
    seen: npt.NDArray[np.bool_] = entry(repr=False)
    """Exactly the positions that can change it, of the spatial axes of the input."""

    @property
    def is_box(self) -> bool:
        """Whether all positions of the box are seen: not so with dilation, stride on 1 x 1 layers, crosses."""
        return bool(self.seen[self.field.slices].all())

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers and lists; the set itself is left out, but for its size."""
        return {
            "layer": self.layer,
            "place": list(self.place),
            "start": list(self.field.start),
            "stop": list(self.field.stop),
            "reach": list(self.field.reach),
            "origin": list(self.field.origin),
            "positions": int(self.seen.sum()),
            "is_box": self.is_box,
        }

    def __str__(self) -> str:
        spans = [f"{a} to {b - 1}" for a, b in zip(self.field.start, self.field.stop, strict=True)]
        words = ("rows", "columns") if len(spans) == 2 else tuple(f"axis {k}" for k in range(len(spans)))
        where = ", ".join(f"{word} {span}" for word, span in zip(words, spans, strict=True))
        reach = " x ".join(map(str, self.field.reach))
        beyond = "" if self.field.reach == self.field.size else ", the rest is padding"
        holes = "" if self.is_box else f"; of this box {int(self.seen.sum()):,} positions"
        place = ",".join(map(str, self.place))
        return f"{self.layer}[{place}] sees {reach} pixels: {where}{beyond}{holes}"


@dataclass(frozen=True)
class Effective:
    """How strongly one place depends on each pixel."""

    layer: str
    place: tuple[int, ...]
    strength: npt.NDArray[np.float64] = entry(repr=False)
    """Mean of the absolute gradient over inputs and channels, of the spatial axes of the input; the largest is 1."""
    samples: int

    @property
    def pixels(self) -> int:
        """How many pixels have more than 4.55 % of the largest strength."""
        return int((self.strength > NOTICED).sum())

    @property
    def side(self) -> float:
        """Side of a square of as many pixels."""
        return float(self.pixels ** (1 / self.strength.ndim))

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers and lists; strengths with three digits."""
        return {
            "layer": self.layer,
            "place": list(self.place),
            "pixels": self.pixels,
            "side": self.side,
            "samples": self.samples,
            "strength": np.round(self.strength, 3).tolist(),
        }

    def __str__(self) -> str:
        place = ",".join(map(str, self.place))
        return (
            f"{self.layer}[{place}] depends noticeably on {self.pixels:,} pixels, as many as in a square of side "
            f"{self.side:.1f}: those with more than 4.55 % of the largest gradient, mean of {self.samples} inputs"
        )


def parse_at(text: str, names: Collection[str]) -> tuple[str, tuple[int, ...] | None]:
    """Return the layer and the place of ``layer2.0.conv1[3,4]``; None where there is no place.

    Args:
        text: What the user typed.
        names: Of the layers, which may end in a number: the second output of a call is ``chunk[1]``.

    Raises:
        UsageError: the text is something else.

    Example:
        >>> parse_at("chunk[1]", ["chunk[1]"]), parse_at("conv1[3, 4]", ["conv1"])
        (('chunk[1]', None), ('conv1', (3, 4)))
    """
    if text in names or "[" not in text:  # the second output of a call is called chunk[1]
        return text, None
    name, _, inside = text.rpartition("[")
    words = inside.rstrip("]").split(",")
    if not name or not text.endswith("]") or not all(word.strip().isdigit() for word in words):
        raise UsageError(f"anatomy: `at` must be a layer and a place such as conv1[3,4], got {text!r}. Count from 0.")
    return name, tuple(int(word) for word in words)


def middle(node: Node) -> tuple[int, ...]:
    """Return the place in the middle of a node."""
    return tuple(length // 2 for length in node.output_shape[2:])


def look(graph: Graph, node: Node, place: Sequence[int] | None) -> Look:
    """Return exactly what a place of a node sees of the first input.

    Raises:
        UsageError: as `striate.graph.receptive_field.receptive_field`; or the node does not depend on the input.
    """
    at = middle(node) if place is None else tuple(place)
    found = receptive_field(graph, node, at)
    if found is None:
        raise UsageError(
            f"anatomy: `layer` must depend on the input to see anything of it, got {node.name!r}. Take one behind it."
        )
    return Look(node.name, at, found, receptive_set(graph, node, at))


def effective(
    graph: Graph,
    model: nn.Module,
    node: Node,
    example: tuple[Any, ...],
    *,
    place: Sequence[int] | None,
    samples: int,
    seed: int,
) -> Effective:
    """Average the absolute gradient of a place with respect to the pixels over inputs.

    The gradient is that of the sum over the channels there, each with a random sign, so that they do not cancel.

    Raises:
        UsageError: no such place, a call on the way that cannot be run again, or one through which no gradient flows.
    """
    at = look(graph, node, place).place
    generator = torch.Generator().manual_seed(seed)
    images = [example[0], *(torch.randn(example[0].shape, generator=generator) for _ in range(samples))]
    total = np.zeros(example[0].shape[2:])
    with untouched(model) as guard, torch.enable_grad():
        for each in graph.nodes[: node.index + 1]:
            for parameter in each.replay.writes if each.replay else ():
                guard.keep(parameter.tensor)
        for image in images:
            x = image.to(example[0]).detach().requires_grad_()
            value = _value(graph, node, (x, *example[1:]))
            for position in at:
                value = value.select(2, position)
            signs = 2 * torch.randint(0, 2, value.shape, generator=generator).to(value) - 1
            total += _gradient((value * signs).sum(), x, node)
    largest = float(total.max())
    return Effective(node.name, at, total / largest if largest > 0 else total, len(images))


def _gradient(value: Tensor, x: Tensor, node: Node) -> npt.NDArray[np.float64]:
    gradient = torch.autograd.grad(value, x, allow_unused=True)[0] if value.requires_grad else None
    if gradient is None:
        raise UsageError(
            f"anatomy: `{node.name}` must be reached by gradients from the input to have an effective receptive field, "
            "got none: it is detached, or its values are whole numbers. Take a layer before that."
        )
    strength: npt.NDArray[np.float64] = gradient.abs().sum(dim=(0, 1)).double().cpu().numpy()
    return strength


def _value(graph: Graph, node: Node, inputs: tuple[Any, ...]) -> Tensor:
    """Run the calls up to a node again."""
    values: dict[int, Tensor] = dict(zip((given.index for given in graph.inputs), inputs, strict=True))
    for each in graph.nodes[: node.index + 1]:
        if isinstance(each.op, Input):
            continue
        if each.replay is not None:
            values[each.index] = each.replay.run(values)[each.replay.output]
        elif isinstance(each.op, Constant):
            values[each.index] = each.parameters["value"].tensor
        else:
            raise UsageError(
                f"anatomy: `{each.name}` must be a call that can be run again, got {each.call}. Take a layer before it."
            )
    return values[node.index]
