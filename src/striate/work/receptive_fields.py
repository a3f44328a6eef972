r"""What a stack of layers sees, measured by which pixels get a gradient, and what that costs.

$$ R = 1 + \sum_j (K_j - 1)\, d_j \prod_{i<j} S_i $$

with kernel $K$, dilation $d$ and stride $S$. Here a gradient of 1 is put on one value of the last map and taken back
through every layer; all kernels are ones, so that nothing cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from striate.ops.activation import relu
from striate.ops.average_pooling import AvgPool
from striate.ops.convolution import Convolution, conv2d, parse_convolution
from striate.ops.initialization import he_normal
from striate.ops.op import Array, Op, Shape
from striate.work._scene import Scene, change, difference
from striate.work.geometry import receptive_field
from striate.work.measurement import Finding, Measurement, counted, equal, unequal, value_text, valued
from striate.work.stack import parse_layers

__all__ = ["bottleneck", "dilated_layers", "map_sizes", "measured_field", "receptive_field_formula", "stacked_kernels"]

STACKS = (
    ("3 * 3x3", "three 3 x 3"),
    ("3x3, 3x3 s2, 3x3", "three 3 x 3, the second of stride 2"),
    ("5x5, pool 2x2, 5x5, pool 2x2", "LeNet-5: 5 x 5, pool, 5 x 5, pool"),
    ("2 * 3x3, pool 2x2, 2 * 3x3, pool 2x2, 3 * 3x3, pool 2x2", "VGG-16 up to its third pool"),
)
CHANNELS = 64
ROOM = 96
"""Pixels of the side of the input on which fields are measured; larger than any of them."""


def receptive_field_formula(scene: Scene) -> Finding:
    """Compare the formula of the receptive field with the pixels that get a gradient."""
    rows, pairs = [], []
    for layers, label in STACKS:
        by_formula, seen = int(receptive_field(layers).value[0]), measured_field(layers)
        pairs.append((by_formula, seen))
        rows.append(counted(label, by_formula, seen, least=by_formula, most=by_formula))
    return Finding(
        method="Pixels a side with a gradient from one value; kernels of ones, averages for pools, no padding.",
        rows=tuple(rows),
        columns=("formula", "measured"),
        verdict=f"Formula and gradient agree for all {len(pairs)}.",
    )


def stacked_kernels(scene: Scene) -> Finding:
    """Compare three convolutions of 3 x 3 with one of 7 x 7."""
    stack, single = "3 * 3x3", "7x7"
    generator = scene.generator("stack")
    kernels = [he_normal((4, channels, 3, 3), generator=generator) for channels in (1, 4, 4)]
    left, right = (pixels[None, None] - 0.5 for pixels in (scene.pixels, scene.noise("second picture")))
    linear = difference(_through(left, kernels), conv2d(left, _merged(kernels)))
    rectified = change(
        _through(left + right, kernels, rectify=True),
        _through(left, kernels, rectify=True) + _through(right, kernels, rectify=True),
    )
    counts = {layers: _costs(layers) for layers in (stack, single)}
    fields = tuple(float(measured_field(layers)) for layers in (stack, single))
    sizes, macs = (tuple(float(counts[layers][i]) for layers in (stack, single)) for i in (0, 1))
    return Finding(
        method=f"{CHANNELS} channels in and out of every layer, 56 x 56 values; errors on the picture with 4.",
        rows=(
            counted("pixels a side that one value sees", *fields, least=7, most=7),
            counted("weights", *sizes),
            counted("multiply-adds, sizes kept by padding", *macs),
            Measurement(what="weights, of those of 7 x 7", values=(sizes[0] / sizes[1],), most=0.9),
            equal("no activations: against the 7 x 7 kernel they make", linear),
            unequal("ReLU behind each: failure of f(a + b) = f(a) + f(b)", rectified),
        ),
        columns=("three 3 x 3", "one 7 x 7"),
        verdict=f"The same field with {value_text(sizes[0] / sizes[1])} of the weights and room for three "
        f"activations. Without them the three are one 7 x 7 kernel, to {value_text(linear)}; with a ReLU behind each "
        "they are not linear.",
    )


def bottleneck(scene: Scene) -> Finding:
    """Count a 5 x 5 convolution with and without a 1 x 1 convolution before it."""
    x, reduced, filters = (1, 192, 28, 28), 16, 32
    direct = _macs(x, (filters, x[1], 5, 5))
    narrow = _macs(x, (reduced, x[1], 1, 1)), _macs((1, reduced, *x[2:]), (filters, reduced, 5, 5))
    outputs = filters * math.prod(x[2:])
    total = sum(narrow)
    return Finding(
        method=f"{filters} filters of 5 x 5 on 28 x 28 x {x[1]}, directly or behind {reduced} filters of 1 x 1; "
        "padding keeps sizes.",
        rows=(
            counted("multiply-adds, 5 x 5", direct, narrow[1]),
            counted("multiply-adds, 1 x 1 before it", 0, narrow[0]),
            counted("multiply-adds, together", direct, total),
            counted("multiply-adds of one output of 5 x 5", direct // outputs, narrow[1] // outputs),
            Measurement(what="left of those without 1 x 1", values=(total / direct,), most=0.5),
        ),
        columns=("directly", "behind 1 x 1"),
        verdict=f"The 1 x 1 layer itself included, {value_text(total / direct)} of the multiply-adds are left; the 5 "
        f"x 5 layer alone, as one text counts, would be {value_text(narrow[1] / direct)}.",
    )


def dilated_layers(scene: Scene) -> Finding:
    """Let layers see further by dilation, layer by layer."""
    depths = (1, 2, 3, 4)
    alike, doubled = (
        tuple(measured_field(", ".join(f"3x3 d{d}" for d in dilations[:depth])) for depth in depths)
        for dilations in ((1, 1, 1, 1), (1, 2, 4, 8))
    )
    single = tuple(measured_field(f"3x3 d{d}") for d in (1, 2, 4, 8))
    counts = tuple(9.0 * depth for depth in depths)
    return Finding(
        method="Pixels a side with a gradient from one value, 3 x 3 kernels.",
        rows=(
            counted("stack, dilation 1 in every layer", *alike),
            counted("more than the layer before", *_growth(alike, np.subtract), least=2, most=2),
            counted("stack, dilation 1, 2, 4, 8", *doubled),
            valued("times the layer before", *_growth(doubled, np.divide), least=2),
            counted("weights of either stack, a channel", *counts),
            counted("one layer alone, of dilation 1, 2, 4, 8", *single),
        ),
        columns=tuple(f"layer {depth}" for depth in depths),
        verdict=f"With doubled dilations {depths[-1]} layers see {doubled[-1]} in place of {alike[-1]} pixels for the "
        f"same {counts[-1]:.0f} weights. The view doubles only because the dilation does.",
    )


def map_sizes(scene: Scene) -> Finding:
    """Follow the size of the map through five convolutions, with padding and without."""
    side, weights = scene.side, scene.kernel(3)[None, None]
    sizes: dict[str, list[int]] = {"valid": [], "same": []}
    for padding, lengths in sizes.items():
        x = scene.batch
        for _ in range(5):
            x = conv2d(x, weights, padding=padding)
            lengths.append(x.shape[-1])
    maps = conv2d(scene.batch, np.repeat(weights, 8, axis=0), padding="same")
    lost = 1 - (sizes["valid"][-1] / side) ** 2
    return Finding(
        method=f"Five 3 x 3 convolutions in a row on {side} x {side} pixels.",
        rows=(
            counted("pixels a side, valid", *sizes["valid"], most=side - 2),
            counted("pixels a side, same", *sizes["same"], least=side, most=side),
            counted("layer 1 with 8 filters: maps", maps.shape[1], least=8, most=8),
            counted("layer 1 with 8 filters: values of a map", maps[0, 0].size, least=side**2, most=side**2),
        ),
        columns=tuple(f"layer {number}" for number in range(1, 6)),
        verdict=f"Without padding each layer takes 2 pixels a side, five together {value_text(lost)} of the values; "
        "same keeps them. There is one map a filter, with one value a pixel.",
    )


def measured_field(layers: str) -> int:
    """Return the length of the part of the input that gets a gradient from one value behind some layers.

    Args:
        layers: As `striate.work.stack.parse_layers` reads them; convolutions and pools.

    Example:
        >>> measured_field("3x3, pool 2x2")
        4
    """
    ops: list[tuple[Op, dict[str, Array]]] = []
    inputs = [np.zeros((1, 1, ROOM, ROOM))]
    for layer in parse_layers(layers, function="measured_field"):
        pads = layer.pads(inputs[-1].shape[2:])
        if layer.kind == "conv":
            op: Op = Convolution(2, layer.stride, pads, layer.dilation)
            parameters = {"weight": np.ones((1, 1, *layer.kernel_size))}
        else:
            op, parameters = AvgPool(layer.kernel_size, layer.stride, pads, layer.dilation), {}
        ops.append((op, parameters))
        inputs.append(op.forward(inputs[-1], **parameters))
    gradient = np.zeros_like(inputs[-1])
    gradient[0, 0, gradient.shape[2] // 2, gradient.shape[3] // 2] = 1.0
    for (op, parameters), x in zip(reversed(ops), reversed(inputs[:-1]), strict=True):
        gradient = op.backward(gradient, x, **parameters).inputs[0]
    rows = np.flatnonzero(gradient[0, 0].any(axis=1))
    return int(rows[-1] - rows[0]) + 1


def _growth(fields: tuple[int, ...], compare: Callable[[Array, Array], Array]) -> tuple[float, ...]:
    """Compare each field with the one before; the first layer looks at single pixels."""
    return tuple(float(value) for value in compare(np.array(fields), np.array((1, *fields[:-1]))))


def _through(x: Array, kernels: list[Array], *, rectify: bool = False) -> Array:
    """Run one convolution after the other, with a ReLU behind each if asked."""
    for weights in kernels:
        x = relu(conv2d(x, weights)) if rectify else conv2d(x, weights)
    return x


def _merged(kernels: list[Array]) -> Array:
    """Return the filters of the one layer that several layers without activations are."""
    merged = kernels[0]
    for weights in kernels[1:]:  # the maps of a layer are what the next one's kernels are convolved with
        turned = weights[..., ::-1, ::-1]
        merged = conv2d(merged.transpose(1, 0, 2, 3), turned, padding="full").transpose(1, 0, 2, 3)
    return merged


def _costs(layers: str) -> tuple[int, int]:
    """Return weights and multiply-adds of layers with `CHANNELS` channels on 56 x 56 values."""
    shapes = [(CHANNELS, CHANNELS, *layer.kernel_size) for layer in parse_layers(layers)]
    return sum(math.prod(shape) for shape in shapes), sum(_macs((1, CHANNELS, 56, 56), shape) for shape in shapes)


def _macs(x: Shape, weight: Shape) -> int:
    """Return the multiply-adds of a convolution that keeps the size."""
    return parse_convolution("conv2d", x, weight, padding="same").macs(x, weight=weight)
