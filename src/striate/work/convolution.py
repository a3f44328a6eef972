"""Convolution of typed numbers, worked by hand: window, products, sum, map; and its gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import check_choice
from striate.ops.convolution import Convolution, parse_convolution
from striate.ops.op import Array
from striate.ops.true_convolution import CONVENTIONS, parse_true_convolution
from striate.ops.working import Line, Sum
from striate.work._answer import Answer, Part, Wording, grid, times
from striate.work._case import Case, Place
from striate.work._places import parse_sizes
from striate.work.typed import as_array, as_kernels

__all__ = ["conv"]

MOST_PRODUCTS = 121
"""Products of larger windows stand in the sum alone."""
MOST_UNFOLDED = 100_000
"""Positions of a map up to which each is a term in the gradients of weight and bias without being asked for."""
LETTERS = (
    ("dL/dI", "dL/dinput"),
    ("dL/dK", "dL/dkernel"),
    (r"\bon I\b", "on the input"),
    (r"\bI\b", "input"),
    (r"\bK\b", "kernel"),
)
"""Of the rotated conventions; S stays, because it counts from another pixel than the output does."""


def conv(
    input: Any,
    kernel: Any,
    *,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    convention: str = "succeeding",
    at: Any = None,
    backward: Any = None,
) -> Answer:
    """Convolve typed numbers and show how one value of the map, and of its gradients, came about.

    Args:
        input: (L,), (H, W) or (C, H, W): text as in `parse_array`, or an array.
        kernel: (k,), (kH, kW) or (C, kH, kW); a name such as ``sobel-x``; a list of texts for several filters.
        bias: One number a filter.
        stride: Also ``"2x1"``, as for the next two.
        padding: Also ``"same"``, ``"full"``, or top, bottom, left, right.
        dilation: From one tap to the next.
        convention: ``succeeding``, as networks do; ``previous`` and ``centre`` rotate the kernel by 180 degrees.
        at: The place to unfold: ``(i, j)`` of the map, with the filter before it where there are several; with
            `backward` also ``"input[i,j]"`` or ``"kernel[a,b]"``.
        backward: dL/d(output), in its shape; True for ones.

    Returns:
        `value` is the map (H_out, W_out), with an axis of filters before where there are several; `numbers` holds
        ``output`` and, with `backward`, ``grad_input``, ``grad_weight`` and ``grad_bias``.

    Raises:
        UsageError: something is no number, or the shapes do not fit.

    Example:
        >>> conv("3 5 2 8; 9 7 5 4; 2 0 6 1", "1 0 0; 1 1 0; 0 0 1").value.tolist()
        [[25.0, 18.0]]
    """
    x, weight = _arrays(input, kernel)
    parameters = {} if bias is None else {"bias": np.atleast_1d(as_array(bias, function="conv", argument="bias"))}
    dims = x.ndim - 1
    options = {
        name: parse_sizes("conv", name, value, dims=dims)
        for name, value in (("stride", stride), ("padding", padding), ("dilation", dilation))
    }
    if convention == "succeeding":
        op = parse_convolution("conv", (1, *x.shape), weight.shape, dims=dims, **options)
        parameters = {"weight": weight} | parameters
        words = {"input": "input", "weight": "kernel", "bias": "bias"}
        case = Case("conv", op, x[None], parameters, dims, words, _wording(x, weight))
        return _answer(case, op, at, backward, title="convolution")
    _check_rotated(x, weight, parameters, convention, **options)
    kernel = weight[0, 0]
    rotated = parse_true_convolution(
        "conv", x.shape[1:], kernel.shape, padding=options["padding"], convention=convention, dims=dims
    )
    words = {"input": "input", "kernel": "kernel"}
    case = Case("conv", rotated, x[0], {"kernel": kernel}, dims, words, LETTERS)
    return _answer(case, rotated.windows, at, backward, title=f"true convolution, {convention} pixels")


def _arrays(input: Any, kernel: Any) -> tuple[Array, Array]:
    """Return the input as (C, ...) and the filters as (F, C, ...), both with the same spatial axes."""
    x = as_array(input, function="conv", argument="input")
    weight = as_kernels(kernel, function="conv")
    dims = 1 if x.ndim == weight.ndim == 1 else 2
    if x.ndim > 3 or weight.ndim > 4 or (x.ndim == 1) != (dims == 1):
        raise UsageError(
            f"conv: `input` must be (H, W) or (C, H, W) and `kernel` (kH, kW), (C, kH, kW) or (F, C, kH, kW), got "
            f"{times(x.shape)} and {times(weight.shape)}. Sequences need a kernel of one row."
        )
    x = x[None] if x.ndim == dims else x
    weight = weight.reshape((1,) * (dims + 2 - weight.ndim) + weight.shape)
    if weight.shape[1] != len(x):
        raise UsageError(
            f"conv: `kernel` must be as deep as the input, {len(x)} channel{'s' if len(x) > 1 else ''}, got "
            f"{weight.shape[1]}. Part channels with |, such as 1 0; 0 1 | 0 1; 1 0."
        )
    return x, weight


def _check_rotated(x: Array, weight: Array, parameters: dict[str, Array], convention: str, **options: Any) -> None:
    """Refuse what the rotated conventions, which are defined on one image and one kernel, do not have."""
    check_choice("conv", "convention", convention, list(CONVENTIONS))
    is_plain = weight.shape[:2] == (1, 1) and not parameters
    if not is_plain or any(options[name] not in (1, (1, 1), (1,)) for name in ("stride", "dilation")):
        raise UsageError(
            f"conv: `convention` must be succeeding with a bias, a stride, a dilation, channels or several filters, "
            f"got {convention!r}. Leave these out, or rotate the kernel by hand: last row first, each row backwards."
        )


def _answer(case: Case, windows: Convolution, at: Any, backward: Any, *, title: str) -> Answer:
    is_rotated, has_bias = "kernel" in case.parameters, "bias" in case.parameters
    whole = case if is_rotated else _with_bias(case)
    place, places = whole.chosen(at, has_gradients=backward is not None)
    before, total = case.forward(place)
    shapes = [case.plain(array).shape for array in (case.x, next(iter(case.parameters.values())), case.y)]
    parts: list[Part] = [
        Line(f"input {times(shapes[0])}, {_filters(shapes[1])}: output {'S ' if is_rotated else ''}{times(shapes[2])}"),
        *(before if is_rotated else before[1:]),
        *_products(case, total),
        case.draw("output", case.y, place),
    ]
    equation = case.equation()
    if not has_bias:
        equation = equation.replace("bias + ", "").replace("bias[o] + ", "")
    settings = f"padding {_pads(windows)}"
    if not is_rotated:
        settings = f"stride {_each(windows.stride)}, {settings}, dilation {_each(windows.dilation)}"
    places = places or _read_there(whole, windows, place)
    return whole.answer(f"{title}, {settings}", parts, backward=backward, places=places, equation=equation)


def _products(case: Case, total: Sum | None) -> list[Part]:
    """Return the products laid out as the kernel, where there is one channel, and their sum."""
    if total is None:
        return []
    taps = next(iter(case.parameters.values()))
    kernel = case.plain(taps)
    if kernel.ndim > case.dims or kernel.size > MOST_PRODUCTS:
        return [total]
    products = np.array([term.value for term in total.flat()[: kernel.size]])
    return [grid("products, pixel by pixel", products.reshape(kernel.shape)), total]


def _with_bias(case: Case) -> Case:
    """Return the case with a bias of zeros where there is none: it has a gradient all the same."""
    zeros = np.zeros(len(case.parameters["weight"]))
    return replace(case, parameters={"bias": zeros} | dict(case.parameters))


def _read_there(case: Case, windows: Convolution, place: Place) -> dict[str, Place]:
    """Return which gradients to unfold: the pixel in the middle of the window, the first weight, the bias."""
    taps = next(array for of, array in case.parameters.items() if of != "bias")
    sizes, kernel = case.x.shape[-case.dims :], taps.shape[-case.dims :]
    pixel = tuple(
        min(max(p * step - before + (k - 1) // 2 * gap, 0), size - 1)
        for p, step, (before, _), k, gap, size in zip(
            place[-case.dims :], windows.stride, windows.pads, kernel, windows.dilation, sizes, strict=True
        )
    )
    places = {"input": (0,) * (case.x.ndim - case.dims) + pixel}
    if "kernel" in case.parameters:
        return places | {"kernel": (0,) * case.dims}
    if case.y[0, 0].size > MOST_UNFOLDED:
        return places
    return places | {"weight": (place[1], *(0,) * (case.dims + 1)), "bias": (place[1],)}


def _wording(x: Array, weight: Array) -> Wording:
    """Return the user's words for the operation's arrays: without axes of samples, channels and filters of length 1."""
    words = [("dL/dy", "dL/doutput"), ("dL/dx", "dL/dinput"), ("dL/dweight", "dL/dkernel")]
    words += [
        (r"\by\[", "output["),
        (r"\bx(?=\[)", "input"),
        (r"\bof x$", "of the input"),
        (r"padded x$", "padded input"),
        (r"\bweight\[", "kernel["),
    ]
    maps = ", :" * (x.ndim - 1)
    if weight.shape[:2] == (1, 1):
        letters = [(r"\[(?:[nco],)+", "["), (r"over (?:[nco],)+", "over "), (r" over o and ", " over ")]
        return [*words, (r"^(input|kernel|dL/doutput)\[0, 0\]", r"\1"), *letters, (r"bias\[o\]", "bias")]
    if len(weight) == 1:
        words += [(r"\[(?:[no],)+", "["), (r"over n,", "over "), (" over o and ", " over "), (r"bias\[o\]", "bias")]
        words.append((r"^dL/doutput\[0, 0\]", "dL/doutput"))
    return [
        *words,
        (r"\[n,", "["),
        (r"over n,", "over "),
        (r"^(input|dL/doutput)\[0, (\d+)\]", rf"\1[\2{maps}]"),
        (r"^kernel\[(\d+), (\d+)\]", rf"kernel[\1, \2{maps}]" if len(weight) > 1 else rf"kernel[\2{maps}]"),
    ]


def _filters(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} kernels {times(shape[1:])}" if len(shape) == 4 else f"kernel {times(shape)}"


def _each(values: tuple[int, ...]) -> str:
    """Write one number for all axes, or each."""
    return str(values[0]) if len(set(values)) == 1 else times(values)


def _pads(windows: Convolution) -> str:
    """Write the padding as short as it can be said."""
    if all(before == after for before, after in windows.pads):
        return _each(tuple(before for before, _ in windows.pads))
    sides = ("top", "bottom", "left", "right") if windows.dims == 2 else ("before", "after")
    lengths = [length for pair in windows.pads for length in pair]
    return " and ".join(f"{side} {length}" for side, length in zip(sides, lengths, strict=True) if length)
