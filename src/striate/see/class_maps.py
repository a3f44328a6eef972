"""Grad-CAM: where a layer's feature maps speak for a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from striate import ops
from striate.errors import UsageError
from striate.graph import Graph, Node, run_nodes
from striate.see._looking import as_inputs, dependents, looking, named, path_to, sides
from striate.see._seen import Seen
from striate.see.attribution import Attribution
from striate.see.unit import Unit, parse_unit

__all__ = ["grad_cam", "last_maps"]

CONVOLUTIONS = (ops.Convolution, ops.TransposedConvolution, ops.TrueConvolution, ops.TiledConvolution)
ENDS_MAPS = (ops.MaxPool, ops.AvgPool, ops.AdaptiveAvgPool, ops.AdaptiveMaxPool, ops.SumPool, ops.LpPool)


def grad_cam(model: nn.Module, x: Any, *, of: Unit | str | int | None = None, layer: str | None = None) -> Attribution:
    r"""Weigh a layer's feature maps by the mean gradient of a class, and keep where their sum speaks for it.

    $\alpha_k = \frac{1}{hw} \sum_{ij} \partial s / \partial A_{kij}$, map $= \max(0, \sum_k \alpha_k A_k)$.

    Args:
        model: Any module; it is as it was afterwards.
        x: Images as the network takes them, (N, C, H, W), or a tuple of inputs of which the first is looked at.
        of: A class, another unit, or None: the predicted class.
        layer: A node with positions; None: the last feature maps on the way to the unit, of the last convolution with
            its normalisation, activation, addition and concatenation. `notes` names it.

    Returns:
        Values (N, 1, h, w) of the layer's size, as defined; `heat` brings them to the image's.

    Raises:
        UsageError: there is no layer with positions on the way, or the one that is named has none.

    Source: Selvaraju et al., Grad-CAM, 2017, section 3.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(2, 1, bias=False))
        >>> _ = nn.init.ones_(net[0].weight), nn.init.ones_(net[2].weight)
        >>> grad_cam(net, torch.tensor([[[[1.0, -1.0]]]])).values.tolist()
        [[[[1.0, 0.0]]]]
    """
    inputs = as_inputs(model, x, what="grad_cam")
    with looking(model, *inputs, keep_values=True) as graph:
        seen = Seen.of(graph, inputs, parse_unit(of))
        node = _named(graph, seen.node, layer) if layer else last_maps(graph, seen.node, method="grad_cam")
        maps, grads = maps_and_gradients(seen, node)
    values = (grads.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True).clamp(min=0)
    return seen.attribution(
        "grad_cam", values, notes=(f"feature maps of {node.name}, {sides(node)[0]} x {sides(node)[1]}",)
    )


def last_maps(graph: Graph, node: Node, *, method: str) -> Node:
    """Return the last feature maps on the way to a node.

    Those of the last convolution there, followed through what keeps their size: normalisation, activation, dropout,
    addition, concatenation.

    Raises:
        UsageError: no convolution with positions is on the way.
    """
    way = path_to(graph, node)
    found = [n for n in way if isinstance(n.op, CONVOLUTIONS) and sides(n) and n.index != node.index]
    if not found:
        raise UsageError(
            f"{method}: there must be a layer with positions (N, C, H, W) on the way to `{node.name}`, got none. "
            "gradient and integrated_gradients need none."
        )
    current, on_way = found[-1], {n.index for n in way}
    while True:
        users = [user for user in graph.users(current) if user.index in on_way]
        if len(users) != 1 or sides(users[0]) != sides(current) or isinstance(users[0].op, ENDS_MAPS):
            return current
        if users[0].index == node.index:
            return current
        current = users[0]


def maps_and_gradients(seen: Seen, node: Node) -> tuple[Tensor, Tensor]:
    """Return a node's values and the gradient of the unit by them, both (N, C, h, w)."""
    leaf: dict[int, Tensor] = {}

    def replace(current: Node, values: Mapping[int, Tensor]) -> Tensor | None:
        if current.index != node.index or current.replay is None:
            return None
        with torch.no_grad():
            value = current.replay.run(values)[current.replay.output]
        leaf[0] = value.detach().requires_grad_()
        return leaf[0]

    with torch.enable_grad():
        value = run_nodes(seen.graph, *seen.inputs, nodes=[seen.node], replace=replace)[seen.node.index]
        if not leaf:
            raise UsageError(
                f"grad_cam: `layer` must be a layer whose call has one output, got `{node.name}`. Name a later one."
            )
        score = seen.unit.score(value)
        (grads,) = torch.autograd.grad(score.sum(), leaf[0])
    return leaf[0].detach(), grads


def _named(graph: Graph, unit: Node, layer: str) -> Node:
    node = named(graph, layer)
    if not sides(node) or unit.index not in dependents(graph, node) or unit.index == node.index:
        raise UsageError(
            f"grad_cam: `layer` must have positions, (N, C, H, W), and lie before `{unit.name}`, got `{layer}` with "
            f"{node.output_shape}. Leave it out to take the last feature maps."
        )
    return node
