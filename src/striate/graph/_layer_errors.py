"""What a layer says of an input that does not fit it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from striate.graph._failed import AXES, Failed, counted, shape_of
from striate.graph._table import by
from striate.graph.adapters import per_axis
from striate.ops.op import Shape
from striate.ops.reshaping import Flatten

__all__ = ["LAYERS", "wrong_axes"]

CONVOLUTIONS = {f"conv{dims}d": dims for dims in (1, 2, 3)}


def _linear(failed: Failed, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> str | None:
    wanted = weight.shape[1]
    if input.ndim and input.shape[-1] == wanted:
        return None
    if (unbatched := _unbatched(failed, input)) is not None:
        return unbatched
    if input.ndim > 2 and math.prod(input.shape[1:]) == wanted:
        return (
            f"{failed.layer} received {shape_of(input)}: flatten each image first, with nn.Flatten() or x.flatten(1), "
            f"{by(tuple(input.shape[1:]))} = {wanted}."
        )
    got = input.shape[-1] if input.ndim else 1
    factors = _factors(failed, input)
    return f"{failed.layer} received {got} values: set in_features={got}{f' = {factors}' if factors else ''}."


def _factors(failed: Failed, input: Tensor) -> str:
    """Return how the values of a flattened tensor stood before, such as ``16 x 5 x 5``."""
    draft = failed.source(input)
    while draft is not None and draft.inputs:
        before = draft.inputs[0].shape
        if before != draft.shape:
            op = draft.op
            merged = before[op.start_dim : op.end_dim + 1] if isinstance(op, Flatten) else before[1:]
            if math.prod(merged) != input.shape[-1]:
                return ""
            if sum(length > 1 for length in merged) > 1:
                return by(merged)
        draft = draft.inputs[0]
    return ""


def _unbatched(failed: Failed, input: Tensor) -> str | None:
    """Say that the batch axis is missing, when a convolution before saw a single image; PyTorch lets that pass."""
    draft, found = failed.source(input), None
    while draft is not None and draft.inputs:
        if draft.call in CONVOLUTIONS and len(draft.inputs[0].shape) == CONVOLUTIONS[draft.call] + 1:
            found = draft
        draft = draft.inputs[0]
    if found is None:
        return None
    shape, axes = found.inputs[0].shape, AXES[CONVOLUTIONS[found.call]]
    return (
        f"{failed.layer} received {shape_of(input)}, because the batch axis is missing: {failed.name_of(found)} "
        f"received {shape} and takes {axes}. Give x[None], shape {(1, *shape)}."
    )


def _convolution(failed: Failed, input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> str | None:
    dims = weight.ndim - 2
    options = dict(zip(("bias", "stride", "padding", "dilation", "groups"), args, strict=False)) | kwargs
    if input.ndim not in (dims + 1, dims + 2):
        return wrong_axes(failed, input, dims=dims)
    wanted = weight.shape[1] * int(options.get("groups", 1))
    channels = input.shape[-dims - 1]
    if channels != wanted:
        return _channels(failed, input, wanted, dims=dims)
    if isinstance(padding := options.get("padding", 0), str):
        return None
    return _too_small(
        failed, input, tuple(weight.shape[2:]), padding=padding, dilation=options.get("dilation", 1), dims=dims
    )


def _transposed(failed: Failed, input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> str | None:
    dims = weight.ndim - 2
    if input.ndim not in (dims + 1, dims + 2):
        return wrong_axes(failed, input, dims=dims)
    return _channels(failed, input, weight.shape[0], dims=dims) if input.shape[-dims - 1] != weight.shape[0] else None


def _channels(failed: Failed, input: Tensor, wanted: int, *, dims: int) -> str:
    got, shape = input.shape[-dims - 1], shape_of(input)
    if failed.is_input(input):
        if input.ndim == dims + 1 and wanted == 1:
            return (
                f"{failed.layer} received {shape}: the axis of channels is missing. Give x[:, None] for {AXES[dims]}."
            )
        if input.ndim == dims + 1:
            return f"{failed.layer} received {shape}: give a batch {AXES[dims]} with {counted(wanted, 'channel')}."
        if input.shape[-1] == wanted:
            order = (0, dims + 1, *range(1, dims + 1))
            return f"{failed.layer} received {shape}, channels last: give {AXES[dims]}, x.permute{order}."
        return (
            f"{failed.layer} received {counted(got, 'channel')}, shape {shape}: set in_channels={got}, "
            f"or give images of {counted(wanted, 'channel')}."
        )
    return f"{failed.layer} received {counted(got, 'channel')}, shape {shape}: set in_channels={got}."


def wrong_axes(failed: Failed, input: Tensor, *, dims: int) -> str:
    shape = tuple(input.shape)
    module = type(failed.place.module).__name__ if failed.place.module is not None else ""
    if len(shape) == 2 and "Norm" in module:
        edit = "use BatchNorm1d after a dense layer."
    elif len(shape) == dims + 1:
        edit = f"the batch axis is missing, give x[None], shape {(1, *shape)}."
    elif len(shape) == 2:
        channels = getattr(failed.place.module, "in_channels", 1)
        side = math.isqrt(shape[1] // channels) if dims == 2 else 0
        fits = side > 1 and channels * side * side == shape[1]
        edit = f"give images, x.reshape(-1, {channels}, {side}, {side})." if fits else "give images, not vectors."
    else:
        edit = f"reshape it to {dims + 2} axes."
    return f"{failed.layer} takes {AXES[dims]} and received {shape}: {edit}"


def _pool(failed: Failed, input: Tensor, kernel_size: Any, *args: Any, **kwargs: Any) -> str | None:
    dims = int(failed.name.removesuffix("_with_indices")[-2])
    if input.ndim not in (dims + 1, dims + 2):
        return wrong_axes(failed, input, dims=dims)
    padding = kwargs.get("padding", args[1] if len(args) > 1 else 0)
    dilation = kwargs.get("dilation", 1)
    return _too_small(failed, input, per_axis(kernel_size, dims), padding=padding, dilation=dilation, dims=dims)


def _too_small(failed: Failed, input: Tensor, kernel: Shape, *, padding: Any, dilation: Any, dims: int) -> str | None:
    pads, gaps, sizes = per_axis(padding, dims), per_axis(dilation, dims), tuple(input.shape[-dims:])
    spans = tuple((k - 1) * gap + 1 for k, gap in zip(kernel, gaps, strict=True))
    if all(size + 2 * pad >= span for size, pad, span in zip(sizes, pads, spans, strict=True)):
        return None
    padded = f" with padding {by(pads)}" if any(pads) else ""
    return (
        f"{failed.layer} received maps of {by(sizes)}{padded}, smaller than its window of {by(spans)}: give larger "
        "images, pad, or leave out a layer that halves the maps."
    )


def _batch_norm(failed: Failed, input: Tensor, *args: Any, **kwargs: Any) -> str | None:
    given = [t for t in (*args, kwargs.get("weight"), kwargs.get("bias")) if isinstance(t, Tensor)]
    if input.ndim > 1 and given and given[0].numel() != input.shape[1]:
        got = input.shape[1]
        return f"{failed.layer} received {counted(got, 'channel')}, shape {shape_of(input)}: set num_features={got}."
    if input.ndim > 1 and input.numel() == input.shape[1] and kwargs.get("training", False):
        return (
            f"{failed.layer} received {shape_of(input)} in training, one value a channel, which has no variance: "
            "give a batch of at least 2, or call model.eval()."
        )
    return None


def _group_norm(failed: Failed, input: Tensor, num_groups: int, *args: Any, **kwargs: Any) -> str | None:
    weight = kwargs.get("weight", args[0] if args else None)
    got = input.shape[1] if input.ndim > 1 else 0
    if isinstance(weight, Tensor) and weight.numel() != got:
        return f"{failed.layer} received {counted(got, 'channel')}, shape {shape_of(input)}: set num_channels={got}."
    return (
        f"{failed.layer} received {counted(got, 'channel')} for {num_groups} groups: take a divisor."
        if got % num_groups
        else None
    )


def _layer_norm(
    failed: Failed, input: Tensor, normalized_shape: Sequence[int], *args: Any, **kwargs: Any
) -> str | None:
    last = tuple(input.shape[-len(normalized_shape) :])
    if last == tuple(normalized_shape):
        return None
    return f"{failed.layer} received {shape_of(input)}: set normalized_shape={last}, or move the axes to the end."


LAYERS: dict[str, Callable[..., str | None]] = {
    "linear": _linear,
    **{f"conv{dims}d": _convolution for dims in (1, 2, 3)},
    **{f"conv_transpose{dims}d": _transposed for dims in (1, 2, 3)},
    **{f"{kind}_pool{dims}d": _pool for kind in ("max", "avg") for dims in (1, 2, 3)},
    **{f"max_pool{dims}d_with_indices": _pool for dims in (1, 2, 3)},
    "batch_norm": _batch_norm,
    "instance_norm": _batch_norm,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
}
"""By the name of the call; None is the answer where the shapes fit."""
