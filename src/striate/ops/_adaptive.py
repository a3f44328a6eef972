"""What adaptive average and max pooling share: the windows that follow from the output size, the working's frame."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.ops._forms import check_axes
from striate.ops._pooling_working import INPUT, WINDOW, grids
from striate.ops._positions import checked, named
from striate.ops._windows import AXES
from striate.ops.op import Array, Op, Shape
from striate.ops.working import Grid, Line, Sum, Term, Working

__all__ = ["AdaptivePool", "parse"]


def parse(function: str, shape: Shape, output_size: Any, *, dims: int) -> Shape:
    """Return the output's length along each axis; None is the input's.

    Raises:
        UsageError: it is not a whole number from 1 on, or one for each axis.
    """
    check_axes(function, "x", shape, dims=dims)
    is_one = output_size is None or isinstance(output_size, int | np.integer)
    values = (output_size,) * dims if is_one else output_size
    is_right = (
        isinstance(values, Sequence | np.ndarray)
        and len(values) == dims
        and all(v is None or (isinstance(v, int | np.integer) and not isinstance(v, bool) and v >= 1) for v in values)
    )
    if not is_right:
        raise UsageError(
            f"{function}: `output_size` must be a whole number from 1 on, or {dims} of them, got {output_size!r}. "
            f"Write output_size=1, or None for an axis that stays as it is."
        )
    return tuple(size if v is None else int(v) for v, size in zip(values, shape[2:], strict=True))


@dataclass(frozen=True)
class AdaptivePool(Op):
    """Windows that divide each axis into a fixed number of parts."""

    output_size: Shape

    stem: ClassVar[str]
    """The name without the number of dimensions, such as adaptive_avg_pool."""
    forward_form: ClassVar[str]
    """The equation: {p} stands for the window's position, {q} for the input's."""
    backward_form: ClassVar[str]
    """The equation of dL/dx, with the same letters."""

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name in PyTorch, such as adaptive_avg_pool2d."""
        return f"{self.stem}{len(self.output_size)}d"

    @property
    def equation(self) -> str:  # type: ignore[override]
        """What it computes."""
        return self._with_letters(self.forward_form)

    def _with_letters(self, form: str) -> str:
        dims = len(self.output_size)
        return form.format(p=WINDOW[dims], q=INPUT[dims])

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return (N, C, output size)."""
        check_axes(self.name, "x", inputs[0], dims=len(self.output_size))
        if 0 in inputs[0][2:]:
            raise UsageError(
                f"{self.name}: `x` must have at least one pixel along each axis, got shape {inputs[0]}. "
                "Pool less before, or take larger images."
            )
        return (*inputs[0][:2], *self.output_size)

    def windows(self, sizes: Shape) -> list[tuple[int, list[tuple[int, int]]]]:
        """Return (axis of the array, [(first, end) of each window]) for each spatial axis."""
        rows = enumerate(zip(sizes, self.output_size, strict=True))
        return [(2 + axis, [_window(i, size, out) for i in range(out)]) for axis, (size, out) in rows]

    def window(self, output: tuple[int, ...], sizes: Shape) -> tuple[slice, ...]:
        """Return the window of one output position as slices of a channel."""
        return tuple(
            slice(*_window(i, size, out)) for i, size, out in zip(output, sizes, self.output_size, strict=True)
        )

    def cells(self, output: tuple[int, ...], sizes: Shape) -> list[tuple[int, ...]]:
        """Return the input positions that one output position reads, in row-major order."""
        return list(product(*(range(s.start, s.stop) for s in self.window(output, sizes))))

    def covering(self, place: tuple[int, ...], sizes: Shape) -> list[tuple[int, ...]]:
        """Return the output positions that read one input position."""
        rows = zip(place, self.windows(sizes), strict=True)
        along = [[o for o, (first, end) in enumerate(windows) if first <= i < end] for i, (_, windows) in rows]
        return list(product(*along))

    @abstractmethod
    def arithmetic(self, channel: Array, output: tuple[int, ...], value: float) -> Sequence[Line | Sum]:
        """Return the parts of a working that make one number of the window."""

    @abstractmethod
    def gradient_term(self, delta: float, channel: Array, output: tuple[int, ...], place: tuple[int, ...]) -> Term:
        """Return what the window at one output position gives back to one of its inputs."""

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output: its window, and what it becomes."""
        (x,) = inputs
        n, c, *rest = checked(self.name, position, self.output_shape(x.shape))
        output, channel = tuple(rest), x[n, c]
        value = float(self.forward(x[n : n + 1, c : c + 1])[(0, 0, *output)])
        lines = []
        for i, size, out, letter in zip(output, channel.shape, self.output_size, AXES[len(output)], strict=True):
            first, end = _window(i, size, out)
            lines.append(
                Line(
                    f"along {letter}: from floor({i} x {size} / {out}) = {first} "
                    f"to before ceil({i + 1} x {size} / {out}) = {end}"
                )
            )
        pictures = grids(f"x[{n}, {c}]", channel, self.window(output, channel.shape))
        return Working(
            title=f"{self.name} at {list(position)}",
            equation=self.equation,
            parts=(*lines, *pictures, *self.arithmetic(channel, output, value)),
            value=value,
        )

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/dx at one position: one term for each window that reads it."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        (x,) = inputs
        n, c, *rest = checked(self.name, position, x.shape)
        place, channel, deltas = tuple(rest), x[n, c], grad_output[n, c]
        one = (slice(n, n + 1), slice(c, c + 1))
        value = float(self.backward(grad_output[one], x[one]).inputs[0][(0, 0, *place)])
        covering = self.covering(place, channel.shape)
        terms = tuple(self.gradient_term(float(deltas[output]), channel, output, place) for output in covering)
        window = tuple(slice(first, last + 1) for first, last in zip(covering[0], covering[-1], strict=True))
        parts: list[Line | Grid | Sum] = [Line(f"windows that read {named('x', place)}: {len(covering)}")]
        return Working(
            title=f"{self.name}, dL/dx at {list(position)}",
            equation=self._with_letters(self.backward_form),
            parts=(*parts, *grids(f"dL/dy[{n}, {c}]", deltas, window), Sum("dL/dx", terms, value)),
            value=value,
        )

    def flops(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count one step a cell of each window."""
        sizes, channels = inputs[0][2:], math.prod(inputs[0][:2])
        return channels * math.prod(sum(end - first for first, end in windows) for _, windows in self.windows(sizes))

    def reads(
        self, positions: npt.NDArray[np.int64], *, axis: int, size: int, **parameters: Shape
    ) -> npt.NDArray[np.int64]:
        """Return the input positions under the windows, whose length and step depend on the position."""
        out = self.output_size[axis]
        windows = [np.arange(*_window(int(i), size, out), dtype=np.int64) for i in positions]
        return np.unique(np.concatenate([*windows, np.empty(0, dtype=np.int64)]))


def _window(i: int, size: int, out: int) -> tuple[int, int]:
    """Return the first input position of window i of `out` windows, and the position after its last."""
    return i * size // out, -(-(i + 1) * size // out)
