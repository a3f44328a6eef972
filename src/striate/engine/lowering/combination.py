"""Pairs of tensors added, subtracted or multiplied; with a number, a scale and a shift."""

from __future__ import annotations

from striate.engine._builder import Builder, Value
from striate.engine._codes import AFFINE, IDENTITY, Code
from striate.engine._instructions import Encoded
from striate.engine._lanes import Lanes
from striate.engine.lowering.activation import activate, multiply_by_slope
from striate.engine.lowering.movement import flattened
from striate.graph.graph import Node
from striate.graph.opaque import Constant
from striate.ops.combination import Add, Divide, Multiply, ScaledAdd, Subtract

__all__ = ["KINDS", "affine_of", "combine", "number_of", "reason_against"]

KINDS: dict[type, int] = {Add: 0, Subtract: 1, Multiply: 2}


def number_of(node: Node) -> float | None:
    """Return the number of a constant that is one; None: something else."""
    if isinstance(node.op, Constant) and node.replay is None:
        value = node.parameters["value"]
        if value.kind == "constant" and not value.tensor.ndim:
            return float(value.tensor)
    return None


def reason_against(node: Node) -> str | None:
    """Say why a combination cannot run in the engine; None: it can."""
    a, b = node.inputs
    numbers = [number_of(a), number_of(b)]
    if numbers == [None, None]:
        if type(node.op) not in KINDS:
            return "two tensors"
        if any(isinstance(source.op, Constant) for source in node.inputs):
            return "a parameter or another tensor that is the same for all images"
        if a.output_shape == b.output_shape:
            return None
        return None if _is_gate(node) else "two shapes that are spread over each other"
    if None not in numbers:
        return "two numbers"
    if isinstance(node.op, Divide) and numbers[1] is None:
        return "a number divided by a tensor"
    return None


def _is_gate(node: Node) -> bool:
    """Whether a map is multiplied by one number for each channel of each image, as by squeeze and excitation."""
    a, b = (source.output_shape for source in node.inputs)
    return isinstance(node.op, Multiply) and len(a) == len(b) == 4 and b == (*a[:2], 1, 1)


def combine(b: Builder, node: Node, values: list[Value | None]) -> Value:
    """Emit a combination; of a number, which has no value, the other operand is scaled and shifted."""
    if None in values:
        return _with_number(b, node, values)
    first, second = values[0], values[1]
    if first is None or second is None:
        raise RuntimeError(f"combine: `{node.name}` has no tensor")
    if first.lanes.extent != second.lanes.extent and not _is_gate(node):
        first, second = flattened(b, first), flattened(b, second)
    return _pair(b, node, first, second)


def _with_number(b: Builder, node: Node, values: list[Value | None]) -> Value:
    x = values[0] if values[1] is None else values[1]
    if x is None:
        raise RuntimeError(f"combine: `{node.name}` has no tensor")
    return activate(b, x, affine_of(node))


def affine_of(node: Node) -> Code:
    """Return what a combination with a number does to the other operand."""
    numbers = [number_of(source) for source in node.inputs]
    is_second = numbers[1] is not None
    number = numbers[1] if is_second else numbers[0]
    if number is None:
        raise RuntimeError(f"combine: `{node.name}` has no number")
    match node.op:
        case Add():
            scale, shift = 1.0, number
        case ScaledAdd(alpha=alpha):
            scale, shift = (1.0, alpha * number) if is_second else (alpha, number)
        case Subtract():
            scale, shift = (1.0, -number) if is_second else (-1.0, number)
        case Multiply():
            scale, shift = number, 0.0
        case _:
            scale, shift = 1.0 / number if number else float("inf"), 0.0
    return Code(AFFINE, (scale, shift))


def _pair(b: Builder, node: Node, first: Value, second: Value) -> Value:
    kind = KINDS[type(node.op)]
    is_gate = first.lanes.extent != second.lanes.extent
    y = b.lanes(first.lanes.extent)
    _emit(b, first.lanes, second.lanes, y, kind=kind, accumulate=False)

    def backward() -> None:
        dy = b.gradient(y)
        if dy is None:
            return
        if first.needs_gradient:
            _to_operand(b, dy, first.lanes, second.lanes if kind == 2 else None, scale=1.0)
        if second.needs_gradient and is_gate:
            _to_gate(b, dy, first.lanes, second.lanes)
        elif second.needs_gradient:
            _to_operand(b, dy, second.lanes, first.lanes if kind == 2 else None, scale=-1.0 if kind == 1 else 1.0)

    needs = first.needs_gradient or second.needs_gradient
    if needs:
        b.on_backward(backward)
    return Value(y, first.shape, needs)


def _to_operand(b: Builder, dy: Lanes, operand: Lanes, other: Lanes | None, *, scale: float) -> None:
    """Emit the gradient of one operand: dy, or dy times the other."""
    target, accumulate = b.add_to_gradient(operand)
    if other is not None:
        _emit(b, dy, other, target, kind=2, accumulate=accumulate)
    else:
        multiply_by_slope(b, dy, dy, target, Code(AFFINE, (scale, 0.0)), accumulate=accumulate)


def _to_gate(b: Builder, dy: Lanes, x: Lanes, gate: Lanes) -> None:
    target, accumulate = b.add_to_gradient(gate)
    b.emit(
        "sum_products",
        (dy, x, target),
        lambda: Encoded([*b.pointwise_ints(dy.extent, dy, x, target), accumulate]),
    )


def _emit(b: Builder, first: Lanes, second: Lanes, y: Lanes, *, kind: int, accumulate: bool) -> None:
    is_gate = second.extent != y.extent

    def encode() -> Encoded:
        width = b.machine.width
        ints = b.pointwise_ints(y.extent, first, second, y)
        if is_gate:
            ints[7] = 0  # the same value in every row
        return Encoded([*ints, kind, IDENTITY, accumulate, 0 if is_gate else width], (0.0, 0.0))

    b.emit("combine", (first, second, y), encode)
