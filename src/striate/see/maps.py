"""Feature maps: what every channel of a layer answers to an image, place by place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import nn

from striate import ops
from striate.errors import UsageError
from striate.graph import Graph, Node
from striate.see._looking import as_inputs, looking, named, sides, varying
from striate.see._plots import heat_colours, signed_image, subplots
from striate.see.class_maps import CONVOLUTIONS

__all__ = ["FeatureMaps", "feature_maps", "map_nodes"]

Array: TypeAlias = npt.NDArray[Any]

KEEPS_A_CHANNEL = (ops.BatchNorm, ops.GroupNorm, ops.InstanceNorm, ops.Elementwise, ops.Dropout, ops.PReLU)


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMaps:
    """The maps of one layer for a batch of images."""

    node: str
    values: Array
    """(N, C, h, w)."""
    inputs: Array
    """What the network was given, (N, C, H, W)."""

    def strongest(self, count: int = 9) -> Array:
        """Return for each image the channels of the largest sums, the largest first: int64, (N, count)."""
        order: Array = np.argsort(-self.values.sum(axis=(2, 3)), axis=1, kind="stable")[:, :count]
        return order

    def figure(self, *, image: int = 0, channels: int = 64) -> Any:
        """Return a matplotlib figure of one image: the input, then a labelled grid of its first channels.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        shown = self.values[image][:channels]
        across = min(8, len(shown) + 1)
        figure, axes = subplots(-(-(len(shown) + 1) // across), across)
        axes.ravel()[0].imshow(signed_image(self.inputs[image], around_zero=False), interpolation="nearest")
        axes.ravel()[0].set_title("input", fontsize=9)
        for channel, (axis, pixels) in enumerate(zip(axes.ravel()[1:], shown, strict=False)):
            axis.imshow(heat_colours(pixels), interpolation="nearest")
            axis.set_title(f"{self.node}[{channel}]", fontsize=9)
        return figure


def feature_maps(model: nn.Module, x: Any, *, nodes: str | Iterable[str] | None = None) -> tuple[FeatureMaps, ...]:
    """Return what the channels of some layers answer to images.

    Args:
        model: Any module; it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W), or a tuple of inputs.
        nodes: Names in ``capture(model, x)``; None: every convolution after its normalisation and activation.

    Raises:
        UsageError: a layer without positions, or no layer of that name.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten())
        >>> [(maps.node, maps.values.shape) for maps in feature_maps(net, torch.ones(1, 1, 5, 5))]
        [('1', (1, 2, 3, 3))]
    """
    inputs = as_inputs(model, x, what="feature_maps")
    with looking(model, *inputs, keep_values=True) as graph:
        wanted = map_nodes(graph, nodes, method="feature_maps")
        values = {node.index: graph.value(node).detach() for node in wanted}
    image = inputs[0].float().cpu().numpy()
    return tuple(
        FeatureMaps(node=node.name, values=values[node.index].float().cpu().numpy(), inputs=image) for node in wanted
    )


def map_nodes(graph: Graph, nodes: str | Iterable[str] | None, *, method: str) -> list[Node]:
    """Return the nodes of names; None: every convolution, followed through normalisation and activation.

    Raises:
        UsageError: a node without positions, or the network has no convolution.
    """
    if nodes is None:
        live = varying(graph)
        starts = [n for n in graph.nodes if isinstance(n.op, CONVOLUTIONS) and sides(n) and n.index in live]
        found = list(dict.fromkeys(_activated(graph, node) for node in starts))
        if not found:
            raise UsageError(
                f"{method}: `nodes` must be named, because the network has no convolution of images. "
                "print(striate.capture(model, x)) lists its nodes."
            )
        return found
    wanted = [named(graph, name) for name in ([nodes] if isinstance(nodes, str) else nodes)]
    for node in wanted:
        if not sides(node):
            raise UsageError(
                f"{method}: `nodes` must have positions, (N, C, H, W), got `{node.name}` with {node.output_shape}. "
                "Name an earlier layer."
            )
    return wanted


def _activated(graph: Graph, node: Node) -> Node:
    """Follow a convolution through its normalisation and activation, as long as nothing else reads in between."""
    while len(users := graph.users(node)) == 1:
        (user,) = users
        if not isinstance(user.op, KEEPS_A_CHANNEL) or user.output_shape != node.output_shape:
            break
        if len(user.inputs) != 1:
            break
        node = user
    return node
