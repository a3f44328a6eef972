"""The backward pass with other rules at the rectifiers: what deconvnet and guided backpropagation share.

Every node on the way from the image to the unit must be one of three kinds: a rectifier, whose rule the method
replaces; an operation made of straight pieces, whose gradient is the transposed filter, the switch of a maximum, or the
same number; or a normalisation by the data, which is passed by its gradient and named. Whatever is not on these lists
is refused, so that an unknown nonlinearity never passes as the plain gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from striate import ops
from striate.errors import UsageError
from striate.graph import Constant, Graph, Node, Opaque, run_nodes
from striate.graph.moves import Moves
from striate.see._looking import path_to, varying
from striate.see.unit import Located, Unit, locate

__all__ = ["Rules", "project", "rules_for"]

STRAIGHT = (
    ops.Add, ops.AdaptiveAvgPool, ops.AdaptiveMaxPool, ops.Amax, ops.Amin, ops.AvgPool, ops.BatchNorm,
    ops.ChannelShuffle, ops.Concatenate, ops.Convolution, ops.Dropout, ops.Expand, ops.Flatten, ops.Flip, ops.Identity,
    ops.Interpolate, ops.Linear, ops.MaxPool, ops.Maximum, ops.Mean, ops.Minimum, ops.Pad, ops.Permute, ops.Repeat,
    ops.Reshape, ops.Roll, ops.ScaledAdd, ops.Slice, ops.Stack, ops.Subtract, ops.SumPool, ops.TiledConvolution,
    ops.Total, ops.TransposedConvolution, ops.TrueConvolution, ops.WeightedAvgPool, Moves,
)  # fmt: skip
"""Sums with fixed weights, choices, and moves: their gradient is exact in every piece."""
IF_ONE_VARIES = (ops.Multiply, ops.Divide, ops.Matmul, ops.Where)
"""Straight where only one operand depends on the image: scales, projections, fixed masks."""
BY_THE_DATA = (ops.GroupNorm, ops.InstanceNorm, ops.LayerNorm, ops.LocalResponseNorm)


@dataclass(frozen=True, eq=False)
class Rules:
    """What happens at the nodes on the way to a unit."""

    rectifiers: Mapping[int, tuple[Node, float]]
    """By the index of nodes whose backward is replaced: the node they rectify, and where they clip from above, as
    ReLU6 does (infinity: nowhere)."""
    names: tuple[str, ...]
    """Of the rectifiers: ``relu1 (relu)``."""
    by_gradient: tuple[str, ...]


def rules_for(graph: Graph, node: Node, *, method: str) -> Rules:
    """Find the rule of every node on the way to a node.

    Raises:
        UsageError: a node bends its input in another way than a rectifier does, or striate does not know it.
    """
    live = varying(graph)
    rectifiers: dict[int, tuple[Node, float]] = {}
    names, by_gradient = list[str](), list[str]()
    for current in path_to(graph, node):
        sources = [source for source in current.sources if source.index in live]
        ceiling = _ceiling(current, sources)
        if ceiling is not None:
            rectifiers[current.index] = (sources[0], ceiling)
            names.append(f"{current.name} ({current.call})")
        elif isinstance(current.op, BY_THE_DATA) or _measures_its_batch(current):
            by_gradient.append(f"{current.name} ({current.call})")
        elif not (isinstance(current.op, STRAIGHT) or (isinstance(current.op, IF_ONE_VARIES) and len(sources) == 1)):
            _refuse(current, method=method)
    return Rules(rectifiers, tuple(names), tuple(by_gradient))


def project(
    graph: Graph,
    inputs: tuple[Tensor, ...],
    rules: Rules,
    unit: Unit | Located,
    *,
    node: Node,
    is_guided: bool,
) -> tuple[Tensor, Located, Tensor]:
    """Send the activation of a unit back to the input, rectified at every rectifier.

    Args:
        graph: The captured graph.
        inputs: Of the network; the projection is onto the first.
        rules: Of `rules_for`.
        unit: What is sent back, or its numbers where they are known.
        node: The unit's.
        is_guided: A rectifier also stops what was negative on the way forward, as the gradient does.

    Returns:
        The projection, of the input's shape; the unit of each image; its activations, (N,), which were sent back.
    """
    x = inputs[0].detach().clone().requires_grad_()

    def replace(current: Node, values: Mapping[int, Tensor]) -> Tensor | None:
        if current.index not in rules.rectifiers or current.replay is None:
            return None
        source, ceiling = rules.rectifiers[current.index]
        with torch.no_grad():
            output = current.replay.run(values)[current.replay.output]
        before = values[source.index]
        passed = (before > 0) & (before < ceiling) if is_guided else None
        rectified: Tensor = _Rectified.apply(before, output, passed)  # type: ignore[no-untyped-call]
        return rectified

    with torch.enable_grad():
        values = run_nodes(graph, x, *inputs[1:], nodes=[node], replace=replace)
        found = unit if isinstance(unit, Located) else locate(graph, unit, values)
        score = found.score(values[node.index])
        (projection,) = torch.autograd.grad(score, x, grad_outputs=score.detach(), allow_unused=True)
    return (torch.zeros_like(x) if projection is None else projection), found, score.detach()


class _Rectified(torch.autograd.Function):
    """A rectifier whose backward pass is rectified as well."""

    @staticmethod
    def forward(ctx: Any, before: Tensor, output: Tensor, passed: Tensor | None) -> Tensor:
        """Return the output that the network's own call made."""
        ctx.save_for_backward(passed)
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Hand on what is positive, and of that what was passed forward."""
        (passed,) = ctx.saved_tensors
        grad = grads[0].clamp(min=0)
        return (grad if passed is None else grad * passed), None, None


def _ceiling(node: Node, sources: list[Node]) -> float | None:
    """Return where a rectifier clips from above; None: the node is none."""
    op = node.op
    if isinstance(op, ops.ReLU):
        return math.inf
    if isinstance(op, ops.Hardtanh) and op.min_val == 0:
        return op.max_val
    if isinstance(op, ops.Clamp) and op.min == 0:
        return math.inf if op.max is None else op.max
    if isinstance(op, ops.Maximum) and len(sources) == 1 and len(node.inputs) == 2:
        (other,) = (source for source in node.inputs if source is not sources[0])
        is_zero = isinstance(other.op, Constant) and not other.parameters["value"].tensor.any()
        return math.inf if is_zero else None
    return None


def _measures_its_batch(node: Node) -> bool:
    """Say whether a batch normalisation has no running statistics and so takes those of the images."""
    return isinstance(node.op, ops.BatchNorm) and node.op.training


def _refuse(node: Node, *, method: str) -> None:
    what = node.op.text if isinstance(node.op, Opaque) else node.call
    kind = "which striate does not know" if isinstance(node.op, Opaque) else "which bends its input in another way"
    raise UsageError(
        f"{method}: every nonlinearity between image and unit must be a rectifier (relu, relu6, clamp from 0), got "
        f"{what} at `{node.name}`, {kind}. The method is not defined there; gradient, integrated_gradients, grad_cam "
        "and occlusion are."
    )
