r"""True convolution, with the kernel rotated by 180 degrees, and the three ways of the texts to number its pixels.

$$ \text{previous:}\; S_{ij} = \sum_{a,b} I_{i-a,\,j-b} K_{ab} \qquad
   \text{centre:}\; S_{ij} = \sum_{a,b} I_{i-a,\,j-b} K_{\lfloor m/2 \rfloor + a,\, \lfloor n/2 \rfloor + b} \qquad
   \text{succeeding:}\; S_{ij} = \sum_{a,b} I_{i+a,\,j+b} K_{ab} $$

The first two are convolution: the same numbers, written to another place. The third does not flip and is
cross-correlation, what networks call convolution. Flipping is what makes $f * g = g * f$.

A flip costs nothing in the gradient: with $\delta = \partial L / \partial S$ of the first form,

$$ \frac{\partial L}{\partial I_{uv}} = \sum_{a,b} \delta_{u+a,\,v+b} K_{ab}, \qquad
   \frac{\partial L}{\partial K_{ab}} = \sum_{i,j} \delta_{ij} I_{i-a,\,j-b} . $$
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.errors import UsageError
from striate.ops import _true_convolution_working as work
from striate.ops._arguments import check_choice, check_grad_output
from striate.ops._forms import Pads, floats, pad_pairs
from striate.ops._windows import output_lengths, positions_read
from striate.ops.convolution import Convolution, Padding
from striate.ops.op import Array, Gradients, Op, Shape
from striate.ops.working import Working

__all__ = [
    "CONVENTIONS",
    "TrueConvolution",
    "convolve1d",
    "convolve1d_backward",
    "convolve2d",
    "convolve2d_backward",
    "correlate1d",
    "correlate2d",
    "parse_true_convolution",
    "weighted_moving_average",
]

CONVENTIONS = {
    "previous": ("S[i] = sum over a of I[i-a] K[a]", "S[i,j] = sum over a,b of I[i-a,j-b] K[a,b]"),
    "centre": (
        "S[i] = sum over a from -(m//2) to m//2 of I[i-a] K[m//2+a]",
        "S[i,j] = sum over a from -(m//2) to m//2, b likewise, of I[i-a,j-b] K[m//2+a,n//2+b]",
    ),
    "succeeding": ("S[i] = sum over a of I[i+a] K[a]", "S[i,j] = sum over a,b of I[i+a,j+b] K[a,b]"),
}
"""The three ways to number the pixels, in one dimension and in two."""


def convolve2d(image: Any, kernel: Any, *, padding: Padding = "valid", convention: str = "previous") -> Array:
    """Convolve one image with one kernel, which is rotated by 180 degrees unless the convention is ``succeeding``.

    Args:
        image: (H, W).
        kernel: (kH, kW).
        padding: ``valid`` keeps the positions where the kernel lies on the image, ``full`` all where it touches it.
            ``same`` keeps S[i, j] for every pixel i, j of the image, so it depends on the convention: pixels before
            (``previous``), around (``centre``) or after it (``succeeding``) are read. Numbers and pairs as in `conv2d`.
        convention: A key of `CONVENTIONS`.

    Returns:
        (H_out, W_out).

    Raises:
        UsageError: the shapes do not fit, or an even kernel has no centre.

    Example:
        >>> convolve2d([[3, 5, 2], [9, 7, 5], [2, 0, 6]], [[1, 0, 0], [1, 1, 0], [0, 0, 1]]).tolist()
        [[21.0]]
    """
    return _convolve("convolve2d", image, kernel, padding, convention, dims=2)


def convolve1d(signal: Any, kernel: Any, *, padding: Padding = "valid", convention: str = "previous") -> Array:
    """Convolve a sequence (L,) with a kernel (kL,), as `convolve2d` does an image.

    With ``full`` this is the output y[n] = sum over k of x[n - k] h[k] of a linear time-invariant system with impulse
    response h.

    Example:
        >>> convolve1d([1, 2, 3], [0, 1, 0.5], padding="full").tolist()
        [0.0, 1.0, 2.5, 4.0, 1.5]
    """
    return _convolve("convolve1d", signal, kernel, padding, convention, dims=1)


def correlate2d(image: Any, kernel: Any, *, padding: Padding = "valid") -> Array:
    """Slide a kernel over an image without a flip: `conv2d` on plain matrices, its ``same`` centred.

    Example:
        >>> correlate2d([[3, 5, 2], [9, 7, 5], [2, 0, 6]], [[1, 0, 0], [1, 1, 0], [0, 0, 1]]).tolist()
        [[25.0]]
    """
    return _correlate("correlate2d", image, kernel, padding, dims=2)


def correlate1d(signal: Any, kernel: Any, *, padding: Padding = "valid") -> Array:
    """Slide a kernel over a sequence without a flip: `conv1d` on plain arrays.

    Example:
        >>> correlate1d([1, 2, 3], [0, 1, 0.5]).tolist()
        [3.5]
    """
    return _correlate("correlate1d", signal, kernel, padding, dims=1)


def weighted_moving_average(signal: Any, weights: Any, *, padding: Padding = "valid") -> Array:
    """Smooth measurements by the latest ones: s_t = sum over a of x_(t-a) w_(-a).

    Args:
        signal: (L,), in the order of time.
        weights: (A,): w_0 for the newest measurement first, then w_(-1), w_(-2) ... An average has weights that add up
            to 1; they are taken as they are.
        padding: ``valid`` begins when A measurements are there, ``same`` at once, with zeros for those before.

    Returns:
        (L - A + 1,) with ``valid``, (L,) with ``same``.

    Example:
        >>> weighted_moving_average([2, 4, 8], [0.75, 0.25]).tolist()
        [3.5, 7.0]
    """
    return _convolve("weighted_moving_average", signal, weights, padding, "previous", dims=1)


def convolve2d_backward(
    grad_output: Any, image: Any, kernel: Any, *, padding: Padding = "valid", convention: str = "previous"
) -> tuple[Array, Array]:
    """Return the gradients of `convolve2d` with respect to the image and the kernel.

    Args:
        grad_output: dL/dS (H_out, W_out).
        image: (H, W).
        kernel: (kH, kW).
        padding: As in the forward pass.
        convention: As in the forward pass.

    Example:
        >>> grad_image, grad_kernel = convolve2d_backward([[1.0]], [[2.0, 3.0]], [[4.0, 5.0]])
        >>> grad_image.tolist(), grad_kernel.tolist()
        ([[5.0, 4.0]], [[3.0, 2.0]])
    """
    return _backward("convolve2d_backward", grad_output, image, kernel, padding, convention, dims=2)


def convolve1d_backward(
    grad_output: Any, signal: Any, kernel: Any, *, padding: Padding = "valid", convention: str = "previous"
) -> tuple[Array, Array]:
    """Return the gradients of `convolve1d` with respect to the signal and the kernel."""
    return _backward("convolve1d_backward", grad_output, signal, kernel, padding, convention, dims=1)


def parse_true_convolution(
    function: str, image: Shape, kernel: Shape, *, padding: Padding, convention: str, dims: int
) -> TrueConvolution:
    """Return the operation, after checks of axes, convention and kernel."""
    for argument, shape in (("image", image), ("kernel", kernel)):
        if len(shape) != dims or 0 in shape:
            raise UsageError(
                f"{function}: `{argument}` must have {dims} ax{'es' if dims > 1 else 'is'} with at least one value, "
                f"got shape {tuple(shape)}. Use conv{dims}d for batches and channels."
            )
    check_choice(function, "convention", convention, list(CONVENTIONS))
    if convention == "centre" and any(m % 2 == 0 for m in kernel):
        odd = tuple(m + 1 - m % 2 for m in kernel)
        raise UsageError(
            f"{function}: `kernel` must have odd lengths with convention='centre', got {tuple(kernel)}: taps from "
            f"-(m // 2) to m // 2 are {odd}, one more than an even length. Add zeros to make it {odd}, or take "
            f"convention='previous'."
        )
    if isinstance(padding, str) and padding == "same":
        pads = tuple((work.pixels_before(convention, m), m - 1 - work.pixels_before(convention, m)) for m in kernel)
    else:
        pads = pad_pairs(function, padding, sizes=image, extents=kernel, strides=(1,) * dims)
    output_lengths(function, sizes=image, kernel_size=kernel, stride=(1,) * dims, pads=pads, dilation=(1,) * dims)
    return TrueConvolution(pads, convention)


def _convolve(function: str, image: Any, kernel: Any, padding: Padding, convention: str, *, dims: int) -> Array:
    image, kernel = floats(function, image=image, kernel=kernel)
    op = parse_true_convolution(function, image.shape, kernel.shape, padding=padding, convention=convention, dims=dims)
    return op.forward(image, kernel=kernel)


def _correlate(function: str, image: Any, kernel: Any, padding: Padding, *, dims: int) -> Array:
    image, kernel = floats(function, image=image, kernel=kernel)
    if isinstance(padding, str) and padding == "same":
        padding = tuple(((m - 1) // 2, m // 2) for m in kernel.shape)
    op = parse_true_convolution(
        function, image.shape, kernel.shape, padding=padding, convention="succeeding", dims=dims
    )
    return op.forward(image, kernel=kernel)


def _backward(
    function: str, grad_output: Any, image: Any, kernel: Any, padding: Padding, convention: str, *, dims: int
) -> tuple[Array, Array]:
    grad_output, image, kernel = floats(function, grad_output=grad_output, image=image, kernel=kernel)
    op = parse_true_convolution(function, image.shape, kernel.shape, padding=padding, convention=convention, dims=dims)
    check_grad_output(function, grad_output, op.output_shape(image.shape, kernel=kernel.shape))
    gradients = op.backward(grad_output, image, kernel=kernel)
    return gradients.inputs[0], gradients.parameters["kernel"]


@dataclass(frozen=True)
class TrueConvolution(Op):
    """Convolution of one image (H, W) or sequence (L,) with one kernel, the parameter ``kernel``."""

    pads: Pads
    convention: str = "previous"

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name of the function: convolve1d or convolve2d."""
        return f"convolve{len(self.pads)}d"

    @property
    def equation(self) -> str:  # type: ignore[override]
        """The equation of the convention."""
        return CONVENTIONS[self.convention][len(self.pads) - 1]

    @property
    def windows(self) -> Convolution:
        """The cross-correlation that does the work once the kernel is laid out for it."""
        ones = (1,) * len(self.pads)
        return Convolution(len(self.pads), ones, self.pads, ones)

    def laid_out(self, kernel: Array) -> Array:
        """Return the kernel as it lies on the image: rotated by 180 degrees, except in the succeeding convention."""
        return kernel if self.convention == "succeeding" else np.flip(kernel)

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """Return the lengths."""
        ones = (1,) * len(self.pads)
        return output_lengths(
            self.name,
            sizes=inputs[0],
            kernel_size=parameters["kernel"],
            stride=ones,
            pads=self.pads,
            dilation=ones,
        )

    def forward(self, *inputs: Array, **parameters: Array) -> Array:
        """Correlate with the kernel as it lies on the image."""
        kernel = self.laid_out(parameters["kernel"])
        output: Array = self.windows.forward(inputs[0][None, None], weight=kernel[None, None])[0, 0]
        return output

    def backward(self, grad_output: Array, *inputs: Array, **parameters: Array) -> Gradients:
        """Take the gradients of the correlation; the kernel's is turned back as the kernel was turned."""
        (image,), kernel = inputs, parameters["kernel"]
        grad = grad_output[None, None]
        grad_image = self.windows.grad_input(grad, self.laid_out(kernel)[None, None], image.shape)
        grad_kernel = self.windows.grad_weight(grad, image[None, None], kernel.shape)
        return Gradients((grad_image[0, 0],), {"kernel": self.laid_out(grad_kernel[0, 0])})

    def macs(self, *inputs: Shape, **parameters: Shape) -> int:
        """Count one multiply-add a tap and output position."""
        return math.prod(self.output_shape(*inputs, **parameters)) * math.prod(parameters["kernel"])

    def reads(
        self, positions: npt.NDArray[np.int64], *, axis: int, size: int, **parameters: Shape
    ) -> npt.NDArray[np.int64]:
        """Return the pixels under the kernel along one axis."""
        kernel = parameters["kernel"][axis]
        return positions_read(positions, kernel=kernel, stride=1, before=self.pads[axis][0], dilation=1)

    def working(self, position: tuple[int, ...], *inputs: Array, **parameters: Array) -> Working:
        """Unfold one output value: image with the window, kernel, kernel as it lies, products."""
        return work.forward(self, position, inputs[0], parameters["kernel"])

    def gradient_working(
        self, of: str, position: tuple[int, ...], grad_output: Array, *inputs: Array, **parameters: Array
    ) -> Working:
        """Unfold dL/dI or dL/dK at one position."""
        if of == "input":
            return work.input_gradient(self, position, grad_output, inputs[0].shape, parameters["kernel"])
        if of == "kernel":
            return work.kernel_gradient(self, position, grad_output, inputs[0], parameters["kernel"].shape)
        return super().gradient_working(of, position, grad_output, *inputs, **parameters)
