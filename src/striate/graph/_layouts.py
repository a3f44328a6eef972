"""What a tensor holds after calls wrote on its memory through other views of it, put together from their values."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from striate.errors import UsageError
from striate.ops.op import Shape

__all__ = ["Layout", "patched"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in some memory a tensor's numbers lie."""

    shape: Shape
    stride: Shape
    offset: int
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        """Return that of a tensor."""
        return cls(tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), tensor.dtype)

    @property
    def is_contiguous(self) -> bool:
        """Whether its numbers follow each other."""
        steps = accumulate(reversed(self.shape), operator.mul, initial=1)
        return all(
            n <= 1 or step == own for n, step, own in zip(self.shape[::-1], steps, self.stride[::-1], strict=False)
        )

    @property
    def end(self) -> int:
        """One past the last place."""
        if 0 in self.shape:
            return self.offset
        return self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True)) + 1

    def holds_what(self, other: Layout) -> bool:
        """Whether both hold the same numbers in the same order."""
        if self.offset != other.offset or self.dtype != other.dtype:
            return False
        if self.is_contiguous and other.is_contiguous:
            return self.end == other.end
        return self.shape == other.shape and self.stride == other.stride

    def grown(self, shape: Shape, *, axis_step: int | None) -> Layout:
        """Return the layout of another number of images; `axis_step` lies between two of them.

        Raises:
            UsageError: anything but the number of images has changed, or where an image lies depends on that number.
        """
        if shape == self.shape:
            return self
        changed = [axis for axis, (old, new) in enumerate(zip(self.shape, shape, strict=True)) if old != new]
        rest = [(n, step) for axis, (n, step) in enumerate(zip(shape, self.stride, strict=True)) if axis not in changed]
        one = self.offset + sum((n - 1) * step for n, step in rest) + 1
        if len(changed) != 1 or self.stride[changed[0]] != axis_step or one > (axis_step or 0):
            raise _other_size(self.shape, shape)
        return replace(self, shape=shape)


def patched(before: Tensor, layout: Layout, *writes: tuple[Tensor, Layout]) -> Tensor:
    """Return what a tensor holds after writes on its memory, in their order.

    Args:
        before: What it held.
        layout: How it lay in memory when the network was captured.
        writes: What each write left in its view, and how that view lay.

    Raises:
        UsageError: the sizes differ from those of the captured run in more than the number of images, or one cannot say
            which images a view showed.

    Example:
        >>> y = torch.zeros(2, 3)
        >>> patched(y, Layout.of(y), (torch.ones(2), Layout.of(y[:, 1]))).tolist()
        [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    """
    parts = ((before, layout), *writes)
    step = None
    if any(tuple(value.shape) != part.shape for value, part in parts):
        if any(tuple(value.shape) == part.shape for value, part in parts):
            raise _other_size(layout.shape, tuple(before.shape))
        step = next(s for a, b, s in zip(layout.shape, before.shape, layout.stride, strict=True) if a != b)
    layouts = [part.grown(tuple(value.shape), axis_step=step) for value, part in parts]
    memory = before.new_zeros(max(part.end for part in layouts))
    for (value, _), part in zip(parts, layouts, strict=True):
        memory.as_strided(part.shape, part.stride, part.offset).copy_(value)
    whole = layouts[0]
    return memory.as_strided(whole.shape, whole.stride, whole.offset)


def _other_size(captured: Shape, given: Shape) -> UsageError:
    return UsageError(
        f"Replay.run: a tensor of which a part was written on must have its captured shape {captured}, got {given}. "
        "Capture the network with this number of images."
    )
