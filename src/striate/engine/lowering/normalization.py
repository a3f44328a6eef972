"""Batch normalisation in steps over the whole batch, local response normalisation, dropout."""

from __future__ import annotations

from typing import Any

from striate.engine._builder import Builder, Value
from striate.engine._codes import IDENTITY
from striate.engine._instructions import Encoded, Scope
from striate.engine._lanes import Lanes, Operand, Shared
from striate.engine.lowering.activation import Epilogue
from striate.engine.lowering.movement import flattened
from striate.graph.graph import Node, Parameter
from striate.ops.dropout import Dropout
from striate.ops.local_response import LocalResponseNorm

__all__ = ["drop", "normalize", "normalize_locally", "reason_against"]

MOST_CHANNELS = 1024
"""Of local response normalisation: its products wait in the scratch memory of a thread."""


def reason_against(node: Node) -> str | None:
    """Say why a normalisation cannot run in the engine; None: it can."""
    op: Any = node.op
    if isinstance(op, LocalResponseNorm):
        return f"more than {MOST_CHANNELS} channels" if node.output_shape[1] > MOST_CHANNELS else None
    if isinstance(op, Dropout):
        return None
    if not op.training and "running_mean" not in node.parameters:
        return "no running statistics"
    return None


def normalize(b: Builder, node: Node, x: Value, epilogue: Epilogue, residual: Value | None) -> Value:
    """Emit batch normalisation with what follows it: a tensor that is added, an activation."""
    op: Any = node.op
    p = node.parameters
    if x.shape[0] != x.lanes.extent[0]:
        x = flattened(b, x)  # a flattened map has statistics of each feature
    channels, rows, columns = x.lanes.extent
    y = b.lanes(x.lanes.extent)
    coefficients = b.shared(4 * channels + b.machine.width)
    statistics = [b.parameter(p.get(name)) for name in ("weight", "bias", "running_mean", "running_var")]
    sums = b.partial(8 * channels) if op.training else None
    if sums is not None:
        ints = lambda: Encoded(b.pointwise_ints(x.lanes.extent, x.lanes))  # noqa: E731
        b.emit("batch_statistics", (x.lanes, sums), ints)
    b.emit(
        "batch_coefficients",
        (sums, *statistics, coefficients),
        lambda: Encoded([channels, rows * columns, op.training], [op.eps, op.momentum]),
        scope=Scope.WHOLE,
        writes=(3, 4, 5) if op.training else (5,),
        packs=not op.training,
    )
    added = epilogue.added

    def encode() -> Encoded:
        ints = [*b.pointwise_ints(x.lanes.extent, x.lanes, y, added), epilogue.kind]
        return Encoded(ints, epilogue.numbers)

    b.emit("normalize", (x.lanes, coefficients, y, added), encode, writes=(2,))
    learns = [name in p and p[name].tensor.requires_grad for name in ("weight", "bias")]
    residual = residual if residual is not None and residual.needs_gradient else None
    needs = x.needs_gradient or any(learns) or residual is not None

    def backward() -> None:
        if b.gradient(y) is not None:
            _backward(b, node, x, y, epilogue, residual, coefficients)

    if needs:
        b.on_backward(backward)
    return Value(y, x.shape, needs)


def _backward(
    b: Builder, node: Node, x: Value, y: Lanes, epilogue: Epilogue, residual: Value | None, coefficients: Shared
) -> None:
    op: Any = node.op
    channels, rows, columns = extent = x.lanes.extent
    dy = b.gradient(y)
    v = None if epilogue.kind == IDENTITY else y
    sums, factors = b.partial(8 * channels), b.shared(3 * channels)
    # The gradient of the sum before the activation takes the place of that after it.
    dz = None if v is None else dy
    b.emit(
        "normalize_sums",
        (dy, v, x.lanes, coefficients, dz, sums),
        lambda: Encoded([*b.pointwise_ints(extent, dy, v, x.lanes, dz), epilogue.kind], epilogue.numbers),
        writes=(4, 5),
    )
    gradients: list[Operand | None] = []
    adds = False
    for name in ("weight", "bias"):
        parameter: Parameter | None = node.parameters.get(name)
        if parameter is not None and parameter.tensor.requires_grad:
            gradient, adds = b.gradient_of(parameter)
            gradients.append(gradient)
        else:
            gradients.append(None)
    b.emit(
        "normalize_gradients",
        (sums, coefficients, factors, *gradients),
        lambda: Encoded([channels, rows * columns, op.training, adds]),
        scope=Scope.WHOLE,
        writes=(2, 3, 4),
    )
    if residual is not None and residual.needs_gradient:
        if b.gradient(residual.lanes) is None and residual.lanes.extent == extent:
            b.hand_gradient(y, residual.lanes)
        else:
            target, accumulate = b.add_to_gradient(residual.lanes)
            _add(b, dy, target, accumulate=accumulate)
    if x.needs_gradient:
        dx, accumulate = b.add_to_gradient(x.lanes)
        moving = x.lanes if op.training else None  # what the statistics, and so the output, depend on
        b.emit(
            "normalize_input",
            (dy, moving, factors, dx),
            lambda: Encoded([*b.pointwise_ints(extent, dy, moving, dx), accumulate]),
        )


def _add(b: Builder, source: Lanes | None, target: Lanes, *, accumulate: bool) -> None:
    ints = lambda: Encoded(  # noqa: E731
        [*b.pointwise_ints(target.extent, source, source, target), IDENTITY, accumulate], (0.0, 0.0)
    )
    b.emit("slope", (source, source, target), ints)


def normalize_locally(b: Builder, node: Node, x: Value) -> Value:
    """Emit local response normalisation."""
    op: Any = node.op
    extent = x.lanes.extent
    y = b.lanes(extent)
    numbers = [op.alpha, op.beta, op.k]
    b.emit(
        "local_response",
        (x.lanes, y),
        lambda: Encoded([*b.pointwise_ints(extent, x.lanes, y, None), op.size, False], numbers),
    )

    def backward() -> None:
        dy = b.gradient(y)
        if dy is not None:
            dx, accumulate = b.add_to_gradient(x.lanes)
            b.emit(
                "local_response_backward",
                (dy, x.lanes, dx),
                lambda: Encoded([*b.pointwise_ints(extent, x.lanes, dy, dx), op.size, accumulate], numbers),
            )

    if x.needs_gradient:
        b.on_backward(backward)
    return Value(y, x.shape, x.needs_gradient)


def drop(b: Builder, node: Node, x: Value) -> Value:
    """Emit dropout; which values are silent follows from the run's seed, in both passes."""
    op: Any = node.op
    if not op.training or op.p == 0:
        return x
    y = b.lanes(x.lanes.extent)
    b.dropouts += 1
    layer = b.dropouts

    def emit(source: Lanes, target: Lanes, *, accumulate: bool) -> None:
        def encode() -> Encoded:
            ints = b.pointwise_ints(source.extent, source, target)
            keeps = 0.0 if op.p >= 1 else 1 / (1 - op.p)
            return Encoded([*ints, op.whole_channels, accumulate, layer, round(op.p * 2**24)], [keeps])

        b.emit("drop", (source, target), encode)

    emit(x.lanes, y, accumulate=False)

    def backward() -> None:
        dy = b.gradient(y)
        if dy is not None:
            dx, accumulate = b.add_to_gradient(x.lanes)
            emit(dy, dx, accumulate=accumulate)

    if x.needs_gradient:
        b.on_backward(backward)
    return Value(y, x.shape, x.needs_gradient)
