"""What a stack of layers sees and how large its maps are, worked with the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops._windows import length_formula, output_lengths
from striate.ops.max_pooling import MaxPool
from striate.ops.working import Line, Sum, Working
from striate.work._answer import Answer, Part, Table, Written, times
from striate.work.stack import Layer, Pair, parse_layers, parse_size

__all__ = ["output_size", "receptive_field", "shapes_through"]


def receptive_field(layers: str, *, size: str | None = None) -> Answer:
    """Say how many pixels of the input one value after some layers sees, and which.

    R = 1 + sum over the layers j of (K_j - 1) d_j S_1 ... S_(j-1), with kernel K, dilation d and stride S.

    Args:
        layers: As in `parse_layers`, from the input on.
        size: Of the input, such as ``224x224``; ``same`` padding needs it where a stride is above 1.

    Returns:
        `value` is R along rows and columns; `numbers` holds for each layer with a window ``size``, ``jump`` (pixels of
        the input between neighbours) and ``start`` (first pixel that value 0 sees, negative in the padding).

    Raises:
        UsageError: a layer is not understood, or does not fit into what is left of the input.

    Source: Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural networks", Distill.

    Example:
        >>> receptive_field("3x3, 3x3, 3x3").value.tolist()
        [7, 7]
    """
    stack = parse_layers(layers, function="receptive_field")
    lengths = None if size is None else parse_size(size, function="receptive_field")[1]
    field, jump, start = np.ones(2, int), np.ones(2, int), np.zeros(2, int)
    rows: list[tuple[str, ...]] = []
    terms: list[tuple[Written, Written]] = []
    numbers: dict[str, list[Any]] = {"size": [], "jump": [], "start": []}
    for layer in stack:
        if layer.kind in ("dense", "gap"):
            rows.append((layer.text, "everything", "", ""))
            break
        if not layer.has_window:
            continue
        terms.append((_growth(layer, jump, 0), _growth(layer, jump, 1)))
        field = field + (np.array(layer.kernel_size) - 1) * layer.dilation * jump
        start, jump = start - _before(layer, lengths) * jump, jump * layer.stride
        lengths = None if lengths is None else _lengths("receptive_field", layer, lengths)
        for name, values in (("size", field), ("jump", jump), ("start", start)):
            numbers[name].append(values.tolist())
        rows.append((layer.text, times(field.tolist()), _pair(jump), _pair(start)))
    parts: list[Part] = [Table.of(("layer", "sees", "jump", "start"), rows)]
    is_square = all(one.factors == other.factors for one, other in terms)
    for axis in (0,) if is_square else (0, 1):
        label = "R" if is_square else f"R along the {('rows', 'columns')[axis]}"
        first = Written((1.0,), "the value itself", "1")
        parts.append(Sum(label, (first, *(pair[axis] for pair in terms)), float(field[axis])))
    sees_all = bool(rows) and rows[-1][1] == "everything"
    parts.append(Line(_sentence(field, jump, start, sees_all=sees_all)))
    return Answer(
        title=f"receptive field of {len(rows)} layer{'s' if len(rows) != 1 else ''}",
        equation="R = 1 + sum over layers j of (K[j] - 1) x dilation[j] x stride[1] x ... x stride[j-1]",
        parts=tuple(parts),
        value=field,
        numbers=numbers,
    )


def output_size(size: str, layers: str) -> Answer:
    """Work out the size of the map after some layers: floor((size + padding - extent) / stride) + 1 for each.

    Args:
        size: Of the input, such as ``28x28`` or, with channels, ``1x28x28``.
        layers: As in `parse_layers`, from the input on.

    Returns:
        `value` is the size of the output, with channels before it where they are known; `numbers` holds ``shapes``,
        that of the input and after each layer.

    Raises:
        UsageError: a layer is not understood, or does not fit into what is left of the input.

    Example:
        >>> output_size("1x28x28", "5x5 f6, pool 2x2, 5x5 f16, pool 2x2, flatten").value.tolist()
        [256]
    """
    stack = parse_layers(layers, function="output_size")
    shapes = shapes_through("output_size", size, stack)
    parts: list[Part] = []
    for layer, (before, after) in zip(stack, pairwise(shapes), strict=True):
        lines = [Line(text) for text in _formulas(layer, before)]
        if layer.kind == "flatten" and len(before) == 3:
            lines = [Line(f"{times(before)} = {after[0]} values")]
        parts.append(Working(f"{layer.text}: {times(before)} -> {times(after)}", "", tuple(lines), list(after)))
    return Answer(
        title=f"output size of {len(stack)} layer{'s' if len(stack) != 1 else ''}: {times(shapes[-1])}",
        equation="size_out = floor((size + before + after - dilation x (kernel - 1) - 1) / stride) + 1",
        parts=tuple(parts),
        value=np.array(shapes[-1]),
        numbers={"shapes": [list(shape) for shape in shapes]},
    )


def shapes_through(function: str, size: str, stack: Sequence[Layer]) -> list[tuple[int, ...]]:
    """Return the shape of the input and that after each layer: (C, H, W), (H, W) where C is unknown, or (features,)."""
    channels, lengths = parse_size(size, function=function)
    shapes: list[tuple[int, ...]] = [lengths if channels is None else (channels, *lengths)]
    for number, layer in enumerate(stack, start=1):
        shapes.append(_after(function, layer, shapes[-1], number=number))
    return shapes


def _after(function: str, layer: Layer, shape: tuple[int, ...], *, number: int) -> tuple[int, ...]:
    """Return the shape after a layer."""
    if layer.has_window:
        if len(shape) < 2:
            raise UsageError(
                f"{function}: `layers` must have windows before flatten, gap and dense layers, got {layer.text!r} as "
                f"layer {number}, where only {shape[0]} values are left. Move it to the front."
            )
        channels = shape[:-2]
        if layer.kind == "conv":
            channels = () if layer.filters is None else (layer.filters,)
        height, width = _lengths(function, layer, (shape[-2], shape[-1]))
        return (*channels, height, width)
    if layer.kind == "dense":
        return (layer.out_features,)
    if layer.kind in ("flatten", "gap") and len(shape) == 2:
        raise UsageError(
            f"{function}: `size` must have channels, such as 1x28x28, and each convolution filters, such as f6, to "
            f"count the values after {layer.text!r}, layer {number}, got a map of {times(shape)}. Add them."
        )
    if layer.kind == "flatten":
        return (int(np.prod(shape)),)
    return shape[:1] if layer.kind == "gap" else shape


def _lengths(function: str, layer: Layer, lengths: Pair) -> Pair:
    """Return rows and columns after a layer with a window."""
    if layer.ceil_mode:
        rows, columns = _rounded_up(layer, lengths).lengths(lengths)
        return rows, columns
    rows, columns = output_lengths(
        function,
        sizes=lengths,
        kernel_size=layer.kernel_size,
        stride=layer.stride,
        pads=layer.pads(lengths),
        dilation=layer.dilation,
    )
    return rows, columns


def _rounded_up(layer: Layer, lengths: Pair) -> MaxPool:
    """Return the pooling whose size is that of a layer with ``ceil``."""
    return MaxPool(layer.kernel_size, layer.stride, layer.pads(lengths), layer.dilation, ceil_mode=True)


def _formulas(layer: Layer, shape: tuple[int, ...]) -> list[str]:
    """Return the formula of each length with its numbers, one for both where they are the same."""
    if not layer.has_window:
        return []
    texts = [_formula(layer, (shape[-2], shape[-1]), axis) for axis in (0, 1)]
    return [f"H_out = {texts[1]}"] if texts[0][1:] == texts[1][1:] else texts


def _formula(layer: Layer, lengths: Pair, axis: int) -> str:
    size, kernel, stride, dilation = (pair[axis] for pair in (lengths, layer.kernel_size, layer.stride, layer.dilation))
    pads = layer.pads(lengths)[axis]
    if not layer.ceil_mode:
        return length_formula("HW"[axis], size=size, kernel=kernel, stride=stride, pads=pads, dilation=dilation)
    op = _rounded_up(layer, lengths)
    counted, left = op.counted_windows(lengths)[axis][0], op.lengths(lengths)[axis]
    less = f", less 1 that would begin behind the input: {left}" if left < counted else ""
    inner = f"{size} + {pads[0]} + {pads[1]} - {dilation} x ({kernel} - 1) - 1"
    return f"{'HW'[axis]}_out = ceil(({inner}) / {stride}) + 1 = {counted}{less}"


def _before(layer: Layer, lengths: Pair | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the padding before the first pixel along each axis."""
    if layer.padding == "same" and lengths is None:
        if max(layer.stride) > 1:
            raise UsageError(
                "receptive_field: `size` must be given where layers with a stride are padded same, got none: "
                f"the padding of {layer.text!r} depends on it. Add the size of the input, such as 224x224."
            )
        lengths = (1 << 20, 1 << 20)  # with a stride of 1 any size gives the same padding
    return np.array([before for before, _ in layer.pads(lengths or (1 << 20, 1 << 20))])


def _growth(layer: Layer, jump: np.ndarray[Any, np.dtype[np.int64]], axis: int) -> Written:
    """Return what a layer adds to the field along one axis: (K - 1) x dilation x the strides before."""
    kernel, dilation, step = layer.kernel_size[axis], layer.dilation[axis], int(jump[axis])
    written = f"({kernel} - 1){f' x {dilation}' if dilation > 1 else ''} x {step}"
    where = f"{layer.text}: (K - 1) x {'dilation x ' if dilation > 1 else ''}strides before"
    return Written((float(kernel - 1), float(dilation), float(step)), where, written)


def _sentence(field: Any, jump: Any, start: Any, *, sees_all: bool) -> str:
    """Say which pixels an output value sees."""
    if sees_all:
        return "each output sees the whole input"
    spans = []
    for letter, size, step, first in zip("ij", field, jump, start, strict=True):
        position = f"{step}{letter}" if step > 1 else letter
        shifts = [f" {'+' if shift > 0 else '-'} {abs(shift)}" if shift else "" for shift in (first, first + size - 1)]
        spans.append(f"{position}{shifts[0]} to {position}{shifts[1]}")
    columns = "likewise" if spans[1] == spans[0].replace("i", "j") else spans[1]
    outside = "; what lies below 0 is padding" if min(start) < 0 else ""
    return f"output [i, j] sees rows {spans[0]}, columns {columns}{outside}"


def _pair(values: Any) -> str:
    """Write one number where rows and columns have the same."""
    return str(values[0]) if values[0] == values[1] else f"{values[0]}, {values[1]}"
