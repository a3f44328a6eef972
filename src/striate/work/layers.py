"""The dense layer and batch normalisation of typed numbers, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops._normalizing import check_eps
from striate.ops.dense import Linear
from striate.ops.normalization import BatchNorm
from striate.ops.op import Array
from striate.ops.working import Line, number
from striate.work._answer import Answer, Part, Wording, times
from striate.work._case import Case
from striate.work.typed import as_array

__all__ = ["batch_norm", "dense"]


def dense(input: Any, weight: Any, *, bias: Any = None, at: Any = None, backward: Any = None) -> Answer:
    """Multiply typed numbers by a weight matrix and show how one output, and the gradients, came about.

    Args:
        input: (in,), or (N, in) for several samples: text as in `parse_array`, or an array.
        weight: (out, in): one row an output.
        bias: (out,).
        at: The output to unfold, with the sample before it where there are several; with `backward` also
            ``"input[i]"``, ``"weight[o,i]"`` or ``"bias[o]"``.
        backward: dL/d(output), in its shape; True for ones.

    Returns:
        `value` is the output (out,) or (N, out); `numbers` holds ``output`` and, with `backward`, ``grad_input``,
        ``grad_weight`` and ``grad_bias``.

    Raises:
        UsageError: something is no number, or the shapes do not fit.

    Example:
        >>> dense("1 2", "3 4; 0 -1", bias="0.5 0").value.tolist()
        [11.5, -2.0]
    """
    x, weight = (
        as_array(value, function="dense", argument=name) for name, value in (("input", input), ("weight", weight))
    )
    weight = weight[None] if weight.ndim == 1 else weight
    if x.ndim > 2 or weight.ndim > 2 or x.shape[-1] != weight.shape[-1]:
        raise UsageError(
            f"dense: `weight` must have one row an output and one number for each of the {x.shape[-1]} inputs in it, "
            f"got {times(weight.shape)} for an input of {times(x.shape)}. Part the rows with ;."
        )
    biases = None if bias is None else np.atleast_1d(as_array(bias, function="dense", argument="bias"))
    if biases is not None and biases.shape != weight.shape[:1]:
        raise UsageError(
            f"dense: `bias` must be one number an output, {len(weight)}, got {times(biases.shape)}. "
            "Give one for each row of weight."
        )
    parameters = {"weight": weight} | ({} if biases is None else {"bias": biases})
    words = {"input": "input", "weight": "weight", "bias": "bias"}
    case = Case("dense", Linear(), x, parameters, x.ndim, words, _letters(has_samples=x.ndim > 1))
    # Without a bias it has a gradient all the same.
    whole = replace(case, parameters={"bias": np.zeros(len(weight))} | parameters)
    place, places = whole.chosen(at, has_gradients=backward is not None)
    _, total = case.forward(place)
    samples = f"{len(x)} samples of " if x.ndim > 1 else ""
    parts: list[Part] = [
        Line(f"{samples}{x.shape[-1]} inputs, {len(weight)} output{'s' if len(weight) > 1 else ''}"),
        case.draw("input", x),
        case.draw("weight, one row an output", weight),
        *([] if biases is None else [case.draw("bias", biases)]),
        *([] if total is None else [total]),
        case.draw("output", case.y, place),
    ]
    first = {"input": (*place[:-1], 0), "weight": (place[-1], 0), "bias": place[-1:]}
    equation = case.equation() if biases is not None else case.equation().replace("bias[o] + ", "")
    return whole.answer("dense layer", parts, backward=backward, places=places or first, equation=equation)


def batch_norm(
    input: Any,
    *,
    weight: Any = None,
    bias: Any = None,
    mean: Any = None,
    variance: Any = None,
    eps: float = 1e-5,
    at: Any = None,
    backward: Any = None,
) -> Answer:
    """Normalise typed numbers to mean 0 and variance 1 and show how one value, and the gradients, came about.

    Args:
        input: The values of one channel, (N,) or (H, W), or (C, H, W) of several, or (N, C, H, W): text as in
            `parse_array`, or an array. All values of a channel share one mean and one variance.
        weight: Scale of each channel (C,), 1 by default.
        bias: Shift of each channel (C,), 0 by default.
        mean: Running mean (C,): with it and the variance, batch norm as in inference.
        variance: Running variance (C,).
        eps: Added to the variance.
        at: The value to unfold, ``(i,)`` or ``(i, j)``, with the channel before it where there are several; with
            `backward` also ``"input[i]"``, ``"weight[c]"`` or ``"bias[c]"``.
        backward: dL/d(output), in its shape; True for ones.

    Returns:
        `value` is the output, shaped as the input is; `numbers` holds ``output``, ``mean``, ``variance`` and, with
        `backward`, ``grad_input``, ``grad_weight`` and ``grad_bias``.

    Raises:
        UsageError: something is no number, or there are not as many as channels.

    Example:
        >>> batch_norm("1 3", weight=2, bias=5).value.round(4).tolist()
        [3.0, 7.0]
    """
    x = as_array(input, function="batch_norm", argument="input")
    if x.ndim > 4:
        raise UsageError(
            f"batch_norm: `input` must have at most 4 axes (N, C, H, W), got {times(x.shape)}. Flatten the others."
        )
    dims = min(2, x.ndim)
    x = x.reshape((1,) * (dims + 2 - x.ndim) + x.shape)
    given = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance}
    parameters = {
        name: np.atleast_1d(as_array(value, function="batch_norm", argument=_TYPED.get(name, name)))
        for name, value in given.items()
        if value is not None
    }
    if (mean is None) != (variance is None):
        raise UsageError("batch_norm: `mean` and `variance` must be given together, got one. Give both, or neither.")
    if variance is not None and (parameters["running_var"] < 0).any():
        least = number(parameters["running_var"].min())
        raise UsageError(f"batch_norm: `variance` must hold no negative number, got {least}. A variance is a square.")
    check_eps("batch_norm", eps, is_zero_allowed=mean is not None)
    op = BatchNorm(training=mean is None, eps=eps)
    words = {"input": "input", "weight": "weight", "bias": "bias"}
    case = Case("batch_norm", op, x, _whole(x, parameters), dims, words, _NORM_WORDING)
    place, places = case.chosen(at, has_gradients=backward is not None)
    before, total = case.forward(place)
    parts: list[Part] = [case.draw("input", x, place), *before, *([] if total is None else [total])]
    parts.append(case.draw("output", case.y, place))
    rows = op.statistics(op.rows(x), **parameters)
    numbers: dict[str, Any] = {name: column[:, 0] for name, column in zip(("mean", "variance"), rows, strict=True)}
    title = f"batch normalisation{'' if op.training else ', inference'}, eps {number(eps)}"
    first = {"input": place, "weight": place[1:2], "bias": place[1:2]}
    return case.answer(title, parts, backward=backward, places=places or first, **numbers)


def _whole(x: Array, parameters: dict[str, Array]) -> dict[str, Array]:
    """Return the parameters with weights of 1 and biases of 0 where there are none."""
    channels = x.shape[1]
    return {"weight": np.ones(channels), "bias": np.zeros(channels)} | parameters


_TYPED = {"running_mean": "mean", "running_var": "variance"}
_NORM_WORDING = (
    ("dL/dy", "dL/doutput"),
    ("dL/dx", "dL/dinput"),
    (r"\by = ", "output = "),
    (r"\bx(?=\[| -|$)", "input"),
    (", by channel", ""),
    (r"^values with one mean and variance: .*\], ([\d,]+) of them", r"\1 values share one mean and one variance"),
)


def _letters(*, has_samples: bool) -> Wording:
    """Return the user's words for the dense layer's arrays."""
    return (
        ("dL/dy", "dL/doutput"),
        ("dL/dx", "dL/dinput"),
        (r"\by\[", "output["),
        (r"\bx\[", "input["),
        *(() if has_samples else ((r"\[n, ", "["), ("sum over samples n of ", ""))),
    )
