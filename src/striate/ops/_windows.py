"""Windows that slide over an image: sizes, padding and taps, shared by convolution and pooling.

A window's tap k along one axis reads input position ``o * stride - before + k * dilation`` for output position o.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.ops._forms import Pads
from striate.ops.op import Array

__all__ = ["AXES", "extents", "length_formula", "output_lengths", "pad", "positions_read", "tap_slices", "taps"]

AXES = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}
"""Letters of the spatial axes."""


def extents(kernel_size: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Return how many pixels a window spans along each axis: (kernel - 1) x dilation + 1."""
    return tuple((k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True))


def output_lengths(
    function: str,
    *,
    sizes: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    pads: Pads,
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """Return floor((size + before + after - extent) / stride) + 1 for each axis.

    Raises:
        UsageError: the window is larger than the padded input.
    """
    lengths = []
    spans = extents(kernel_size, dilation)
    for axis, (size, span, step, (before, after)) in enumerate(zip(sizes, spans, stride, pads, strict=True)):
        room = size + before + after - span
        if room < 0:
            letter, missing = AXES[len(sizes)][axis], -room
            raise UsageError(
                f"{function}: `kernel_size` must fit into the padded input, got a window of {span} pixels "
                f"(kernel {kernel_size[axis]}, dilation {dilation[axis]}) on {letter} = {size} + {before} + {after}. "
                f"Pad by {missing} more pixel{'s' if missing > 1 else ''}, or take a smaller kernel."
            )
        lengths.append(room // step + 1)
    return tuple(lengths)


def length_formula(letter: str, *, size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int) -> str:
    """Write the formula of one output length with its numbers in it.

    Example:
        >>> length_formula("H", size=5, kernel=3, stride=2, pads=(1, 1), dilation=1)
        'H_out = floor((5 + 1 + 1 - 1 x (3 - 1) - 1) / 2) + 1 = 3'
    """
    (length,) = output_lengths(
        "length_formula",
        sizes=(size,),
        kernel_size=(kernel,),
        stride=(stride,),
        pads=(pads,),
        dilation=(dilation,),
    )
    inner = f"{size} + {pads[0]} + {pads[1]} - {dilation} x ({kernel} - 1) - 1"
    return f"{letter}_out = floor(({inner}) / {stride}) + 1 = {length}"


def pad(x: Array, pads: Pads, *, value: float = 0.0) -> Array:
    """Pad the last axes of an array."""
    if not any(before or after for before, after in pads):
        return x
    return np.pad(x, [(0, 0)] * (x.ndim - len(pads)) + list(pads), constant_values=value)


def tap_slices(
    tap: Sequence[int], *, lengths: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[slice, ...]:
    """Return where one tap of the window lies on the padded input, for all output positions at once."""
    return tuple(
        slice(k * d, k * d + (length - 1) * s + 1, s)
        for k, d, length, s in zip(tap, dilation, lengths, stride, strict=True)
    )


def taps(
    padded: Array,
    *,
    kernel_size: Sequence[int],
    lengths: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Yield each tap of the window and the view (..., *lengths) of the padded input that it meets."""
    for tap in product(*(range(k) for k in kernel_size)):
        leading = (slice(None),) * (padded.ndim - len(tap))
        yield tap, padded[leading + tap_slices(tap, lengths=lengths, stride=stride, dilation=dilation)]


def positions_read(
    positions: npt.NDArray[np.int64], *, kernel: int, stride: int, before: int, dilation: int
) -> npt.NDArray[np.int64]:
    """Return the input positions that windows at some output positions read along one axis, ascending, each once."""
    return np.unique(positions[:, None] * stride - before + np.arange(kernel) * dilation)
