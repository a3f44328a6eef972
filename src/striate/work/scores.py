"""Softmax and cross-entropy of typed scores, worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from striate.errors import UsageError
from striate.ops._arguments import as_classes, check_range
from striate.ops.encoding import one_hot
from striate.ops.information import CategoricalCrossEntropy
from striate.ops.loss import CrossEntropy
from striate.ops.op import Array, Op
from striate.ops.softmax import Softmax
from striate.ops.working import Line, Sum, Term, number
from striate.work._answer import Answer, Part, Table, times
from striate.work._case import Case
from striate.work.typed import as_array

__all__ = ["cross_entropy", "softmax"]

MOST_ROWS = 20
"""Classes or samples that a table lists."""
WORDING = (
    (r"^x along axis.*", "input"),
    (r"^y along the axis", "output"),
    ("dL/d[px]", "dL/d__"),
    (r"dL/d__\[i\]", "dL/doutput[i]"),
    (r"dL/d__", "dL/dinput"),
    (r"\bx(?=\[| -|$)", "input"),
    (r"\bp\[", "output["),
)
LOSS_WORDING = (
    (r"dL/dz\[", "dL/dinput["),
    (r"dL/dp\[", "dL/dinput["),
    (r"dL/d(?:loss|CE)", "dL/doutput"),
    (r"\b(?:L|CE) =", "loss ="),
    ("logits", "input"),
    (r"\b[qt]\[", "target["),
    (r"^q of", "target of"),
    (r"^t = ", "target = "),
    (r"^(?:L|total)$", "loss"),
)


def softmax(input: Any, *, at: Any = None, backward: Any = None) -> Answer:
    """Turn typed scores into probabilities and show how one of them, and its gradient, came about.

    Args:
        input: Scores (K,): text as in `parse_array`, or an array.
        at: The class to unfold, counted from 0; with `backward` also ``"input[k]"``.
        backward: dL/d(output), (K,); True for ones.

    Returns:
        `value` is the probabilities (K,); `numbers` holds ``output``, ``normalized`` (plain normalisation x / sum, for
        contrast; None where the sum is 0) and, with `backward`, ``grad_input``.

    Raises:
        UsageError: something is no number.

    Example:
        >>> softmax("3.2 1.3 0.2 0.8").value.round(3).tolist()
        [0.775, 0.116, 0.039, 0.07]
    """
    x = as_array(input, function="softmax", argument="input")
    if x.ndim > 1:
        raise UsageError(f"softmax: `input` must be one row of scores, got {times(x.shape)}. Take one row at a time.")
    case = Case("softmax", Softmax(0), x, dims=1, wording=WORDING)
    place, places = case.chosen(at, has_gradients=backward is not None)
    before, _ = case.forward(place)
    plain = x / x.sum() if abs(x.sum()) > 1e-12 * np.abs(x).sum() else None
    table = [_softmax_table(x, case.y, plain)] if len(x) <= MOST_ROWS else []
    parts: list[Part] = [*before, *table]
    return case.answer(
        f"softmax of {len(x)} scores", parts, backward=backward, places=places or {"input": place}, normalized=plain
    )


def cross_entropy(
    input: Any,
    target: Any,
    *,
    probabilities: bool = False,
    base: float | str = "e",
    label_smoothing: float = 0.0,
    at: Any = None,
    backward: Any = None,
) -> Answer:
    """Measure how far typed scores are from the target and show how the loss, and its gradient, came about.

    Args:
        input: Scores (K,), or (N, K) of several samples: text as in `parse_array`, or an array.
        target: The class of each sample, counted from 0, or its distribution over the classes.
        probabilities: `input` holds probabilities; otherwise softmax makes them from scores.
        base: Of the logarithm: ``e`` (nats) or a number such as 2 (bits).
        label_smoothing: Share of the target that is spread evenly over the classes.
        at: With `backward`, the value whose gradient is unfolded: ``"input[k]"``, or ``"input[n,k]"``.
        backward: dL/d(loss), one number; True for 1.

    Returns:
        `value` is the loss, the mean over the samples; `numbers` holds it as ``output``, ``probabilities`` and, with
        `backward`, ``grad_input``.

    Raises:
        UsageError: something is no number or no class, or probabilities do not sum to 1.

    Example:
        >>> round(float(cross_entropy("0.775 0.116 0.039 0.07", 0, probabilities=True, base=2).value), 4)
        0.3677
    """
    x = as_array(input, function="cross_entropy", argument="input")
    check_range("cross_entropy", "label_smoothing", label_smoothing, above=0, below=1, closed=True)
    if x.ndim > 2:
        raise UsageError(
            f"cross_entropy: `input` must be one row of scores a sample, got {times(x.shape)}. Flatten it."
        )
    rows, log_base = np.atleast_2d(x), _log_base(base)
    targets = _targets(rows, target, label_smoothing=label_smoothing)
    op: Op
    if probabilities:
        op, inputs, of = CategoricalCrossEntropy(math.exp(log_base)), (targets, rows), "input1"
        p, scale = rows, 1 / len(rows)  # the operation gives one loss a sample
    else:
        op, inputs, of = CrossEntropy(), (rows, targets), "input"
        p, scale = Softmax(1).forward(rows), 1 / log_base  # it works in nats
    case = Case("cross_entropy", op, inputs[0], {}, x.ndim, {of: "input"}, LOSS_WORDING, inputs[1:])
    _, places = case.chosen(at, has_gradients=backward is not None)
    loss = float(case.y.sum()) * scale
    parts: list[Part] = [
        *([Line(f"target: {number(label_smoothing)} of it is spread over all classes")] if label_smoothing else []),
        _loss_table(rows, p, targets, log_base, has_scores=not probabilities),
        *_loss_lines(case, log_base, loss, is_nats=base == "e"),
    ]
    numbers = {"output": loss, "probabilities": case.plain(p)}
    if backward is not None:
        given = 1.0 if backward is True else _one_number("grad_output", backward)
        default = {of: (0, int(targets[0].argmax()))}
        more, gradients = case.backward(np.full(case.y.shape, given * scale), places or default)
        if scale != 1:
            by = f"{len(rows)} samples" if probabilities else f"ln base = {number(log_base)}"
            more[0] = Line(f"dL/doutput = {number(given)}, divided by {by}: {number(given * scale)}")
        parts += more
        numbers |= {"grad_input": gradients["grad_input"]}
    return Answer(f"cross-entropy, base {base}", case.equation(), tuple(parts), loss, numbers)


def _targets(rows: Array, target: Any, *, label_smoothing: float) -> Array:
    """Return the distribution over the classes for each sample."""
    given = as_array(target, function="cross_entropy", argument="target")
    samples, classes = rows.shape
    if given.size not in (samples, rows.size) or (given.ndim > 1 and given.shape != rows.shape):
        raise UsageError(
            f"cross_entropy: `target` must be one class a sample ({samples}) or the shares of all "
            f"({times(rows.shape)}), got {times(given.shape)}. Count the classes from 0, or give shares that sum to 1."
        )
    if given.size == rows.size and classes > 1:
        shares = given.reshape(rows.shape)
    else:
        indices = as_classes("cross_entropy", given.reshape(-1), num_classes=classes, argument="target")
        shares = one_hot(indices, num_classes=classes).astype(np.float64)
    return np.asarray((1 - label_smoothing) * shares + label_smoothing / classes)


def _one_number(argument: str, value: Any) -> float:
    array = as_array(value, function="cross_entropy", argument=argument)
    if array.size != 1:
        raise UsageError(f"cross_entropy: `{argument}` must be one number, got {times(array.shape)}. The loss is one.")
    return float(array.item())


def _log_base(base: float | str) -> float:
    """Return the natural logarithm of the base."""
    if base == "e":
        return 1.0
    value = as_array(base, function="cross_entropy", argument="base")
    if value.size != 1 or not value.item() > 1:
        raise UsageError(
            f"cross_entropy: `base` must be e or a number above 1, got {base!r}. Write 2 for bits, e for nats."
        )
    return math.log(value.item())


def _softmax_table(x: Array, p: Array, plain: Array | None) -> Table:
    below = x - x.max()
    header = ["class", "input", "input - max", "exp(input - max)", "output", "input / sum"]
    columns = [x, below, np.exp(below), p, np.full(len(x), np.nan) if plain is None else plain]
    rows = [[str(k), *(number(column[k]) for column in columns)] for k in range(len(x))]
    rows.append(
        ["sum", number(x.sum()), "", number(np.exp(below).sum()), number(p.sum()), "" if plain is None else "1"]
    )
    return Table.of(header, rows)


def _loss_table(rows: Array, p: Array, targets: Array, log_base: float, *, has_scores: bool) -> Table:
    """List the classes of one sample, or the losses of several."""
    with np.errstate(divide="ignore"):
        surprise = -np.log(p) / log_base
    products = np.where(targets > 0, targets * np.where(targets > 0, surprise, 0), 0.0)
    if len(rows) == 1:
        header = ["class", *(["score"] if has_scores else []), "p", "target", "-log p", "target x -log p"]
        columns = [*([rows[0]] if has_scores else []), p[0], targets[0], surprise[0], products[0]]
        shown = sorted(np.argsort(-products[0], kind="stable")[:MOST_ROWS])
        return Table.of(header, [[str(k), *(number(column[k]) for column in columns)] for k in shown])
    listed = [
        [str(n), str(int(t.argmax())), number(shares[t.argmax()]), number(loss)]
        for n, (t, shares, loss) in enumerate(zip(targets, p, products.sum(axis=1), strict=True))
    ]
    return Table.of(["sample", "target", "p of it", "loss"], listed[:MOST_ROWS])


def _loss_lines(case: Case, log_base: float, loss: float, *, is_nats: bool) -> list[Part]:
    """Return the sum that makes the loss, and what another base or the mean makes of it."""
    if case.y.size == 1:
        total = case.op.working((0,) * case.y.ndim, case.x, *case.others).sums()[-1]
        parts: list[Part] = [replace(total, label="loss")]
        if case.y.ndim == 0 and not is_nats:
            parts = [replace(total, label="loss in nats")]
            parts.append(
                Line(f"loss = {number(case.y)} / ln base = {number(case.y)} / {number(log_base)} = {number(loss)}")
            )
        return parts
    share = 1 / case.y.size
    terms = tuple(Term((share, float(each)), f"loss of sample {n}") for n, each in enumerate(case.y))
    return [Sum("loss, the mean", terms, loss)]
