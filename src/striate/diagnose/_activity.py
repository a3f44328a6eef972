"""What activations do over all images: channels that are never active, outputs at the ends of sigmoid and tanh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from striate.graph import Graph

__all__ = ["Activity", "measure_activity"]

RELUS = frozenset({"relu", "relu6"})
ENDS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "hardtanh": (-1.0, 1.0), "hardsigmoid": (0.0, 1.0)}
NEAR = 0.02
"""Of the way from one end to the other: there the slope of a sigmoid is under 8 % of its largest."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Activity:
    """One activation over all images."""

    name: str
    """The node of the graph."""
    call: str
    images: int
    largest: Tensor
    """Of each channel, over all images and positions."""
    saturated: float
    """Share of outputs at an end; 0 for ReLU."""

    @property
    def dead(self) -> list[int]:
        """Channels of a ReLU that are 0 for every image at every position: exact, not sampled."""
        return (self.largest <= 0).nonzero()[:, 0].tolist() if self.call in RELUS else []


class _Listening(TorchFunctionMode):
    """Sees each activation as it is called; in the order of the graph's nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Tensor, float, int]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").rstrip("_")
        if (name in RELUS or name in ENDS) and isinstance(output, Tensor) and output.ndim > 1:
            value = output.detach()
            axes = [axis for axis in range(value.ndim) if axis != 1]
            ends = ENDS.get(name)
            saturated = 0.0
            if ends is not None:
                low, high = ends[0] + NEAR * (ends[1] - ends[0]), ends[1] - NEAR * (ends[1] - ends[0])
                saturated = float(((value < low) | (value > high)).float().mean())
            self.calls.append((name, value.amax(axes), saturated, len(value)))
        return output


@torch.no_grad()
def measure_activity(model: nn.Module, inputs: Tensor, *, graph: Graph | None, size: int = 256) -> list[Activity]:
    """Run a network in the mode it is in over all inputs, and return what each of its activations did.

    Args:
        model: A copy; it may be a network that keeps statistics.
        inputs: (N, ...), prepared.
        graph: Of the network in this mode, for the names; None: they are counted.
        size: Images at a time.
    """
    whole = list[Activity]()
    for batch in inputs.split(size):
        listening = _Listening()
        with listening:
            model(batch)
        found = [
            Activity(name=f"{name} {number}", call=name, images=count, largest=largest, saturated=saturated)
            for number, (name, largest, saturated, count) in enumerate(listening.calls)
        ]
        whole = found if not whole else [_added(a, b) for a, b in zip(whole, found, strict=False)]
    return _named(whole, graph)


def _added(a: Activity, b: Activity) -> Activity:
    images = a.images + b.images
    return Activity(
        name=a.name,
        call=a.call,
        images=images,
        largest=torch.maximum(a.largest, b.largest),
        saturated=(a.saturated * a.images + b.saturated * b.images) / images,
    )


def _named(found: list[Activity], graph: Graph | None) -> list[Activity]:
    nodes = [] if graph is None else [n for n in graph.nodes[: graph._network_end] if n.call in RELUS or n.call in ENDS]
    if [node.call for node in nodes] != [activity.call for activity in found]:
        return found
    return [
        Activity(name=node.name, call=a.call, images=a.images, largest=a.largest, saturated=a.saturated)
        for node, a in zip(nodes, found, strict=True)
    ]
