"""PyTorch's calls that choose between numbers: `minimum`, `maximum`, `where`, `masked_fill`, `clamp`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from striate.graph.adapters._call import Call, Operand
from striate.ops.comparison import Clamp, Maximum, Minimum, Where
from striate.ops.op import Op

__all__ = ["ADAPTERS"]


def _extreme(op: Op) -> Callable[..., Call]:
    def adapt(input: Tensor, other: Tensor, *, out: Any = None) -> Call:
        return Call(op, (input, other))

    return adapt


def _where(*args: Operand, **kwargs: Operand) -> Call | None:
    """Adapt ``torch.where(condition, input, other)`` and ``input.where(condition, other)``.

    They have one name, so the condition is known by its truth values; of two candidates neither is taken. Without
    input and other the call finds positions, which no operation describes.
    """
    is_method = bool(args) and not _is_condition(args[0])
    names = ("input", "condition", "other") if is_method else ("condition", "input", "other")
    given = dict(zip(names, args, strict=False)) | kwargs
    condition = given.get("condition")
    if len(given) != 3 or not isinstance(condition, Tensor) or not _is_condition(condition):
        return None
    if _is_condition(given["input"]):
        return None
    return Call(Where(), (given["input"], given["other"]), {"condition": condition})


def _is_condition(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bool


def _masked_fill(input: Tensor, mask: Tensor, value: Operand) -> Call:
    return Call(Where(), (value, input), {"condition": mask})


def _clamp(input: Tensor, min: Any = None, max: Any = None, *, out: Any = None) -> Call | None:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        return None
    return Call(Clamp(None if min is None else float(min), None if max is None else float(max)), (input,))


def _clamp_min(input: Tensor, min: Any, *, out: Any = None) -> Call | None:
    return _clamp(input, min)


def _clamp_max(input: Tensor, max: Any, *, out: Any = None) -> Call | None:
    return _clamp(input, None, max)


ADAPTERS: dict[str, Callable[..., Any]] = {
    "maximum": _extreme(Maximum()),
    "minimum": _extreme(Minimum()),
    "where": _where,
    "masked_fill": _masked_fill,
    **dict.fromkeys(("clamp", "clip"), _clamp),
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
}
