"""What all pooling shares: options, output shape, the windows laid on the input, and the frame of each working.

A kind of pooling adds how a window becomes one number and how that number's gradient goes back to the window.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.ops._forms import Pads, check_axes, pad_pairs, per_axis
from striate.ops._pooling_working import unfold, unfold_gradient, with_letters
from striate.ops._positions import named
from striate.ops._windows import AXES, extents, output_lengths, pad, positions_read, taps
from striate.ops.op import Array, Op, Shape
from striate.ops.working import Grid, Line, Sum, Term, Working

__all__ = ["Cell", "Pool", "parse"]


class Cell(NamedTuple):
    """One cell of a window: its place in the kernel, where it lies on the input, and what it reads there."""

    tap: tuple[int, ...]
    place: tuple[int, ...] | None
    """None in the padding."""
    value: float

    @property
    def where(self) -> str:
        """The name of what it reads."""
        return "padding" if self.place is None else named("x", self.place)


def parse(
    function: str,
    shape: Shape,
    *,
    dims: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any = 1,
) -> dict[str, Any]:
    """Return the canonical options of a pooling from any way of writing them.

    Raises:
        UsageError: an option is not a number or one an axis, or the padding exceeds half the kernel.
    """
    check_axes(function, "x", shape, dims=dims)
    kernel_size = per_axis(function, "kernel_size", kernel_size, dims=dims, smallest=1)
    stride = kernel_size if stride is None else per_axis(function, "stride", stride, dims=dims, smallest=1)
    dilation = per_axis(function, "dilation", dilation, dims=dims, smallest=1)
    pads = pad_pairs(function, padding, sizes=shape[2:], extents=extents(kernel_size, dilation), strides=stride)
    for letter, kernel, pair in zip(AXES[dims], kernel_size, pads, strict=True):
        # PyTorch's rule: with more padding a window could lie in it as a whole, and would have no maximum.
        if max(pair) > kernel // 2:
            raise UsageError(
                f"{function}: `padding` must be at most half the kernel, floor({kernel} / 2) = {kernel // 2} along "
                f"{letter}, got {max(pair)}. Set padding={kernel // 2} or kernel_size={2 * max(pair)}."
            )
    return {"kernel_size": kernel_size, "stride": stride, "pads": pads, "dilation": dilation}


@dataclass(frozen=True)
class Pool(Op):
    """A window slides over each channel by itself and becomes one number at each place."""

    kernel_size: Shape
    stride: Shape
    pads: Pads
    dilation: Shape
    ceil_mode: bool = False

    stem: ClassVar[str]
    """The name without the number of dimensions, such as max_pool."""
    forward_form: ClassVar[str]
    """The equation: {p} stands for the window's position, {a} for its cells, {read} for what they read."""
    backward_form: ClassVar[str]
    """The equation of dL/dx; {q} stands for the position in the input."""
    padding_value: ClassVar[float] = 0.0

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name in PyTorch, such as max_pool2d."""
        return f"{self.stem}{len(self.kernel_size)}d"

    @property
    def equation(self) -> str:  # type: ignore[override]
        """What it computes, with the stride, padding and dilation of this operation in it."""
        return with_letters(self, self.forward_form)

    @property
    def gradient_equation(self) -> str:
        """How dL/dx follows from dL/dy."""
        return with_letters(self, self.backward_form)

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return (N, C, lengths of the output)."""
        check_axes(self.name, "x", inputs[0], dims=len(self.kernel_size))
        return (*inputs[0][:2], *self.lengths(inputs[0][2:]))

    def lengths(self, sizes: Shape) -> Shape:
        """Return how many windows there are along each axis.

        In ceil mode one window may be larger than the padded input, where it only begins inside, as in PyTorch.
        """
        if self.ceil_mode:
            lengths = tuple(
                counted - (begin >= size)
                for size, (counted, begin) in zip(sizes, self.counted_windows(sizes), strict=True)
            )
            if min(lengths) > 0:
                return lengths
        return output_lengths(
            self.name,
            sizes=sizes,
            kernel_size=self.kernel_size,
            stride=self.stride,
            pads=self.pads,
            dilation=self.dilation,
        )

    def counted_windows(self, sizes: Shape) -> list[tuple[int, int]]:
        """Return ceil((padded size - extent) / stride) + 1 and where the last of them would begin, for each axis."""
        spans, found = extents(self.kernel_size, self.dilation), []
        for size, span, stride, (before, after) in zip(sizes, spans, self.stride, self.pads, strict=True):
            counted = -((span - size - before - after) // stride) + 1
            found.append((counted, (counted - 1) * stride - before))
        return found

    def reach(self, sizes: Shape) -> Pads:
        """Return the padding that all windows need: ceil mode lets the last one hang over."""
        spans, lengths = extents(self.kernel_size, self.dilation), self.lengths(sizes)
        needed = zip(sizes, spans, lengths, self.stride, self.pads, strict=True)
        return tuple((b, max(a, (length - 1) * s + span - size - b)) for size, span, length, s, (b, a) in needed)

    def taps(self, padded: Array, sizes: Shape) -> Iterator[tuple[tuple[int, ...], Array]]:
        """Yield each cell of the window and what it meets at all places, as a view of the padded input."""
        return taps(
            padded,
            kernel_size=self.kernel_size,
            lengths=self.lengths(sizes),
            stride=self.stride,
            dilation=self.dilation,
        )

    def met(self, x: Array) -> Iterator[tuple[tuple[int, ...], Array]]:
        """Yield each cell of the window and what it meets at all places."""
        return self.taps(pad(x, self.reach(x.shape[2:]), value=self.padding_value), x.shape[2:])

    def give_back(self, x: Array, share: Callable[[tuple[int, ...], Array], Array]) -> Array:
        """Add up at each input position what the windows that read it give back.

        Args:
            x: (N, C, ...).
            share: From a cell of the window, and what it meets at all places, to what it gives back there.
        """
        sizes, pads = x.shape[2:], self.reach(x.shape[2:])
        padded = pad(x, pads, value=self.padding_value)
        received = np.zeros_like(padded)
        for (tap, met), (_, view) in zip(self.taps(padded, sizes), self.taps(received, sizes), strict=True):
            view += share(tap, met)
        inside = tuple(slice(before, before + size) for size, (before, _) in zip(sizes, pads, strict=True))
        return received[:, :, *inside]

    def counts(self, sizes: Shape, *, include_pad: bool) -> npt.NDArray[np.int64]:
        """Count the cells of each window that lie in the input, or in the input and its padding.

        What hangs over the padding in ceil mode counts in neither way.
        """
        count = np.ones((), dtype=np.int64)
        for axis, (size, length) in enumerate(zip(sizes, self.lengths(sizes), strict=True)):
            places = self.places(axis, np.arange(length))
            first, last = (-self.pads[axis][0], size + self.pads[axis][1]) if include_pad else (0, size)
            count = count[..., None] * ((places >= first) & (places < last)).sum(axis=1)
        return count

    def places(self, axis: int, outputs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return (outputs, cells): where each cell of some windows lies along one axis, in input positions."""
        offsets = np.arange(self.kernel_size[axis]) * self.dilation[axis]
        return outputs[:, None] * self.stride[axis] - self.pads[axis][0] + offsets

    def cells(self, channel: Array, output: tuple[int, ...]) -> list[Cell]:
        """Return the cells of the window at one output position in row-major order, without what hangs over."""
        along = [self.places(axis, np.array([o]))[0] for axis, o in enumerate(output)]
        found = []
        for tap in product(*(range(kernel) for kernel in self.kernel_size)):
            place = tuple(int(positions[k]) for positions, k in zip(along, tap, strict=True))
            if all(0 <= i < size for i, size in zip(place, channel.shape, strict=True)):
                found.append(Cell(tap, place, float(channel[place])))
            elif all(i < size + a for i, size, (_, a) in zip(place, channel.shape, self.pads, strict=True)):
                found.append(Cell(tap, None, self.padding_value))
        return found

    def covering(self, place: tuple[int, ...], sizes: Shape) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return (output position, cell) of every window that reads an input position."""
        along = []
        for axis, (i, length) in enumerate(zip(place, self.lengths(sizes), strict=True)):
            steps = [(i + self.pads[axis][0] - k * self.dilation[axis], k) for k in range(self.kernel_size[axis])]
            stride = self.stride[axis]
            along.append(
                [(step // stride, k) for step, k in steps if step % stride == 0 and 0 <= step < length * stride]
            )
        pairs = sorted(product(*along))
        return [(tuple(o for o, _ in pair), tuple(k for _, k in pair)) for pair in pairs]

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output: the shape, the window on the padded input, and what it becomes."""
        return unfold(self, position, inputs[0], **parameters)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/dx at one position: one term for each window that reads it."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        return unfold_gradient(self, position, grad_output, inputs[0], **parameters)

    @abstractmethod
    def arithmetic(
        self, channel: Array, output: tuple[int, ...], value: float, **parameters: Array
    ) -> Sequence[Line | Grid | Sum]:
        """Return the parts of a working that make one number of the window."""

    @abstractmethod
    def gradient_term(
        self,
        delta: float,
        channel: Array,
        output: tuple[int, ...],
        cell: tuple[int, ...],
        place: tuple[int, ...],
        **parameters: Array,
    ) -> Term:
        """Return what the window at one output position gives back to the input that one of its cells reads."""

    def reads(
        self, positions: npt.NDArray[np.int64], *, axis: int, size: int, **parameters: Shape
    ) -> npt.NDArray[np.int64]:
        """Return the input positions under the windows."""
        return positions_read(
            positions,
            kernel=self.kernel_size[axis],
            stride=self.stride[axis],
            before=self.pads[axis][0],
            dilation=self.dilation[axis],
        )
