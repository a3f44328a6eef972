"""The gradient of a loss at one number of a network: its terms, autograd's value, and a finite difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.graph import Graph, Node
from striate.graph.opaque import Input, Opaque
from striate.graph.replay import inputs_of, parameters_of, replay
from striate.ops.op import Array
from striate.ops.working import Line, Working, number

__all__ = ["gradient_parts"]

STEP = 1e-5
"""Of the finite difference, relative to the number where that is above 1."""


def gradient_parts(graph: Graph, node: Node, index: tuple[int, ...], *, tap: tuple[int, ...] | None) -> list[Any]:
    """Unfold dL/d(the number at `index`) and dL/d(weight at `tap`)."""
    loss = graph.loss
    if loss is None:
        raise UsageError("gradient_parts: `graph` must have a loss. Use capture(..., loss=...).")
    parts: list[Any] = [Line(f"L = {number(float(graph.value(loss)))} (cross-entropy)")]
    parts += _at_value(graph, node, index, loss)
    learned = {key: p for key, p in node.parameters.items() if p.kind == "parameter" and key in ("weight", "bias")}
    for key in learned:
        gradient = graph.gradient(node.parameters[key])
        if gradient is not None:
            parts += _at_parameter(graph, node, key, gradient.numpy(), index=index, tap=tap, loss=loss)
    return parts


def _at_value(graph: Graph, node: Node, index: tuple[int, ...], loss: Node) -> list[Any]:
    """What every user of the number sends back to it, and their sum."""
    gradient = graph.gradient(node)
    label = f"dL/d{node.name}[{','.join(map(str, index[1:]))}]"
    if gradient is None:
        return [Line(f"{label} = 0: the loss does not depend on it")]
    parts: list[Any] = []
    total = 0.0
    for user in graph.users(node):
        for slot, source in enumerate(user.inputs):
            if source is not node:
                continue
            sent = _sent_back(graph, user, slot, index)
            parts.append(sent)
            total += float(sent.value) if isinstance(sent, Working) else np.nan
    array = graph.value(node).numpy()

    def changed(step: float) -> float:
        values = array.copy()
        values[index] += step
        return float(replay(graph, until=loss, values={node.index: values}))

    return [*parts, _compare(label, total, float(gradient[index]), changed, float(array[index]))]


def _sent_back(graph: Graph, user: Node, slot: int, index: tuple[int, ...]) -> Working | Line:
    grad_output = graph.gradient(user)
    if isinstance(user.op, Opaque) or grad_output is None:
        return Line(f"{user.name}: its terms are unknown, striate has no definition of this operation")
    of = f"input{slot or ''}"
    working = user.op.gradient_working(
        of, index, grad_output.numpy(), *inputs_of(graph, user), **parameters_of(graph, user)
    )
    return Working(f"what `{user.name}` ({user.call}) sends back", working.equation, working.parts, working.value)


def _at_parameter(
    graph: Graph,
    node: Node,
    key: str,
    gradient: Array,
    *,
    index: tuple[int, ...],
    tap: tuple[int, ...] | None,
    loss: Node,
) -> list[Any]:
    """One weight, or the bias, of the node: its terms over all the places that use it."""
    if isinstance(node.op, Opaque | Input):
        return []
    channel = index[1] if len(index) > 1 else 0
    if key == "weight" and gradient.ndim > 1:
        if tap is None:
            within = np.unravel_index(int(np.abs(gradient[channel]).argmax()), gradient.shape[1:])
            tap = (channel, *(int(i) for i in within))
        if len(tap) != gradient.ndim or any(i >= n for i, n in zip(tap, gradient.shape, strict=True)):
            raise UsageError(
                f"unfold: `tap` must be an index of the weight {gradient.shape} of `{node.name}`, got {tap}. "
                f"Write {','.join('0' * gradient.ndim)}."
            )
        place = tap
    else:
        place = (channel if gradient.size > 1 else 0,)
    grad_output = graph.gradient(node)
    if grad_output is None:
        return []
    arrays = parameters_of(graph, node)
    working = node.op.gradient_working(key, place, grad_output.numpy(), *inputs_of(graph, node), **arrays)
    name, array = node.parameters[key].name, arrays[key]

    def changed(step: float) -> float:
        values = array.copy()
        values[place] += step
        return float(replay(graph, until=loss, parameters={name: values}))

    label = f"dL/d{name}[{','.join(map(str, place))}]"
    return [working, _compare(label, float(working.value), float(gradient[place]), changed, float(array[place]))]


def _compare(label: str, terms: float, autograd: float, changed: Callable[[float], float], value: float) -> Working:
    """Write the three values of one gradient side by side."""
    step = STEP * max(1.0, abs(value))
    try:
        difference = f"{(changed(step) - changed(-step)) / (2 * step):.10g}"
    except UsageError as error:
        difference = f"none: {error}"
    shown = f"{terms:.10g}" if np.isfinite(terms) else "unknown"
    lines = (f"its terms          {shown}", f"autograd           {autograd:.10g}", f"finite difference  {difference}")
    return Working(label, "", tuple(Line(line) for line in lines), autograd)
