"""What a captured graph says about a network's layers: which follow each other with nothing non-linear between."""

from __future__ import annotations

from dataclasses import dataclass

from striate.graph import Graph
from striate.graph.graph import Node
from striate.graph.opaque import Opaque

__all__ = ["ACTIVATIONS", "Pair", "affine_pairs", "depthwise", "weight_nodes"]

WEIGHTS = frozenset({"conv1d", "conv2d", "conv3d", "linear", "conv_transpose2d"})
ACTIVATIONS = frozenset(
    {"relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "tanh",
     "hardtanh", "hardswish", "hardsigmoid", "softplus", "softsign", "logsigmoid", "threshold", "glu", "clamp",
     "clamp_min", "maximum", "abs", "square", "pow", "exp", "hardshrink", "softshrink", "tanhshrink", "where", "sin"}
)  # fmt: skip
AFFINE = frozenset(
    {"flatten", "view", "reshape", "permute", "transpose", "contiguous", "dropout", "dropout2d", "feature_dropout",
     "avg_pool2d", "adaptive_avg_pool2d", "mean", "batch_norm", "squeeze", "unsqueeze", "pad", "identity", "getitem",
     "detach", "clone", "to", "float", "chunk", "split", "unflatten", "alpha_dropout"}
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two layers with weights that are together one affine map."""

    first: Node
    second: Node


def weight_nodes(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes of layers with weights of the network, without those of the loss, in the order of execution."""
    return tuple(node for node in graph.nodes[: graph._network_end] if node.call in WEIGHTS)


def affine_pairs(graph: Graph) -> tuple[Pair, ...]:
    """Return pairs of layers with weights between which everything is affine."""
    found = list[Pair]()
    for node in weight_nodes(graph):
        before = node.inputs[0] if node.inputs else None
        while before is not None and before.call in AFFINE and len(before.inputs) == 1:
            before = before.inputs[0]
        if before is not None and before.call in WEIGHTS:
            found.append(Pair(before, node))
    return tuple(found)


def is_meant(pair: Pair) -> bool:
    """Say whether a pair is a factorised layer, as people build them on purpose: depthwise, 1 x 1, low rank."""
    if depthwise(pair.first) or depthwise(pair.second) or pair.first.call != pair.second.call:
        return (
            depthwise(pair.first) or depthwise(pair.second) or _is_pointwise(pair.first) or _is_pointwise(pair.second)
        )
    if pair.first.call == "linear":
        inner, outer = pair.first.output_shape[-1], pair.second.output_shape[-1]
        return inner < min(outer, _width_in(pair.first))
    return _is_pointwise(pair.first) or _is_pointwise(pair.second) or not _is_square(pair.first)


def depthwise(node: Node) -> bool:
    """Say whether a node is a convolution of each channel on its own."""
    return node.call.startswith("conv") and getattr(node.op, "groups", 1) > 1


def has_activation(graph: Graph) -> bool:
    """Say whether anything in the network bends: an activation, or a call that nobody knows."""
    nodes = graph.nodes[: graph._network_end]
    return any(node.call in ACTIVATIONS or isinstance(node.op, Opaque) for node in nodes)


def _kernel(node: Node) -> tuple[int, ...]:
    weight = node.parameters.get("weight")
    return tuple(weight.tensor.shape[2:]) if weight is not None else ()


def _is_pointwise(node: Node) -> bool:
    return node.call.startswith("conv") and all(side == 1 for side in _kernel(node))


def _is_square(node: Node) -> bool:
    return len(set(_kernel(node))) <= 1


def _width_in(node: Node) -> int:
    return node.inputs[0].output_shape[-1]
