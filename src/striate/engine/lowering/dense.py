"""Dense layers: sums over features, for all blocks of a chunk at once; their weight gradient is one matrix product."""

from __future__ import annotations

from functools import partial
from typing import Any

from striate.engine._builder import Builder, Value
from striate.engine._instructions import Encoded, Scope
from striate.engine._lanes import Lanes, Shared
from striate.engine._tables import cheapest_tile, floats_of
from striate.engine.lowering import tiles
from striate.engine.lowering.activation import Epilogue, before_activation
from striate.engine.lowering.folding import layer_bias
from striate.graph.graph import Node, Parameter

__all__ = ["connect"]

PIXELS = 4
"""Blocks of a chunk that are summed together where there are as many."""
PIECE_BYTES = 16 * 1024
"""What the features may fill after which the sums are put down: half of a common first-level cache."""


def connect(b: Builder, node: Node, x: Value, epilogue: Epilogue) -> Value:
    """Emit a dense layer with the activation that follows it."""
    weight, bias = node.parameters["weight"], node.parameters.get("bias")
    outputs = weight.tensor.shape[0]
    y = b.lanes((outputs, 1, 1))
    _sum(b, weight, bias, x.lanes, y, epilogue)
    learns = [p is not None and p.tensor.requires_grad for p in (weight, bias)]
    needs = x.needs_gradient or any(learns)

    def backward() -> None:
        dy = before_activation(b, y, epilogue, None, y.extent)
        if dy is None:
            return
        if learns[0]:
            _weight_gradient(b, x.lanes, dy, weight)
        if bias is not None and learns[1]:
            gradient, adds = b.gradient_of(bias)
            b.emit(
                "dense_bias_gradient",
                (dy, gradient),
                lambda: Encoded([adds], tables=[floats_of(dy.all_places(), b.machine.width)]),
                scope=Scope.WHOLE,
            )
        if x.needs_gradient:
            _input_gradient(b, x.lanes, dy, weight)

    if needs:
        b.on_backward(backward)
    return Value(y, (outputs,), needs)


def _sum(b: Builder, weight: Parameter, bias: Parameter | None, x: Lanes, y: Lanes, epilogue: Epilogue) -> None:
    if tiles.fits_dense(b, x.features, y.features):
        tiles.dense_sums(b, weight, bias, x, y, epilogue)
        return
    outputs, features = weight.tensor.shape
    packed, tile = _pack(b, weight, epilogue.coefficients, outputs=outputs, taps=features, transposed=False)

    def encode() -> Encoded:
        return _encoded(b, x.all_places(), y.all_places(), tile, epilogue, accumulate=False)

    operands = (x, packed, layer_bias(b, bias, epilogue.coefficients, outputs), y, None)
    b.emit("taps", operands, encode, scope=Scope.CHUNK, writes=(3,), macs=outputs * features)


def _pack(
    b: Builder, weight: Parameter, coefficients: Shared | None, *, outputs: int, taps: int, transposed: bool
) -> tuple[Any, tuple[int, int]]:
    tile = cheapest_tile(outputs, PIXELS, b.machine.accumulators)
    packed = b.shared(-(-outputs // tile[0]) * taps * tile[0])
    ints = [outputs, taps, tile[0], _piece(b, taps), transposed]
    operands = (b.parameter(weight), packed, coefficients)
    b.emit("pack_dense", operands, lambda: Encoded(ints), scope=Scope.WHOLE, writes=(1,), packs=True)
    return packed, tile


def _piece(b: Builder, taps: int) -> int:
    """Return after how many features sums are put down."""
    return max(1, min(taps, PIECE_BYTES // (4 * b.machine.width * PIXELS)))


def _encoded(
    b: Builder, inputs: Any, outputs: Any, tile: tuple[int, int], epilogue: Epilogue, *, accumulate: bool
) -> Encoded:
    width, taps = b.machine.width, len(inputs)
    layout = [tile[0], taps * tile[0], 0, 0]
    return Encoded(
        [1, len(outputs), taps, *tile, *layout, epilogue.kind, accumulate, True, False, 0, _piece(b, taps)],
        epilogue.numbers,
        [floats_of(inputs, width), [], [], [], floats_of(outputs, width), [0], []],
    )


def _input_gradient(b: Builder, x: Lanes, dy: Lanes, weight: Parameter) -> None:
    outputs, features = weight.tensor.shape
    dx, accumulate = b.add_to_gradient(x)
    if tiles.fits_dense(b, outputs, features):
        tiles.dense_input_gradient(b, weight, dy, dx, accumulate=accumulate)
        return
    packed, tile = _pack(b, weight, None, outputs=features, taps=outputs, transposed=True)

    def encode() -> Encoded:
        return _encoded(b, dy.all_places(), dx.all_places(), tile, Epilogue(), accumulate=accumulate)

    operands = (dy, packed, None, dx, None)
    b.emit("taps", operands, encode, scope=Scope.CHUNK, writes=(3,), macs=outputs * features)


def _weight_gradient(b: Builder, x: Lanes, dy: Lanes, weight: Parameter) -> None:
    outputs, features = weight.tensor.shape
    if tiles.fits_dense_gradient(b, features, outputs):
        tiles.dense_weight_gradient(b, x, dy, weight)
        return
    width, has_many = b.machine.width, b.machine.accumulators >= 24
    # The tile of `dense_weight_gradient` in native/layout.hpp.
    tile_outputs, panel = (6, 4 * width) if has_many else (4, 3 * width)
    gradient, accumulate = b.gradient_of(weight)
    panels = []
    for lanes, length in ((x, panel), (dy, tile_outputs)):
        rows = b.shared(0, image_floats=-(-lanes.features // length) * length)
        b.emit("panels_of_rows", (lanes, rows), partial(_rows, lanes, length, width), scope=Scope.WHOLE)
        panels.append(rows)
    b.emit(
        "dense_weight_gradient",
        (*panels, gradient),
        lambda: Encoded([outputs, features, accumulate]),
        scope=Scope.WHOLE,
        macs=outputs * features,
    )


def _rows(lanes: Lanes, length: int, width: int) -> Encoded:
    return Encoded([lanes.features, length], tables=[floats_of(lanes.all_places(), width)])
