"""Top patches: the places in a data set to which each channel answers most, and what in them it answers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.graph import Graph, Node, run_nodes
from striate.graph.receptive_field import receptive_field
from striate.see._looking import as_inputs, looking
from striate.see._plots import grid, signed_image, subplots
from striate.see._rewriting import project, rules_for
from striate.see.maps import map_nodes
from striate.see.unit import Located

__all__ = ["TopPatches", "top_patches"]

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class TopPatches:
    """The strongest places of each channel of one layer, the strongest first; at most one from an image."""

    node: str
    channels: Array
    """Which channels, (C,)."""
    activations: Array
    """(C, k)."""
    images: Array
    """Number of the image in the data, from 0, int64, (C, k)."""
    positions: Array
    """Row and column in the layer, int64, (C, k, 2)."""
    corners: Array
    """First row and column of the receptive field in the image; negative in padding, int64, (C, k, 2)."""
    patches: Array
    """Receptive fields cut out of the images, (C, k, C_in, h, w); 0 outside the image. A field larger than the image is
    the image."""
    projections: Array | None
    """Of the deconvnet, cut out the same, (C, k, C_in, h, w)."""
    notes: tuple[str, ...] = ()
    """Why there are no projections; which nodes they passed by the gradient."""

    def figure(self, *, channels: int = 16) -> Any:
        """Return a matplotlib figure: for each of the first channels its patches, and below them the projections.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        shown = min(channels, len(self.channels))
        across = min(4, shown)
        kinds = 1 if self.projections is None else 2
        figure, axes = subplots(-(-shown // across), across * kinds)
        flat = axes.ravel()
        for number in range(shown):
            flat[kinds * number].imshow(self.sheet(number), interpolation="nearest")
            flat[kinds * number].set_title(f"{self.node}[{self.channels[number]}]", fontsize=8)
            if self.projections is not None:
                flat[kinds * number + 1].imshow(self.sheet(number, projected=True), interpolation="nearest")
        return figure

    def sheet(self, number: int, *, projected: bool = False) -> Array:
        """Return the patches of one channel as one picture, (H', W', 3) of 0 ... 1, three beside each other for nine.

        Args:
            number: Place in `channels`.
            projected: The projections instead, 0 as grey.
        """
        source = self.projections if projected and self.projections is not None else self.patches
        tiles = [signed_image(tile, around_zero=projected) for tile in source[number]]
        columns = int(np.ceil(np.sqrt(len(tiles))))
        return grid(np.stack(tiles), columns=columns)


def top_patches(
    model: nn.Module,
    data: Any,
    *,
    nodes: str | Iterable[str] | None = None,
    channels: Iterable[int] | None = None,
    k: int = 9,
    project_patches: bool = True,
    batch_size: int = 64,
    progress: bool = False,
) -> tuple[TopPatches, ...]:
    """Find the k images to which each channel of some layers answers most, and where, in one pass over the data.

    What is kept are the best k of each channel, so memory does not grow with the data.

    Args:
        model: Any module; it is as it was afterwards.
        data: Images as the network takes them: a tensor or array (N, C, H, W), or batches of them, alone or first in a
            tuple, as a loader of PyTorch yields.
        nodes: Layers with positions; None: every convolution after its normalisation and activation.
        channels: Which channels of each; None: all.
        k: Places of each channel, at most one in an image.
        project_patches: Also send each activation back to its image by `deconvnet`.
        batch_size: Images a pass. Results agree for all, but for the rounding of PyTorch's convolutions.
        progress: Show a bar on standard error.

    Returns:
        One for each layer. With fewer than k images there are as many places as images.

    Raises:
        UsageError: no image, k or `batch_size` below 1, a channel that is not there, a layer without positions.

    Source: Zeiler and Fergus, Visualizing and understanding convolutional networks, 2014, section 4 and figure 2.
    """
    if k < 1 or batch_size < 1:
        raise UsageError(f"top_patches: `k` and `batch_size` must be at least 1, got {k} and {batch_size}.")
    chunks = _chunks(model, data, batch_size)
    first = next(chunks, None)
    if first is None:
        raise UsageError("top_patches: `data` must hold at least one image, got none.")
    with looking(model, first) as graph:
        wanted = map_nodes(graph, nodes, method="top_patches")
        chosen = None if channels is None else _checked(channels, wanted)
        tops = [_Top(node, k, torch.arange(node.output_shape[1]) if chosen is None else chosen) for node in wanted]
        kept: dict[int, Tensor] = {}
        seen = 0
        for chunk in _shown(_with_first(first, chunks), data, batch_size, progress=progress):
            with torch.no_grad():
                values = run_nodes(graph, chunk, nodes=wanted)
            for top in tops:
                top.add(values[top.node.index], seen)
            needed = {int(i) for top in tops for i in top.images.unique()}
            kept = {i: image for i, image in kept.items() if i in needed}
            kept |= {seen + i: chunk[i].clone() for i in range(len(chunk)) if seen + i in needed}
            seen += len(chunk)
        return tuple(_cut(graph, top, kept, project_patches=project_patches, batch_size=batch_size) for top in tops)


@dataclass(eq=False)
class _Top:
    """The best places of the channels of a node so far."""

    node: Node
    k: int
    channels: Tensor
    activations: Tensor = field(init=False)
    images: Tensor = field(init=False)
    places: Tensor = field(init=False)
    """Row times width plus column."""

    def __post_init__(self) -> None:
        empty = (len(self.channels), 0)
        self.activations, self.images = torch.empty(empty), torch.empty(empty, dtype=torch.int64)
        self.places = torch.empty(empty, dtype=torch.int64)

    def add(self, value: Tensor, first: int) -> None:
        """Take note of a batch whose first image has a number."""
        best, places = value[:, self.channels].flatten(2).max(dim=2)  # of equal ones, the first
        images = torch.arange(first, first + len(value)).expand(best.shape[1], -1)
        activations = torch.cat([self.activations, best.T.float().cpu()], dim=1)
        order = activations.sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        self.activations = activations.gather(1, order)
        self.images = torch.cat([self.images, images], dim=1).gather(1, order)
        self.places = torch.cat([self.places, places.T.cpu()], dim=1).gather(1, order)

    def index(self) -> Tensor:
        """Return channel, row and column of all places, one after the other, (C k, 3)."""
        width = self.node.output_shape[3]
        channels = self.channels[:, None].expand_as(self.places)
        return torch.stack([channels, self.places // width, self.places % width], dim=2).flatten(0, 1)


def _cut(graph: Graph, top: _Top, kept: dict[int, Tensor], *, project_patches: bool, batch_size: int) -> TopPatches:
    """Cut the receptive fields, and their projections, out of the images."""
    index, numbers = top.index(), top.images.flatten().tolist()
    corners, size = _fields(graph, top.node, index)
    images = [kept[number] for number in numbers]
    patches = [_crop(image, corner, size) for image, corner in zip(images, corners.tolist(), strict=True)]
    found = _projected(graph, top.node, images, index, batch_size) if project_patches else (None, ())
    projections, notes = found
    shape = (*top.activations.shape,)

    def shaped(parts: list[Tensor]) -> Array:
        array: Array = torch.stack(parts).float().cpu().numpy()
        return array.reshape(*shape, *array.shape[1:])

    cut = None
    if projections is not None:
        cut = shaped([_crop(p, corner, size) for p, corner in zip(projections, corners.tolist(), strict=True)])
    return TopPatches(
        node=top.node.name,
        channels=top.channels.numpy(),
        activations=top.activations.numpy(),
        images=top.images.numpy(),
        positions=index[:, 1:].reshape(*shape, 2).numpy(),
        corners=corners.reshape(*shape, 2).numpy(),
        patches=shaped(patches),
        projections=cut,
        notes=notes,
    )


def _fields(graph: Graph, node: Node, index: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Return the first row and column of each place's receptive field, (M, 2), and the size that holds all of them."""
    sides = graph.inputs[0].output_shape[2:]
    known: dict[tuple[int, ...], tuple[tuple[int, ...], tuple[int, ...]]] = {}
    corners, height, width = list[tuple[int, ...]](), 1, 1
    for place in map(tuple, index[:, 1:].tolist()):
        if place not in known:
            found = receptive_field(graph, node, place)
            origin, reach = ((0, 0), sides) if found is None else (found.origin, found.reach)
            axes = [(0, s) if r >= s else (o, r) for o, r, s in zip(origin, reach, sides, strict=True)]
            known[place] = (tuple(start for start, _ in axes), tuple(length for _, length in axes))
        corner, (own_height, own_width) = known[place]
        corners.append(corner)
        height, width = max(height, own_height), max(width, own_width)
    return torch.tensor(corners), (height, width)


def _crop(image: Tensor, corner: list[int], size: tuple[int, int]) -> Tensor:
    """Cut a window out of an image (C, H, W); outside the image it is 0."""
    window = image.new_zeros((len(image), *size))
    (top, left), (height, width) = corner, image.shape[1:]
    first_row, first_column = max(top, 0), max(left, 0)
    last_row, last_column = min(top + size[0], height), min(left + size[1], width)
    part = image[:, first_row:last_row, first_column:last_column]
    window[:, first_row - top : last_row - top, first_column - left : last_column - left] = part
    return window


def _projected(
    graph: Graph, node: Node, images: list[Tensor], index: Tensor, batch_size: int
) -> tuple[list[Tensor] | None, tuple[str, ...]]:
    """Return the deconvnet's projection of each place onto its whole image; None with the reason where it refuses."""
    try:
        rules = rules_for(graph, node, method="deconvnet")
    except UsageError as error:
        return None, (f"no projections: {error}",)
    found = list[Tensor]()
    for start in range(0, len(images), batch_size):
        batch = torch.stack(images[start : start + batch_size])
        located = Located(node, index[start : start + batch_size])
        projection, _, _ = project(graph, (batch,), rules, located, node=node, is_guided=False)
        found += list(projection)
    return found, tuple(f"passed by its gradient: {name}" for name in rules.by_gradient)


def _chunks(model: nn.Module, data: Any, batch_size: int) -> Iterator[Tensor]:
    """Yield the images in batches of one size, however they come."""
    whole = isinstance(data, Tensor | np.ndarray)
    waiting = list[Tensor]()
    for item in (data[start : start + batch_size] for start in range(0, len(data), batch_size)) if whole else data:
        images = item if isinstance(item, Tensor | np.ndarray) else getattr(item, "inputs", None)
        if images is None:
            images = item[0] if isinstance(item, tuple | list) and item else item
        if len(images) == 0:
            continue
        waiting.append(as_inputs(model, images, what="top_patches")[0])
        while sum(map(len, waiting)) >= batch_size:
            joined = torch.cat(waiting)
            yield joined[:batch_size]
            waiting = [joined[batch_size:]]
    rest = torch.cat(waiting) if waiting else None
    if rest is not None and len(rest):
        yield rest


def _with_first(first: Tensor, others: Iterator[Tensor]) -> Iterator[Tensor]:
    yield first
    yield from others


def _shown(chunks: Iterator[Tensor], data: Any, batch_size: int, *, progress: bool) -> Iterator[Tensor]:
    """Pass the chunks on, with a bar on standard error if asked."""
    if not progress:
        yield from chunks
        return
    from rich.console import Console
    from rich.progress import track

    total = -(-len(data) // batch_size) if isinstance(data, Tensor | np.ndarray) else None
    yield from track(chunks, description="top patches", total=total, console=Console(stderr=True), transient=True)


def _checked(channels: Iterable[int], nodes: list[Node]) -> Tensor:
    chosen = list(channels)
    fewest = min(node.output_shape[1] for node in nodes)
    if not chosen or any(not 0 <= channel < fewest for channel in chosen):
        raise UsageError(
            f"top_patches: `channels` must be from 0 to {fewest - 1}, got {chosen}. None takes all of each layer."
        )
    return torch.tensor(chosen)
