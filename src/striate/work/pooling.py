"""Pooling of typed numbers, worked by hand: window, winner or sum, map; and its gradient."""

from __future__ import annotations

from typing import Any

from striate.errors import UsageError
from striate.ops._arguments import check_choice
from striate.ops._pooling import Pool, parse
from striate.ops.average_pooling import AvgPool, SumPool
from striate.ops.lp_pooling import LpPool
from striate.ops.max_pooling import MaxPool
from striate.ops.op import Array
from striate.ops.weighted_pooling import WeightedAvgPool
from striate.ops.working import Line
from striate.work._answer import Answer, Part, Wording, times
from striate.work._case import Case, Place
from striate.work._places import parse_sizes
from striate.work.typed import as_array

__all__ = ["KINDS", "pool"]

KINDS: dict[str, type[Pool]] = {
    "max": MaxPool,
    "avg": AvgPool,
    "sum": SumPool,
    "l2": LpPool,
    "weighted": WeightedAvgPool,
}
TITLES = {"max": "max", "avg": "average", "sum": "sum", "l2": "L2-norm", "weighted": "weighted average"}


def pool(
    input: Any,
    *,
    kind: str = "max",
    kernel_size: Any = None,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    weights: Any = None,
    at: Any = None,
    backward: Any = None,
) -> Answer:
    """Pool typed numbers and show how one value of the map, and of the gradient, came about.

    Args:
        input: (L,), (H, W) or (C, H, W): text as in `parse_array`, or an array.
        kind: A key of `KINDS`.
        kernel_size: Rows and columns of the window, 2 by default; with `weights` it is theirs.
        stride: The size of the window by default.
        padding: At most half the window.
        ceil_mode: Round the output's size up: the last window may hang over.
        weights: (kH, kW) of ``weighted``; they are divided by their sum.
        at: The place to unfold: ``(i, j)`` of the map, with the channel before it where there are several; with
            `backward` also ``"input[i,j]"``.
        backward: dL/d(output), in its shape; True for ones.

    Returns:
        `value` is the map, shaped as the input is; `numbers` holds ``output`` and, with `backward`, ``grad_input``.

    Raises:
        UsageError: something is no number, or the window does not fit.

    Example:
        >>> pool("12 20 30 0; 8 12 2 0; 34 70 37 4; 112 100 25 12").value.tolist()
        [[20.0, 30.0], [112.0, 37.0]]
    """
    check_choice("pool", "kind", kind, list(KINDS))
    x = as_array(input, function="pool", argument="input")
    if x.ndim > 3:
        raise UsageError(f"pool: `input` must be (L,), (H, W) or (C, H, W), got {times(x.shape)}. Give one image.")
    dims = min(2, x.ndim)
    x = x.reshape((1,) * (dims + 2 - x.ndim) + x.shape)
    parameters = _weights(kind, weights, kernel_size, dims)
    sizes = {
        "kernel_size": parameters["weight"].shape if parameters else 2 if kernel_size is None else kernel_size,
        "stride": stride,
        "padding": padding,
    }
    typed = {name: parse_sizes("pool", name, value, dims=dims) for name, value in sizes.items()}
    op = KINDS[kind](**parse("pool", x.shape, dims=dims, **typed), ceil_mode=ceil_mode)
    words = {"input": "input"} | ({"weight": "weights"} if parameters else {})
    case = Case("pool", op, x, parameters, dims, words, _wording(kind, x))
    return _answer(case, op, f"{TITLES[kind]} pooling", at, backward)


def _weights(kind: str, weights: Any, kernel_size: Any, dims: int) -> dict[str, Array]:
    """Return the weights of weighted pooling as its parameter, and nothing for the other kinds."""
    if (kind == "weighted") != (weights is not None) or (weights is not None and kernel_size is not None):
        raise UsageError(
            "pool: `weights` must be given for kind weighted, which takes its window from them, and for no other, got "
            f"kind {kind}, weights {'none' if weights is None else 'given'}, kernel_size {kernel_size}. "
            'Write weights such as "1 2 1; 2 4 2; 1 2 1", or leave them out.'
        )
    if weights is None:
        return {}
    array = as_array(weights, function="pool", argument="weights")
    array = array[None] if array.ndim < dims else array
    if array.ndim != dims or array.sum() == 0:
        raise UsageError(
            f"pool: `weights` must be one number for each cell of the window, their sum other than 0, got "
            f"{times(array.shape)} with sum {array.sum():g}. Write them row by row, such as 1 2 1; 2 4 2; 1 2 1."
        )
    return {"weight": array}


def _answer(case: Case, op: Pool, title: str, at: Any, backward: Any) -> Answer:
    place, places = case.chosen(at, has_gradients=backward is not None)
    parts, total = case.forward(place)
    first = Line(f"input {times(case.plain(case.x).shape)}: output {times(case.plain(case.y).shape)}")
    shown: list[Part] = [first, *parts, *([] if total is None else [total]), case.draw("output", case.y, place)]
    rounding = ", size rounded up" if op.ceil_mode else ""
    heading = f"{title}: window {times(op.kernel_size)}, stride {times(op.stride)}{rounding}"
    return case.answer(heading, shown, backward=backward, places=places or _read_there(case, op, place))


def _read_there(case: Case, op: Pool, place: Place) -> dict[str, Place]:
    """Return which gradients to unfold: the pixel that matters most to the chosen value, and the first weight."""
    channel = case.x[place[:2]]
    cells = [cell for cell in op.cells(channel, place[2:]) if cell.place is not None]
    if not cells:
        return {}
    best = max(cells, key=lambda cell: cell.value) if isinstance(op, MaxPool) else cells[0]
    places = {"input": (*place[:2], *(best.place or ()))}
    return places | ({"weight": (0,) * case.dims} if "weight" in case.parameters else {})


def _wording(kind: str, x: Array) -> Wording:
    """Return the user's words for the operation's arrays, without the axis of samples, nor that of one channel."""
    maps = ", :" * (x.ndim - 2)
    words = [("dL/dy", "dL/doutput"), ("dL/dx", "dL/dinput"), (r"\by\[", "output["), (r"\bx(?=\[)", "input")]
    words += [(r"^y = ", "output = "), (r"dL/dw\b", "dL/dweights")]
    words += [("sum over windows o", "sum over o"), ("; x is what cell k reads", ", x at cell k")]
    if kind == "l2":
        words += [(r"\((.*)\)\^\(1/2\)", r"sqrt(\1)"), (r"\^\(p-1\) ", " / "), (r"\^\(1-p\)", "")]
        words.append(("sum of the powers 2", "sum of squares"))
    if x.shape[1] == 1:
        return [*words, (r"^(input|dL/doutput)\[0, 0\]", r"\1")]
    return [*words, (r"^(input|dL/doutput)\[0, (\d+)\]", rf"\1[\2{maps}]")]
