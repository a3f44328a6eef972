"""The arithmetic behind one number of the user's own network: what it sees, what it computes, and its gradient."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.errors import UsageError, nearest
from striate.graph import Graph, Node, capture
from striate.graph.opaque import Input, Opaque
from striate.graph.receptive_field import receptive_field
from striate.graph.replay import inputs_of, parameters_of
from striate.ops.op import Elementwise
from striate.ops.working import Grid, Line, Working, number
from striate.work._gradient import gradient_parts

__all__ = ["Place", "parse_place", "unfold"]

Part = Any
FOLLOWERS = ("batch_norm", "group_norm", "layer_norm", "instance_norm", "dropout", "prelu")
"""Operations beside the elementwise ones that keep a place where it is."""
MOST_CHANNELS = 3


@dataclass(frozen=True)
class Place:
    """One number of a network: a node's name and an index without the batch axis."""

    node: str
    index: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.node}[{','.join(str(i) for i in self.index)}]"


def parse_place(text: str) -> Place:
    """Read ``layer3.conv2[17,4,9]``: channel, row, column; ``fc[3]`` for a vector.

    Example:
        >>> parse_place("layer3.conv2[17, 4, 9]")
        Place(node='layer3.conv2', index=(17, 4, 9))
    """
    found = re.fullmatch(r"\s*(.+?)\s*\[\s*([\d\s,]+?)\s*\]\s*", text)
    if found is None:
        raise UsageError(
            f"unfold: `at` must name a node and a place in it, got {text!r}. Write layer3.conv2[17,4,9], or fc[3]."
        )
    return Place(found[1], tuple(int(word) for word in re.split(r"[\s,]+", found[2])))


def unfold(
    model: nn.Module,
    example: Any,
    at: str | Place,
    *,
    gradient: bool = False,
    target: int | None = None,
    tap: tuple[int, ...] | None = None,
    name: str = "the network",
) -> Working:
    """Unfold one number of a network into the arithmetic that made it.

    The number's receptive field in the input, the operation with each product, and what normalisation and activation
    made of it. A copy of the network runs in float64, in the mode the network is in; the network itself is not touched.

    Args:
        model: Any module that runs.
        example: Its input, with a batch axis; the first sample is shown.
        at: ``layer3.conv2[17,4,9]``: a node of ``capture(model, example)``, then channel, row and column.
        gradient: Also unfold dL/d(the number), and dL/d(the weight at `tap`), into their terms, beside autograd's value
            and that of a finite difference. L is the cross-entropy of the network's output.
        target: Class for the cross-entropy; None: the one the network predicts.
        tap: Index of a weight of the node; None: the one with the largest gradient among those of the channel.
        name: What the network is called in the title.

    Returns:
        A working that holds workings; prints as text, renders as HTML.

    Raises:
        UsageError: no node of that name (the nearest are named), an index outside it, or an operation striate does not
            know.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 1, 2), nn.ReLU()).eval()
        >>> for parameter in network.parameters():
        ...     _ = nn.init.ones_(parameter)
        >>> unfold(network, torch.ones(1, 1, 3, 3), "0[0,1,1]").value
        5.0
    """
    place = parse_place(at) if isinstance(at, str) else at
    copied, inputs = _in_double(model, example)
    graph = capture(copied, inputs, keep_values=True, loss=_loss(copied, inputs, target) if gradient else None)
    node = _find(graph, place)
    index = (0, *place.index)
    if isinstance(node.op, Opaque):
        raise UsageError(
            f"unfold: `at` must be an operation that striate knows, got {node.op.text} at `{node.name}`. "
            f"PyTorch computed {number(_at(graph.value(node), index))}."
        )
    parts: list[Part] = _sight(graph, node, place)
    value = _at(graph.value(node), index)
    if not isinstance(node.op, Input):
        working = node.op.working(index, *inputs_of(graph, node), **parameters_of(graph, node))
        parts += [working, _beside_pytorch(working, value)]
        parts += _followers(graph, node, index)
    if gradient:
        parts += gradient_parts(graph, node, index, tap=tap)
    return Working(title=f"{place} of {name}", equation="", parts=tuple(parts), value=value)


def _loss(model: nn.Module, inputs: tuple[Any, ...], target: int | None) -> Callable[[Any], Tensor]:
    """Return the cross-entropy of the first sample, for the class that is asked for or the one that is predicted."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        logits = _logits(copy.deepcopy(model)(*inputs))  # in training mode a run changes the statistics of the copy
    if logits.ndim != 2:
        raise UsageError(
            f"unfold: `model` must return logits (N, num_classes) to have a gradient, got {tuple(logits.shape)}. "
            "Leave out the gradient, or add the layers that classify."
        )
    if target is not None and not 0 <= target < logits.shape[1]:
        raise UsageError(
            f"unfold: `target` must be a class from 0 to {logits.shape[1] - 1}, got {target}. Give another."
        )
    wanted = torch.tensor([int(logits[0].argmax()) if target is None else target])
    return lambda output: nn.functional.cross_entropy(_first(_logits(output)), wanted)


def _first(logits: Tensor) -> Tensor:
    return logits if len(logits) == 1 else logits[:1]


def _logits(output: Any) -> Tensor:
    """Return the network's main output; auxiliary heads come after it."""
    tensor: Tensor = output if isinstance(output, Tensor) else next(iter(output))
    return tensor


def _in_double(model: nn.Module, example: Any) -> tuple[nn.Module, tuple[Any, ...]]:
    try:
        copied = copy.deepcopy(model).double().cpu()
    except Exception as error:  # a module may hold anything, and refuse to be copied as it likes
        raise UsageError(
            f"unfold: `model` must be copied to run in float64, and cannot be ({type(error).__name__}: {error}). "
            "Give a module that copy.deepcopy takes."
        ) from error
    given = example if isinstance(example, tuple | list) else (example,)
    tensors = [torch.as_tensor(value) if isinstance(value, np.ndarray) else value for value in given]
    return copied, tuple(
        value.detach().cpu().double() if isinstance(value, Tensor) and value.is_floating_point() else value
        for value in tensors
    )


def _find(graph: Graph, place: Place) -> Node:
    names = {node.name: node for node in graph.nodes}
    if place.node not in names:
        below = [name for name in names if name.startswith(f"{place.node}.")]
        hint = f" It holds {', '.join(below[:6])}{' ...' if len(below) > 6 else ''}." if below else ""
        raise UsageError(
            f"unfold: `at` must name a node of the network, got {place.node!r}.{hint or nearest(place.node, names)} "
            "print(striate.capture(model, example)) lists them."
        )
    node = names[place.node]
    shape = node.output_shape[1:]
    if len(place.index) != len(shape) or any(i >= size for i, size in zip(place.index, shape, strict=True)):
        largest = ",".join(str(size - 1) for size in shape)
        raise UsageError(
            f"unfold: `at` must be a place in `{node.name}`, from [{','.join('0' * len(shape))}] to [{largest}], "
            f"got {list(place.index)}. Leave the batch axis out."
        )
    return node


def _sight(graph: Graph, node: Node, place: Place) -> list[Part]:
    """Say what part of the input the place sees, and show it."""
    source = graph.inputs[0]
    if len(source.output_shape) != 4 or node is source:
        return []
    try:
        field = receptive_field(graph, node, place.index[1:] if len(node.output_shape) == 4 else ())
    except UsageError as error:
        return [Line(f"receptive field unknown: {error}")]
    if field is None:
        return [Line("receptive field: none, it does not depend on the input")]
    (top, left), (bottom, right) = field.start, field.stop
    reach = " x ".join(str(length) for length in field.reach)
    line = f"receptive field {reach} pixels of the input: rows {top} to {bottom - 1}, columns {left} to {right - 1}"
    beyond = "" if field.size == field.reach else ", else padding"
    image = graph.value(source)[0].numpy()[(slice(None), *field.slices)]
    channels = [Grid(f"input, channel {c}", image[c]) for c in range(min(len(image), MOST_CHANNELS))]
    return [Line(line + beyond), *(channels if max(field.size) <= 12 else [])]


def _followers(graph: Graph, node: Node, index: tuple[int, ...]) -> list[Part]:
    """Follow the number through normalisation and activation while they leave it in its place."""
    parts: list[Part] = []
    while len(users := graph.users(node)) == 1:
        (user,) = users
        keeps_place = isinstance(user.op, Elementwise) or user.op.name in FOLLOWERS
        if not keeps_place or user.output_shape != node.output_shape or user.index > graph.outputs[-1].index:
            break
        parts.append(user.op.working(index, *inputs_of(graph, user), **parameters_of(graph, user)))
        node = user
    if users := graph.users(node):
        parts.append(Line(f"read by {', '.join(user.name for user in users)}"))
    return parts


def _beside_pytorch(working: Working, value: float) -> Line:
    return Line(f"PyTorch: {value:.12g}, difference {abs(value - float(working.value)):.1e}")


def _at(tensor: Tensor, index: tuple[int, ...]) -> float:
    return float(tensor[index])
