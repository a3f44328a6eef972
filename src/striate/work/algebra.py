r"""The algebra of convolution, tried out: linear, commutative, associative, distributive, with a neutral kernel.

With $f$ the picture, $g, h$ kernels and $*$ the true convolution (kernel turned by 180 degrees),

$$ f * g = g * f, \qquad (f * g) * h = f * (g * h), \qquad f * (g + h) = f * g + f * h, \qquad f * \delta = f . $$

The cross-correlation $\star$ that networks compute is linear too, but $f \star g = \operatorname{rot180}(g \star f)$.
"""

from __future__ import annotations

import numpy as np

from striate.ops.activation import relu
from striate.ops.convolution import conv2d, parse_convolution
from striate.ops.op import Array
from striate.ops.true_convolution import convolve2d, correlate2d
from striate.work._scene import Scene, change, difference
from striate.work.kernels import kernel
from striate.work.measurement import Finding, counted, equal, holds, unequal, value_text, valued

__all__ = [
    "associativity",
    "commutativity",
    "correlation_order",
    "distributivity",
    "flip",
    "identity",
    "linearity",
    "separability",
    "zero",
]


def linearity(scene: Scene) -> Finding:
    """Weigh and add two pictures before the convolution, and after it."""
    f, g, weights = scene.pixels, scene.noise("second picture"), scene.kernel(5)
    a, b = 2.0, -3.0

    def layer(x: Array, bias: float = 0.0) -> Array:
        return conv2d(x[None, None], weights[None, None], [bias])

    error = difference(layer(a * f + b * g), a * layer(f) + b * layer(g))
    true = difference(convolve2d(a * f + b * g, weights), a * convolve2d(f, weights) + b * convolve2d(g, weights))
    biased = change(layer(a * f + b * g, 1.0), a * layer(f, 1.0) + b * layer(g, 1.0))
    rectified = change(relu(layer(a * f + b * g)), a * relu(layer(f)) + b * relu(layer(g)))
    return Finding(
        method="2 f - 3 g with f the picture and g random pixels, a random 5 x 5 kernel; before against after.",
        rows=(
            equal("convolution of networks (cross-correlation)", error),
            equal("true convolution", true),
            unequal("with a bias of 1", biased),
            unequal("with a ReLU behind it", rectified),
        ),
        verdict=f"{holds(error, true)}. A layer with a bias is off by {value_text(biased)}, one with a ReLU by "
        f"{value_text(rectified)}: they are not linear.",
    )


def commutativity(scene: Scene) -> Finding:
    """Exchange the picture and the kernel of a full true convolution."""
    f, g, h = scene.pixels, scene.kernel(5), scene.kernel(3)
    errors = (
        difference(convolve2d(f, g, padding="full"), convolve2d(g, f, padding="full")),
        difference(convolve2d(g, h, padding="full"), convolve2d(h, g, padding="full")),
    )
    return Finding(
        method="Full true convolution in both orders, f the picture, g and h random kernels of 5 x 5 and 3 x 3.",
        rows=(
            equal("f * g against g * f", *errors[:1]),
            equal("g * h against h * g", *errors[1:]),
        ),
        verdict=f"{holds(*errors)}.",
    )


def correlation_order(scene: Scene) -> Finding:
    """Exchange the picture and the kernel of a full cross-correlation."""
    f, g = scene.pixels, scene.kernel(5)
    one, other = correlate2d(f, g, padding="full"), correlate2d(g, f, padding="full")
    fails, turned = difference(one, other), difference(one, np.rot90(other, 2))
    return Finding(
        method="Full cross-correlation of the picture f and a random 5 x 5 kernel g in both orders.",
        rows=(
            unequal("f with g against g with f", fails),
            equal("the same, the second turned by 180 degrees", turned),
        ),
        verdict=f"Cross-correlation fails by {value_text(fails)}, as it must: exchanging the two turns the result by "
        f"180 degrees. Turned back it {holds(turned).lower()}.",
    )


def associativity(scene: Scene) -> Finding:
    """Convolve one after the other, and with the kernels convolved first."""
    f, g, h = scene.pixels, scene.kernel(5), scene.kernel(3)
    together = convolve2d(g, h, padding="full")
    error = difference(
        convolve2d(convolve2d(f, g, padding="full"), h, padding="full"), convolve2d(f, together, padding="full")
    )
    layers = difference(correlate2d(correlate2d(f, g), h), correlate2d(f, together))
    correlated = difference(
        correlate2d(correlate2d(f, g, padding="full"), h, padding="full"),
        correlate2d(f, correlate2d(g, h, padding="full"), padding="full"),
    )
    return Finding(
        method="f the picture, g and h random kernels of 5 x 5 and 3 x 3; full, two layers without padding.",
        rows=(
            equal("(f * g) * h against f * (g * h)", error),
            equal("two layers g, h against one layer g * h", layers),
            unequal("cross-correlation in place of * everywhere", correlated),
        ),
        verdict=f"{holds(error, layers)}: without an activation between them, two layers are one of 7 x 7. "
        f"Cross-correlation by itself fails by {value_text(correlated)}, as it must.",
    )


def distributivity(scene: Scene) -> Finding:
    """Add kernels before the convolution, and the results after it."""
    f, g, h = scene.pixels, scene.kernel(5), scene.kernel(5, "second kernel")
    error = difference(convolve2d(f, g + h), convolve2d(f, g) + convolve2d(f, h))
    filters = conv2d(scene.batch, np.stack([g, h])[:, None])
    summed = difference(conv2d(scene.batch, (g + h)[None, None]), filters.sum(axis=1, keepdims=True))
    return Finding(
        method="f the picture, g and h random 5 x 5 kernels.",
        rows=(
            equal("f * (g + h) against f * g + f * h", error),
            equal("one filter g + h against two filters, maps added", summed),
        ),
        verdict=f"{holds(error, summed)}.",
    )


def identity(scene: Scene) -> Finding:
    """Convolve with a kernel that has a single 1."""
    f = scene.pixels
    delta = kernel("identity").array()
    aside = np.roll(delta, 1, axis=1)
    errors = (
        difference(convolve2d(f, [[1.0]], padding="full"), f),
        difference(convolve2d(f, delta, padding="same", convention="centre"), f),
        difference(convolve2d(f, aside, padding="same", convention="centre")[:, 1:], f[:, :-1]),
    )
    labels = (
        "f * delta, delta a single 1",
        "1 in the middle of a 3 x 3 kernel",
        "1 to the right of the middle: f moved",
    )
    return Finding(
        method="f the picture; the last row is compared with f moved one pixel to the right.",
        rows=tuple(equal(label, error) for label, error in zip(labels, errors, strict=True)),
        verdict=f"{holds(*errors)}: delta is the neutral element.",
    )


def zero(scene: Scene) -> Finding:
    """Convolve with a kernel of zeros."""
    result = convolve2d(scene.pixels, np.zeros((3, 3)), padding="same", convention="centre")
    largest, apart = float(np.abs(result).max()), difference(result, scene.pixels)
    return Finding(
        method="The picture f with a 3 x 3 kernel of zeros.",
        rows=(
            valued("largest value of f * 0", largest, least=0, most=0),
            unequal("f * 0 against f", apart),
        ),
        verdict="Holds exactly. Zero is absorbing and not neutral, as one text calls it: f * 0 is off f by "
        f"{value_text(apart)}. See identity.",
    )


def flip(scene: Scene) -> Finding:
    """Compare true convolution with cross-correlation, the kernel turned or not."""
    f, g = scene.pixels, scene.kernel(5)
    blur = kernel("gaussian-blur").array()
    turned = difference(convolve2d(f, g), correlate2d(f, np.rot90(g, 2)))
    unturned = difference(convolve2d(f, g), correlate2d(f, g))
    symmetric = difference(convolve2d(f, blur), correlate2d(f, blur))
    return Finding(
        method="True convolution against cross-correlation of the picture, with a random 5 x 5 kernel and with a blur.",
        rows=(
            equal("correlation with the kernel turned by 180 degrees", turned),
            unequal("correlation with the kernel as it is", unturned),
            equal("the same with gaussian-blur, which looks alike turned", symmetric),
        ),
        verdict=f"{holds(turned)}; without the turn they differ by {value_text(unturned)}, but for a kernel that "
        f"looks alike when turned ({value_text(symmetric)}).",
    )


def separability(scene: Scene) -> Finding:
    """Replace a kernel by the column and the row through its largest weight."""
    kernels = {"sobel-x": kernel("sobel-x").array(), "gaussian-blur": kernel("gaussian-blur").array()}
    errors = {name: _one_pass_or_two(scene, weights) for name, weights in kernels.items()}
    fails = _one_pass_or_two(scene, scene.kernel(3))
    once, twice = _multiply_adds((3, 3)), _multiply_adds((3, 1)) + _multiply_adds((1, 3))
    return Finding(
        method="The picture through the column and the row of the kernel's largest weight, against all of it at once.",
        rows=(
            *(equal(f"{name}, rank 1", error) for name, error in errors.items()),
            unequal("a random 3 x 3 kernel", fails),
            counted("multiply-adds a pixel, 3 x 3 at once", once),
            counted("multiply-adds a pixel, column and row", twice, most=once - 1),
        ),
        verdict=f"{holds(*errors.values())} for kernels of rank 1, with {twice} in place of {once} multiply-adds; a "
        f"random kernel fails by {value_text(fails)}, as it must.",
    )


def _one_pass_or_two(scene: Scene, weights: Array) -> float:
    """Return how far the column and the row through a kernel's largest weight are from the kernel."""
    i, j = np.unravel_index(np.abs(weights).argmax(), weights.shape)
    column, row = weights[:, j : j + 1] / weights[i, j], weights[i : i + 1]
    return difference(correlate2d(correlate2d(scene.pixels, column), row), correlate2d(scene.pixels, weights))


def _multiply_adds(kernel_size: tuple[int, int]) -> int:
    """Return the multiply-adds of one output of one channel."""
    weight = (1, 1, *kernel_size)
    op = parse_convolution("conv2d", (1, 1, *kernel_size), weight)
    return op.macs((1, 1, *kernel_size), weight=weight)
