"""The parameters of a stack of layers, counted with the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from striate.errors import UsageError
from striate.ops.working import Line, Sum
from striate.work._answer import Answer, Part, Table, Written, times
from striate.work.geometry import shapes_through
from striate.work.stack import Layer, parse_layers, parse_size

__all__ = ["parameters"]


def parameters(layers: str, *, size: str | None = None) -> Answer:
    """Count weights and biases: (C k k + 1) F of a convolution, (in + 1) out of a dense layer, none of a pool.

    Args:
        layers: As in `parse_layers`, from the input on.
        size: Of the input with its channels, such as ``1x28x28``. Without it a first convolution says what comes in
            (``c1``), and so does a dense layer (``256->10``) where it does not follow from the layer before.

    Returns:
        `value` is the number of parameters; `numbers` holds ``parameters`` of each layer, ``weights``, ``biases``,
        ``total`` and ``weight_layers``, the number of convolutions and dense layers.

    Raises:
        UsageError: a layer is not understood, or what comes into it is not known or does not fit.

    Example:
        >>> parameters("5x5 f6, pool 2x2, 5x5 f16, pool 2x2, dense 120, dense 84, dense 10", size="1x28x28").value
        44426
    """
    stack = parse_layers(layers, function="parameters")
    shapes = None if size is None else shapes_through("parameters", size, stack)
    channels, features = (None if size is None else parse_size(size, function="parameters")[0]), None
    rows: list[tuple[str, ...]] = []
    terms: list[Written] = []
    counts: list[tuple[int, int]] = []
    for number, layer in enumerate(stack, start=1):
        if shapes is not None:
            before = shapes[number - 1]
            channels, features = (before[0] if len(before) == 3 else None), _product(before)
        weights, biases, formula = _count(layer, channels, features, number=number)
        counts.append((weights, biases))
        if weights:
            terms.append(Written((float(weights + biases),), layer.text, formula))
        shape = () if shapes is None else (times(shapes[number]),)
        rows.append((layer.text, *shape, formula or "none", f"{weights + biases:,}"))
        if layer.kind == "conv":
            channels = layer.filters
        elif layer.kind == "dense":
            features = layer.out_features
    weights, biases = (sum(pair[i] for pair in counts) for i in (0, 1))
    header = ("layer", *(() if shapes is None else ("output",)), "weights and biases", "parameters")
    parts: list[Part] = [Table.of(header, rows, left=len(header) - 1)]
    if len(terms) > 1:
        parts.append(Sum("total", tuple(terms), float(weights + biases)))
    parts.append(Line(f"{weights:,} weights + {biases:,} biases = {weights + biases:,} parameters"))
    weight_layers = sum(layer.kind in ("conv", "dense") for layer in stack)
    return Answer(
        title=f"parameters: {weights + biases:,} in {weight_layers} layer{'s' if weight_layers != 1 else ''}",
        equation="convolution (C x k x k + 1) x F, dense (in + 1) x out, pooling 0",
        parts=tuple(parts),
        value=weights + biases,
        numbers={
            "parameters": [sum(pair) for pair in counts],
            "weights": weights,
            "biases": biases,
            "total": weights + biases,
            "weight_layers": weight_layers,
        },
    )


def _count(layer: Layer, channels: int | None, features: int | None, *, number: int) -> tuple[int, int, str]:
    """Return weights, biases and the formula with its numbers."""
    plus = " + 1" if layer.has_bias else ""
    if layer.kind == "conv":
        incoming, filters = _known(layer, "in_channels", channels, number=number), layer.filters
        if filters is None:
            raise _missing(layer, "how many filters it has", "Add them, such as f6.", number=number)
        if incoming % layer.groups or filters % layer.groups:
            raise UsageError(
                f"parameters: `layers` must have groups that divide channels and filters, {incoming} and {filters}, "
                f"got {layer.groups} in {layer.text!r}, layer {number}. Change g, c or f."
            )
        depth = incoming // layer.groups
        height, width = layer.kernel_size
        formula = f"({depth} x {height} x {width}{plus}) x {filters}"
        return depth * height * width * filters, filters * layer.has_bias, formula
    if layer.kind == "dense":
        incoming, out = _known(layer, "in_features", features, number=number), layer.out_features
        return incoming * out, out * layer.has_bias, f"({incoming}{plus}) x {out}"
    if layer.kind == "norm":
        size = channels if channels is not None else features
        if size is None:
            raise _missing(layer, "how many channels come in", "Add the size of the input.", number=number)
        return size, size, f"2 x {size}"
    return 0, 0, ""


def _known(layer: Layer, name: str, follows: int | None, *, number: int) -> int:
    """Return what comes into a layer, as it is typed or as it follows, which must agree."""
    typed: int | None = getattr(layer, name)
    if typed is None and follows is None:
        what, example = ("channels", "c3") if name == "in_channels" else ("values", "256->10")
        advice = f"Write them, such as {example}, or add the size of the input."
        raise _missing(layer, f"how many {what} come in", advice, number=number)
    if typed is not None and follows is not None and typed != follows:
        raise UsageError(
            f"parameters: `layers` must fit each other, got {layer.text!r} as layer {number} where {follows} "
            f"{'channels' if name == 'in_channels' else 'values'} come in. Write {follows} there, or leave it out."
        )
    return typed if typed is not None else int(follows or 0)


def _missing(layer: Layer, what: str, advice: str, *, number: int) -> UsageError:
    return UsageError(f"parameters: `layers` must say {what}, got {layer.text!r} as layer {number}. {advice}")


def _product(shape: Sequence[int]) -> int | None:
    """Return the number of values, None where the channels are not known."""
    if len(shape) == 2:
        return None
    total = 1
    for length in shape:
        total *= length
    return total
