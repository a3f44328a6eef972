"""Which sizes of images a network takes, and which suit it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from striate.anatomy.sight import Sight
from striate.errors import StriateError
from striate.graph import Graph, Node
from striate.graph._untouched import untouched

__all__ = ["Sizes", "input_sizes", "looks_around"]


@dataclass(frozen=True)
class Sizes:
    """Sides of square images, in pixels."""

    given: tuple[int, int]
    """Of the example, rows first."""
    smallest: int | None
    """The network runs on it, and not on one pixel less; None: not on any square image up to the example's."""
    is_fixed: bool
    """Whether it refuses images of twice the size, as networks do that flatten into a dense layer."""
    useful: int | None
    """The smallest on which every window still finds something that its layer's input has not seen; None: unknown."""
    best: int | None
    """The smallest from `useful` on that all strides divide."""
    stride: int | None
    """Pixels from one unit to the next in the coarsest map."""


def input_sizes(graph: Graph, model: nn.Module, example: Tensor, sights: dict[int, Sight | str | None]) -> Sizes | None:
    """Return the sizes that suit a network, of one input of images; None for other networks.

    The smallest is found by running the network on squares, halving the range each time.

    Args:
        graph: The captured graph.
        model: What was captured.
        example: Its input, (N, C, H, W).
        sights: Receptive fields by the index of the node.
    """
    if len(graph.inputs) != 1 or example.ndim != 4:
        return None
    rows, columns = int(example.shape[2]), int(example.shape[3])
    side = min(rows, columns)
    jumps = [j for s in sights.values() if isinstance(s, Sight) for j in s.jump if j]
    stride = max((abs(jump) for jump in jumps), default=None)
    seen = _seen_before(graph, sights)
    useful = None if seen is None else seen + 1
    best = None if useful is None or stride is None else math.ceil(useful / stride) * stride
    return Sizes(
        given=(rows, columns),
        smallest=_smallest(model, example, side),
        is_fixed=not _runs(model, example, 2 * side),
        useful=useful,
        best=best,
        stride=stride,
    )


def looks_around(graph: Graph, node: Node) -> bool:
    """Whether a node is a layer with a window of more than one position: a convolution or a pool that slides."""
    from striate.ops._pooling import Pool
    from striate.ops.convolution import Convolution

    if isinstance(node.op, Convolution):
        weight = node.parameters.get("weight")
        shape = tuple(weight.tensor.shape) if weight else node.computed["weight"].output_shape
        return max(shape[2:]) > 1
    return isinstance(node.op, Pool) and max(node.op.kernel_size) > 1


def _seen_before(graph: Graph, sights: dict[int, Sight | str | None]) -> int | None:
    """Return the largest field that a layer with a window begins with, along the axis where it is shortest."""
    fields = [sights.get(node.inputs[0].index) for node in graph.nodes if looks_around(graph, node)]
    if any(isinstance(field, str) for field in fields):
        return None
    return max((min(field.size) for field in fields if isinstance(field, Sight)), default=None)


def _smallest(model: nn.Module, example: Tensor, side: int) -> int | None:
    """Halve the range between a size that does not run and one that does."""
    if not _runs(model, example, side):
        return None
    low, high = 0, side
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _runs(model, example, middle) else (middle, high)
    return high


def _runs(model: nn.Module, example: Tensor, side: int) -> bool:
    image = example.new_zeros((*example.shape[:2], side, side))
    with untouched(model), torch.no_grad():
        try:
            result: Any = model(image)
        except (RuntimeError, ValueError, IndexError, TypeError, StriateError):  # what a size may raise in user code
            return False
    return not _is_empty(result)


def _is_empty(result: Any) -> bool:
    tensors: Iterable[Any] = result if isinstance(result, tuple | list) else (result,)
    return any(isinstance(tensor, Tensor) and tensor.numel() == 0 for tensor in tensors)
