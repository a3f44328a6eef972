r"""Resizing images and signals: nearest neighbour, and linear interpolation along each axis (bilinear in 2 dimensions).

Output $i$ of an axis of length $I$ that becomes $O$ long lies at the place $s_i$ of the input, with the scale
$r = I / O$ (or 1 / scale factor, where that is given):

$$ s_i = \lfloor r i \rfloor \text{ (nearest)}, \qquad s_i = \max(0, r (i + \tfrac12) - \tfrac12) \text{ (linear)},
   \qquad s_i = i\, \frac{I - 1}{O - 1} \text{ (linear, corners aligned)} . $$

Linear takes the two neighbours $k = \lfloor s_i \rfloor$ and $k + 1$ with weights $1 - (s_i - k)$ and $s_i - k$. So
along an axis $y = A x$ with a fixed matrix $A$, and the gradient goes back by its transpose:
$\partial L / \partial x = A^\top \delta$.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.ops import _interpolation_working as work
from striate.ops._arguments import check_choice, check_grad_output
from striate.ops._forms import floats, per_axis
from striate.ops._positions import checked
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Working

__all__ = ["Interpolate", "interpolate", "interpolate_backward", "parse_interpolate"]

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""PyTorch's names of linear interpolation, by the number of dimensions."""

# Weights below this come from rounding of places that lie on a pixel: nothing is read.
ROUNDING = 1e-12


def interpolate(
    x: Any, *, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool = False
) -> Array:
    """Resize along every spatial axis.

    Args:
        x: (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        size: Length of the output along each axis, or one for all; or else
        scale_factor: Ratio of output and input along each axis, or one for all; lengths are rounded down.
        mode: ``"nearest"``, or ``"linear"``, ``"bilinear"``, ``"trilinear"`` for 1, 2 and 3 dimensions.
        align_corners: In the linear modes, lay the first and the last pixels of input and output on each other,
            instead of the edges of these pixels.

    Raises:
        UsageError: both or neither of size and scale factor, a mode for another number of dimensions, or no pixels.

    Example:
        >>> interpolate([[[0.0, 4.0]]], size=4, mode="linear").tolist()
        [[[0.0, 1.0, 3.0, 4.0]]]
        >>> interpolate([[[0.0, 4.0]]], scale_factor=2).tolist()
        [[[0.0, 0.0, 4.0, 4.0]]]
    """
    (x,) = floats("interpolate", x=x)
    op = parse_interpolate(
        "interpolate", x.shape, size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners
    )
    op.output_shape(x.shape)
    return op.forward(x)


def interpolate_backward(
    grad_output: Any,
    x: Any,
    *,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Array:
    """Return dL/dx of `interpolate`: each gradient to the pixels that were read, by the same weights.

    Example:
        >>> interpolate_backward([[[1.0, 1.0, 1.0, 1.0]]], [[[0.0, 4.0]]], size=4, mode="linear").tolist()
        [[[2.0, 2.0]]]
    """
    function = "interpolate_backward"
    grad_output, x = floats(function, grad_output=grad_output, x=x)
    op = parse_interpolate(
        function, x.shape, size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners
    )
    check_grad_output(function, grad_output, op.output_shape(x.shape))
    return op.backward(grad_output, x).inputs[0]


def parse_interpolate(
    function: str, shape: Shape, *, size: Any, scale_factor: Any, mode: str, align_corners: bool
) -> Interpolate:
    """Return the operation for any way of writing its options."""
    dims = len(shape) - 2
    if dims not in LINEAR:
        raise UsageError(
            f"{function}: `x` must have 3 to 5 axes, (N, C, L) to (N, C, D, H, W), got {len(shape)}: {shape}. "
            "Add what is missing with x[None]."
        )
    check_choice(function, "mode", mode, ("nearest", LINEAR[dims]))
    if (size is None) == (scale_factor is None):
        given = "neither" if size is None else "both"
        raise UsageError(f"{function}: `size` must be given, or scale_factor, got {given}. Write one of them.")
    is_linear, align_corners = mode != "nearest", bool(align_corners)
    if size is not None:
        lengths = per_axis(function, "size", size, dims=dims, smallest=1)
        return Interpolate(lengths, None, is_linear, align_corners and is_linear)
    several = isinstance(scale_factor, Sequence | np.ndarray)
    scales = tuple(float(scale) for scale in scale_factor) if several else (float(scale_factor),) * dims
    if len(scales) != dims or not all(0 < scale < math.inf for scale in scales):
        raise UsageError(
            f"{function}: `scale_factor` must be a number above 0, or {dims} of them, got {scale_factor!r}. "
            "Write scale_factor=2 to double every length."
        )
    return Interpolate(None, scales, is_linear, align_corners and is_linear)


@dataclass(frozen=True)
class Interpolate(Op):
    """An image or a signal at another size; one of `size` and `scale_factor` is None."""

    size: tuple[int, ...] | None
    scale_factor: tuple[float, ...] | None
    is_linear: bool = False
    align_corners: bool = False
    name: ClassVar[str] = "interpolate"
    equation: ClassVar[str] = "y[i] = sum over the pixels k around i's place of weight[i, k] x[k], along each axis"

    @property
    def dims(self) -> int:
        """How many spatial axes there are."""
        return len(self.size or self.scale_factor or ())

    def length(self, axis: int, length: int) -> int:
        """Return the length of the output along one spatial axis."""
        return self.size[axis] if self.size else math.floor(length * (self.scale_factor or ())[axis])

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return (N, C, ...) with the new lengths."""
        (x,) = inputs
        if len(x) != self.dims + 2:
            raise UsageError(
                f"interpolate: `x` must have {self.dims + 2} axes, N, C and {self.dims} in space, got {len(x)}: {x}. "
                "Give a size for each axis in space."
            )
        lengths = tuple(self.length(axis, n) for axis, n in enumerate(x[2:]))
        if min(x[2:]) < 1 or min(lengths) < 1:
            raise UsageError(
                f"interpolate: `x` must have pixels, and so must the output, got {x[2:]} to {lengths}. "
                "Take a larger scale_factor."
            )
        return (*x[:2], *lengths)

    def places(self, axis: int, length: int, out: int) -> npt.NDArray[Any]:
        """Return where each output lies in the input, along one spatial axis."""
        i = np.arange(out)
        if self.align_corners:
            return i * ((length - 1) / (out - 1) if out > 1 else 0.0)
        scale = length / out if self.scale_factor is None else 1 / self.scale_factor[axis]
        # An axis that keeps its length is copied, as in PyTorch, also where a scale factor such as 1.1 says otherwise;
        # of images the nearest pixels do so where it doubles, too.
        if self.is_linear:
            return i * 1.0 if length == out else np.maximum(scale * (i + 0.5) - 0.5, 0)
        if self.dims == 2 and out in (length, 2 * length):
            return np.asarray(np.floor(i * (length / out)))
        # PyTorch computes the place of the nearest pixel in float32, and so decides what lies on an edge.
        single = np.float32(length) / np.float32(out) if self.scale_factor is None else np.float32(scale)
        return np.asarray(np.floor(i.astype(np.float32) * single))

    def taps(self, axis: int, length: int, out: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return the input positions that each output is made of and their weights: (O, 2), or (O, 1) for nearest."""
        places = self.places(axis, length, out)
        first = np.minimum(np.floor(places).astype(np.int64), length - 1)
        if not self.is_linear:
            return first[:, None], np.ones((out, 1))
        share = np.clip(places - first, 0, 1)
        return np.stack((first, np.minimum(first + 1, length - 1)), 1), np.stack((1 - share, share), 1)

    def counts(self, weights: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return which weights are more than what rounding leaves of 0."""
        return np.asarray(weights > ROUNDING)

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Weigh the neighbours along one axis after the other."""
        (y,) = inputs
        for axis, out in enumerate(self.output_shape(y.shape)[2:]):
            indices, weights = self.taps(axis, y.shape[axis + 2], out)
            lined = np.moveaxis(y, axis + 2, -1)
            taps = zip(indices.T, weights.T.astype(y.dtype), strict=True)
            weighed = [lined[..., index] * weight for index, weight in taps]
            y = np.moveaxis(weighed[0] + weighed[1] if self.is_linear else weighed[0], -1, axis + 2)
        return np.ascontiguousarray(y)

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Send each gradient back along the same taps, where they add up."""
        gradient, lengths = grad_output, inputs[0].shape[2:]
        for axis, length in enumerate(lengths):
            indices, weights = self.taps(axis, length, grad_output.shape[axis + 2])
            lined = np.moveaxis(gradient, axis + 2, 0)
            back = np.zeros((length, *lined.shape[1:]), dtype=gradient.dtype)
            for index, weight in zip(indices.T, weights.T.astype(gradient.dtype), strict=True):
                np.add.at(back, index, lined * weight.reshape(-1, *[1] * (lined.ndim - 1)))
            gradient = np.moveaxis(back, 0, axis + 2)
        return Gradients((np.ascontiguousarray(gradient),))

    def macs(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count a multiply-add for each of the 2, 4 or 8 neighbours of an output; nearest copies."""
        return math.prod(self.output_shape(*inputs)) * 2**self.dims if self.is_linear else 0

    def reads(self, positions: Any, *, axis: int, size: int, **parameters: Shape) -> Any:
        """Return the neighbours that have a weight."""
        indices, weights = self.taps(axis, size, self.length(axis, size))
        return np.unique(indices[positions][self.counts(weights[positions])])

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output into its neighbours and their weights."""
        (x,) = inputs
        out = self.output_shape(x.shape)
        return work.forward(self, checked(self.name, position, out), x, out)

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Add up what comes back from the outputs that a pixel was read for."""
        if of != "input":
            return super().gradient_working(of, position, grad_output, *inputs, **parameters)
        (x,) = inputs
        return work.input_gradient(self, checked(self.name, position, x.shape), grad_output, x)
