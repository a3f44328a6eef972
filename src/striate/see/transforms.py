"""Invariance, measured: how much each layer's answer changes when the image is moved, scaled or turned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from striate.errors import UsageError, nearest
from striate.graph import Graph, Node, run_nodes
from striate.see._looking import as_inputs, looking, named
from striate.see._plots import subplots
from striate.see._seen import Seen
from striate.see.maps import map_nodes
from striate.see.unit import Unit, parse_unit

__all__ = ["TRANSFORMS", "Invariance", "invariance", "transformed"]

Array: TypeAlias = npt.NDArray[Any]

TRANSFORMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "translation": ("pixels up (negative) or down", (-8, -6, -4, -2, 0, 2, 4, 6, 8)),
    "scale": ("factor", (0.5, 0.6, 0.75, 0.9, 1, 1.1, 1.3, 1.6, 2)),
    "rotation": ("degrees, against the clock", tuple(float(angle) for angle in range(0, 361, 20))),
}
"""By name: unit of the amount, and the amounts that are usual."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Invariance:
    """Changes of each layer's answer with the size of a transformation, as in figure 5 of Zeiler and Fergus."""

    transform: str
    amounts: Array
    """(A,)."""
    nodes: tuple[str, ...]
    distances: Array
    """Distance of each layer's answer from that to the image as it is, as a share of the length of the latter:
    (layers, A, N)."""
    probabilities: Array
    """Of the class, (A, N)."""
    classes: tuple[str, ...]

    def figure(self) -> Any:
        """Return a matplotlib figure: distances by layer, and the probability, against the amount.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        figure, axes = subplots(1, 2)
        figure.set_size_inches(9, 3.5)
        for axis in axes[0]:
            axis.set_axis_on()
            axis.set_xlabel(f"{self.transform}, {TRANSFORMS[self.transform][0]}")
        for name, rows in zip(self.nodes, self.distances, strict=True):
            axes[0][0].plot(self.amounts, rows.mean(axis=1), label=name)
        axes[0][0].set_ylabel("relative distance of the answer")
        axes[0][0].legend(fontsize=7)
        axes[0][1].plot(self.amounts, self.probabilities)
        axes[0][1].set_ylabel("probability of the class")
        axes[0][1].set_ylim(0, 1)
        return figure


def invariance(
    model: nn.Module,
    x: Any,
    *,
    transform: str,
    amounts: Sequence[float] | None = None,
    nodes: str | Iterable[str] | None = None,
    of: int | None = None,
) -> Invariance:
    """Move, scale or turn images step by step and measure what each layer makes of it.

    Args:
        model: Any module; it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W).
        transform: ``translation`` (vertical, pixels), ``scale`` (factor) or ``rotation`` (degrees).
        amounts: Sizes of the transformation; None: usual ones.
        nodes: Layers; None: the first and the last convolution, after activation, and the network's output.
        of: Class whose probability is followed; None: the predicted one of each image as it is.

    Raises:
        UsageError: another transformation, no amount, or a scale that is not positive.

    Source: Zeiler and Fergus, Visualizing and understanding convolutional networks, 2014, section 4.1, figure 5.
    """
    if transform not in TRANSFORMS:
        raise UsageError(
            f"invariance: `transform` must be one of {', '.join(TRANSFORMS)}, got {transform!r}."
            f"{nearest(transform, TRANSFORMS)}"
        )
    steps = tuple(TRANSFORMS[transform][1] if amounts is None else amounts)
    inputs = as_inputs(model, x, what="invariance")
    with looking(model, *inputs, keep_values=True) as graph:
        seen = Seen.of(graph, inputs, parse_unit(of) if of is not None else Unit(""))
        wanted = _layers(graph, nodes, seen.node)
        with torch.no_grad():
            plain = run_nodes(graph, *inputs, nodes=[*wanted, seen.node])
            found = list[list[Tensor]]()
            probabilities = list[Tensor]()
            for amount in steps:
                values = run_nodes(
                    graph, transformed(inputs[0], transform, amount), *inputs[1:], nodes=[*wanted, seen.node]
                )
                found.append([_distance(values[node.index], plain[node.index]) for node in wanted])
                probabilities.append(seen.unit.score(values[seen.node.index].softmax(dim=1)))
    distances = torch.stack([torch.stack(row) for row in found], dim=1)
    return Invariance(
        transform=transform,
        amounts=np.array(steps, dtype=np.float64),
        nodes=tuple(node.name for node in wanted),
        distances=distances.float().cpu().numpy(),
        probabilities=torch.stack(probabilities).float().cpu().numpy(),
        classes=seen.unit.names(),
    )


def transformed(x: Tensor, transform: str, amount: float) -> Tensor:
    """Return images moved, scaled or turned around their middle; what comes in from outside is 0.

    Args:
        x: (N, C, H, W).
        transform: A name in `TRANSFORMS`.
        amount: Pixels down, factor, or degrees against the clock. Numbers between pixels are interpolated linearly.

    Raises:
        UsageError: a scale that is not positive.

    Example:
        >>> transformed(torch.tensor([[[[1.0], [2.0], [3.0]]]]), "translation", 1).flatten().tolist()
        [0.0, 1.0, 2.0]
    """
    height, width = x.shape[2:]
    if transform == "translation":
        matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, -2 * amount / height]]
    elif transform == "scale":
        if amount <= 0:
            raise UsageError(f"invariance: `amounts` of scale must be more than 0, got {amount}. 1 leaves the image.")
        matrix = [[1 / amount, 0.0, 0.0], [0.0, 1 / amount, 0.0]]
    else:
        cos, sin = math.cos(math.radians(amount)), math.sin(math.radians(amount))
        matrix = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
    theta = torch.tensor(matrix, dtype=x.dtype, device=x.device).expand(len(x), 2, 3)
    places = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def _layers(graph: Graph, nodes: str | Iterable[str] | None, output: Node) -> list[Node]:
    if nodes is not None:
        return [named(graph, name) for name in ([nodes] if isinstance(nodes, str) else nodes)]
    found = map_nodes(graph, None, method="invariance")
    return list(dict.fromkeys([found[0], found[-1], output]))


def _distance(value: Tensor, plain: Tensor) -> Tensor:
    lengths = plain.flatten(1).norm(dim=1).clamp(min=1e-12)
    distance: Tensor = (value - plain).flatten(1).norm(dim=1) / lengths
    return distance
