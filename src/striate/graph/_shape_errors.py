"""From an exception in a forward pass to a message that says the layer, what arrived, what it wanted, and the edit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from striate.graph._calls import plain_name, tensors_in
from striate.graph._drafts import Place
from striate.graph._failed import Failed
from striate.graph._joining_errors import JOINS
from striate.graph._layer_errors import LAYERS, wrong_axes
from striate.graph._recorder import Failure, Recorder

__all__ = ["explain"]

EXPLAINERS = LAYERS | JOINS
WEIGHTED = {"linear", "batch_norm", "layer_norm", "group_norm", "matmul", "mm", "bmm"} | {
    f"{kind}{dims}d" for kind in ("conv", "conv_transpose") for dims in (1, 2, 3)
}
"""Calls that want one number format for all that they are given."""


def explain(recorder: Recorder, error: Exception) -> str | None:
    """Return what was wrong with the shapes; None: the error is about something else."""
    failure = recorder.failure
    if failure is not None and failure.error is error:
        return _explain_call(failure, recorder)
    if recorder.entered is not None:
        place, args = recorder.entered
        if _raised_in(error, place.module):
            return _explain_module(place, args)
    return None


def _explain_call(failure: Failure, recorder: Recorder) -> str | None:
    name = plain_name(failure.name)[0]
    failed = Failed(name, failure.place, failure.sources, recorder.origins.drafts)
    explainer = EXPLAINERS.get(name)
    try:
        message = explainer(failed, *failure.args, **failure.kwargs) if explainer else None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # The call was written in a way that PyTorch does not take either.
        return None
    return message or _number_formats(failed, tensors_in((failure.args, failure.kwargs)))


def _raised_in(error: Exception, module: nn.Module | None) -> bool:
    """Whether an error came out of a module's own code."""
    step, last = error.__traceback__, None
    while step is not None:
        if isinstance(owner := step.tb_frame.f_locals.get("self"), nn.Module):
            last = owner
        step = step.tb_next
    return last is not None and last is module


def _explain_module(place: Place, args: tuple[Any, ...]) -> str | None:
    """Explain what PyTorch's own modules check before they compute: the number of axes of batch and instance norm."""
    module, tensors = place.module, tensors_in(args)
    kind = type(module).__name__
    dims = next((d for d in (1, 2, 3) if kind in (f"BatchNorm{d}d", f"InstanceNorm{d}d")), None)
    if dims is None or not tensors:
        return None
    return wrong_axes(Failed(kind, place, {}, ()), tensors[0], dims=dims)


def _number_formats(failed: Failed, tensors: Sequence[Tensor]) -> str | None:
    """Say that number formats differ: an input of bytes or of float64 is the usual one."""
    if failed.name not in WEIGHTED or len(tensors) < 2:
        return None
    input, weight = tensors[0], next((t for t in tensors[1:] if t.is_floating_point()), tensors[1])
    if input.dtype == weight.dtype:
        return None
    wanted, got = str(weight.dtype).removeprefix("torch."), str(input.dtype).removeprefix("torch.")
    scale = " (bytes from 0 to 255: divide by 255)" if got == "uint8" else ""
    return f"{failed.layer} has {wanted} weights and received {got} values: give x.to(torch.{wanted}){scale}."
