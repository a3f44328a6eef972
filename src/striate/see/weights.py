"""Filters as images, beside those of another network and beside filters made by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import nn

from striate.errors import UsageError
from striate.see._looking import as_inputs, looking, named
from striate.see._plots import subplots
from striate.see.attribution import resized
from striate.see.class_maps import CONVOLUTIONS
from striate.work.kernels import list_kernels

__all__ = ["Filters", "HandMade", "Similarity", "filters", "hand_made", "similarity"]

Array: TypeAlias = npt.NDArray[Any]

SHUFFLES = 20
ANGLES = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Filters:
    """The filters of one convolution."""

    node: str
    values: Array
    """(C_out, C_in, kH, kW)."""

    def tiles(self) -> Array:
        """Return each filter as a picture, (C_out, kH, kW, 3): grey is 0, one scale for all.

        Three input channels are colours; of others the mean is shown.
        """
        scale = float(np.abs(self.values).max()) or 1.0
        return np.stack([_tile(values / scale) for values in self.values])

    def figure(self, *, count: int = 64) -> Any:
        """Return a matplotlib figure of the first filters.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        tiles = self.tiles()[:count]
        across = min(8, len(tiles))
        figure, axes = subplots(-(-len(tiles) // across), across)
        for number, (axis, tile) in enumerate(zip(axes.ravel(), tiles, strict=False)):
            axis.imshow(tile, interpolation="nearest")
            axis.set_title(f"{self.node}[{number}]", fontsize=8)
        return figure


@dataclass(frozen=True, kw_only=True, eq=False)
class Similarity:
    """How like the filters of two first layers are, paired one to one."""

    cosines: Array
    """Of every filter of the first network with every one of the second, their means taken out: (A, B), -1 to 1."""
    pairs: Array
    """Index in the first and in the second, int64, (min(A, B), 2): the pairing of the largest sum of magnitudes."""
    magnitudes: Array
    """Of the pairs' cosines, the largest first."""
    by_chance: float
    """Mean magnitude of such pairs when the numbers inside each filter of the second network are shuffled."""

    def __str__(self) -> str:
        return (
            f"{len(self.pairs)} pairs of filters: mean |cosine| {self.magnitudes.mean():.2f}, "
            f"{self.by_chance:.2f} when the second network's numbers are shuffled"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class HandMade:
    """The filter made by hand that each learned one is most like."""

    node: str
    names: tuple[str, ...]
    """``sobel-x``, ``gabor 45 degrees, edge`` ..."""
    cosines: Array
    """With it, -1 to 1."""
    by_chance: float
    """Mean magnitude of the best cosine when the numbers inside each filter are shuffled."""

    def __str__(self) -> str:
        rows = [f"{self.node}[{i}]  {name:<26} {self.cosines[i]:+.2f}" for i, name in enumerate(self.names)]
        mean = np.abs(self.cosines).mean()
        return "\n".join(
            [f"filter, most like, cosine (mean magnitude {mean:.2f}, {self.by_chance:.2f} by chance)", *rows]
        )


def filters(model: nn.Module, example: Any = None, *, node: str | None = None) -> Filters:
    """Return the filters of a convolution.

    Args:
        model: Any module; functional calls count.
        example: One input; None: only `nn.Conv2d` modules are found, in the order in which the network holds them, and
            `node` is the path of one.
        node: A convolution in ``capture(model, example)``; None: the first. Filters of deeper layers say little as
            images: `top_patches` shows what they answer to.

    Raises:
        UsageError: the network has no convolution, or the node is none.

    Example:
        >>> import torch
        >>> filters(nn.Conv2d(3, 8, 5), torch.ones(1, 3, 9, 9)).values.shape
        (8, 3, 5, 5)
    """
    if example is None:
        return _of_modules(model, node)
    inputs = as_inputs(model, example, what="filters")
    with looking(model, *inputs) as graph:
        found = [n for n in graph.nodes if isinstance(n.op, CONVOLUTIONS) and len(n.output_shape) == 4]
        if node is not None:
            found = [n for n in found if n.index == named(graph, node).index]
        if not found:
            what = "network" if node is None else f"`node` {node!r}"
            raise UsageError(
                f"filters: the {what} must be or hold a convolution of images, got none. "
                "print(striate.capture(model, example)) lists the nodes."
            )
        first = found[0]
        weight = first.parameters.get("weight")
        if weight is None:
            raise UsageError(
                f"filters: `{first.name}` must have a weight of its own, but the network computes it. "
                "Name another convolution."
            )
        return Filters(node=first.name, values=weight.tensor.detach().float().cpu().numpy().copy())


def _of_modules(model: nn.Module, node: str | None) -> Filters:
    found = {path: module for path, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    path = next(iter(found), None) if node is None else node
    if path is None or path not in found:
        raise UsageError(
            f"filters: the network must hold {'an nn.Conv2d' if node is None else f'an nn.Conv2d named {node!r}'}, got "
            f"{', '.join(list(found)[:8]) or 'none'}. Give an example, to find functional convolutions too."
        )
    return Filters(node=path, values=found[path].weight.detach().float().cpu().numpy().copy())


def similarity(first: Filters, second: Filters, *, seed: int = 0) -> Similarity:
    """Pair the filters of two networks one to one and say how like they are, beside what chance gives.

    Args:
        first: Of one network.
        second: Of another, with kernels of the same size and input channels.
        seed: Of the shuffles.

    Raises:
        UsageError: filters of other sizes.
    """
    if first.values.shape[1:] != second.values.shape[1:]:
        raise UsageError(
            f"similarity: `second` must have filters of shape {first.values.shape[1:]} as `first`, got "
            f"{second.values.shape[1:]}. Compare networks whose first layers have kernels of one size."
        )
    own, other = _directions(first.values), _directions(second.values)
    cosines = own @ other.T
    pairs = _paired(cosines)
    magnitudes = np.abs(cosines[pairs[:, 0], pairs[:, 1]])
    order = np.argsort(-magnitudes, kind="stable")
    generator = np.random.default_rng(seed)
    chance = []
    for _ in range(SHUFFLES):
        shuffled = own @ generator.permuted(other, axis=1).T
        at = _paired(shuffled)
        chance.append(np.abs(shuffled[at[:, 0], at[:, 1]]).mean())
    return Similarity(
        cosines=cosines, pairs=pairs[order], magnitudes=magnitudes[order], by_chance=float(np.mean(chance))
    )


def hand_made(learned: Filters, *, seed: int = 0) -> HandMade:
    """Compare filters with those made by hand: the kernels of the course texts, and waves under a bell (Gabor).

    Filters are compared as grey ones, summed over their input channels. Kernels of another size are stretched.

    Args:
        learned: Filters of at least 3 x 3.
        seed: Of the shuffles.

    Raises:
        UsageError: smaller filters.
    """
    height, width = learned.values.shape[2:]
    if min(height, width) < 3:
        raise UsageError(f"hand_made: `learned` must have filters of at least 3 x 3, got {height} x {width}.")
    grey = learned.values.sum(axis=1).astype(np.float64)
    bank = _bank(height, width)
    made = np.stack([kernel.ravel() / np.linalg.norm(kernel) for kernel in bank.values()])
    flat = grey.reshape(len(grey), -1)
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-30)
    cosines = unit @ made.T
    best = np.abs(cosines).argmax(axis=1)
    generator = np.random.default_rng(seed)
    chance = [np.abs(generator.permuted(unit, axis=1) @ made.T).max(axis=1).mean() for _ in range(SHUFFLES)]
    names = tuple(bank)
    return HandMade(
        node=learned.node,
        names=tuple(names[i] for i in best),
        cosines=cosines[np.arange(len(best)), best],
        by_chance=float(np.mean(chance)),
    )


def _tile(weights: Array) -> Array:
    """Return one filter (C_in, kH, kW) of -1 ... 1 as a picture (kH, kW, 3)."""
    shades = 0.5 + 0.5 * (weights if len(weights) == 3 else weights.mean(axis=0, keepdims=True).repeat(3, axis=0))
    tile: Array = shades.transpose(1, 2, 0)
    return tile


def _directions(values: Array) -> Array:
    flat = values.reshape(len(values), -1).astype(np.float64)
    flat = flat - flat.mean(axis=1, keepdims=True)
    directions: Array = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-30)
    return directions


def _paired(cosines: Array) -> Array:
    from scipy.optimize import linear_sum_assignment

    return np.stack(linear_sum_assignment(-np.abs(cosines)), axis=1)


def _bank(height: int, width: int) -> dict[str, Array]:
    """Return the filters made by hand, of one size, without those that are flat."""
    bank: dict[str, Array] = {}
    for kernel in list_kernels():
        values = np.asarray(kernel.weights, dtype=np.float64)
        if values.ndim == 2 and min(values.shape) > 1:
            bank[kernel.name] = resized(values[None], (height, width))[0]
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
    bell = np.exp(-(x**2 + y**2) / (2 * (min(height, width) / 4) ** 2))
    for step in range(ANGLES):
        angle = np.pi * step / ANGLES
        along = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / min(height, width)
        degrees = f"{180 * step / ANGLES:g} degrees"
        bank[f"gabor {degrees}, edge"] = bell * np.sin(along)
        bank[f"gabor {degrees}, line"] = bell * (np.cos(along) - (bell * np.cos(along)).sum() / bell.sum())
    return {name: kernel for name, kernel in bank.items() if np.linalg.norm(kernel) > 0}
