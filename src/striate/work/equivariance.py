r"""Equivariance: does it matter whether the picture is moved, enlarged or turned before the convolution or after it?

$$ f(g(x)) = g(f(x)) $$

with $g$ the movement and $f$ the layer. For translation it holds wherever the window lies on the picture, and only
because one kernel is used at all positions; for other movements the kernel has to move too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from striate.ops.average_pooling import avg_pool2d
from striate.ops.convolution import conv2d
from striate.ops.max_pooling import max_pool2d
from striate.ops.op import Array
from striate.ops.tiled_convolution import tiled_conv2d
from striate.work._scene import Scene, difference
from striate.work.kernels import kernel
from striate.work.measurement import Finding, Measurement, counted, equal, holds, unequal, value_text

__all__ = ["SHIFTS", "moved_views", "rotation", "scale", "stride", "translation", "untied_weights"]

SHIFTS = (1, 2, 3, 4)
"""Pixels by which the picture is moved."""
UNTIED = (14, 18)
"""Positions with a kernel each; that takes a Python loop."""


def moved_views(scene: Scene, shift: int) -> tuple[Array, Array]:
    """Return two views of the picture (1, 1, S, S - 4), the second seen by a camera moved to the right.

    What the first shows in column j + shift, the second shows in column j; nothing has to be made up at the borders.
    """
    width = scene.side - max(SHIFTS)
    return scene.batch[..., :width], scene.batch[..., shift : shift + width]


def translation(scene: Scene) -> Finding:
    """Move the picture before and after convolutions with three ways to treat the borders."""
    weights = scene.kernel(5)[None, None]
    valid, wrapped, same, borders = [], [], [], []
    for shift in SHIFTS:
        views = moved_views(scene, shift)
        valid.append(_shifted([conv2d(view, weights) for view in views], shift))
        padded = [conv2d(view, weights, padding="same") for view in views]
        same.append(_shifted(padded, shift))
        borders.append(_unlike_columns(padded, shift))
        moved_last = np.roll(_wrapped(scene.batch, weights), -shift, axis=-1)
        wrapped.append(difference(moved_last, _wrapped(np.roll(scene.batch, -shift, axis=-1), weights)))
    farthest = max(far for _, far in borders)
    return Finding(
        method="Two views of the picture, the camera moved to the right; random 5 x 5 kernel; maps laid on each other.",
        rows=(
            equal("no padding: windows that lie on the picture", *valid),
            equal("picture continued around its borders", *wrapped),
            Measurement(what="zeros around it (same)", values=tuple(same)),
            counted("zeros: columns of the map that differ", *(columns for columns, _ in borders)),
            counted("zeros: columns from the border, at most", *(far for _, far in borders), most=2),
        ),
        columns=tuple(f"{shift} px" for shift in SHIFTS),
        verdict=f"{holds(*valid, *wrapped)} where no made-up pixel is read. "
        + (
            f"With zeros around the picture the outermost {farthest} columns on either side are off by up to "
            f"{value_text(max(same))}."
            if farthest
            else "Zeros around the picture change nothing: it is black at its borders."
        ),
    )


def stride(scene: Scene) -> Finding:
    """Move the picture before layers of stride 2."""
    weights = scene.kernel(3)[None, None]
    layers: dict[str, Callable[[Array], Array]] = {
        "convolution": partial(conv2d, weight=weights, stride=2),
        "max pooling": partial(_max_pool, window=2),
        "average": partial(avg_pool2d, kernel_size=2),
    }
    rows: list[Measurement] = []
    errors: dict[bool, list[float]] = {True: [], False: []}
    for shift in SHIFTS:
        maps = [[layer(view) for view in moved_views(scene, shift)] for layer in layers.values()]
        whole, rest = divmod(shift, 2)
        row = [min(_shifted(pair, moved) for moved in {whole, whole + rest}) for pair in maps]
        errors[rest == 0] += row
        label = f"{shift} px, output moved by {whole}" + (f" or {whole + 1}" if rest else "")
        rows.append(unequal(label, *row) if rest else equal(label, *row))
    return Finding(
        method="As for translation; 3 x 3 convolution, 2 x 2 max and average pooling, each of stride 2.",
        rows=tuple(rows),
        columns=tuple(layers),
        verdict=f"{holds(*errors[True])} for whole multiples of the stride; for others it fails by "
        f"{value_text(min(errors[False]))} to {value_text(max(errors[False]))}, as it must.",
    )


def untied_weights(scene: Scene) -> Finding:
    """Move the picture before a layer with an own kernel at every position."""
    generator = scene.generator("untied")
    shared = generator.normal(size=(1, 1, 1, 1, 3, 3))
    untied = generator.normal(size=(*UNTIED, 1, 1, 3, 3))
    corner = (..., slice(UNTIED[0] + 2), slice(UNTIED[1] + 2))
    tied, apart = [], []
    for shift in SHIFTS:
        views = [view[corner] for view in moved_views(scene, shift)]
        tied.append(_shifted([tiled_conv2d(view, shared, tiles=1) for view in views], shift))
        apart.append(_shifted([tiled_conv2d(view, untied, tiles=UNTIED) for view in views], shift))
    return Finding(
        method=f"As for translation; a random 3 x 3 kernel for all {UNTIED[0]} x {UNTIED[1]} positions, or one for "
        "each.",
        rows=(
            equal("one kernel for all positions", *tied),
            unequal("a kernel for each position", *apart),
        ),
        columns=tuple(f"{shift} px" for shift in SHIFTS),
        verdict=f"{holds(*tied)} with one kernel and fails by {value_text(min(apart))} or more without: the "
        "equivariance comes from sharing the weights.",
    )


def scale(scene: Scene) -> Finding:
    """Enlarge the picture before and after the convolution."""
    kernels = {name: kernel(name).array() for name in ("sobel-x", "laplacian")} | {"random 5 x 5": scene.kernel(5)}
    plain, spread = [], []
    for weights in kernels.values():
        enlarged_last = _enlarged(_centred(scene.pixels, weights))
        margin = 2 * (len(weights) - 1)  # where the zeros around either picture are read
        inside = (..., slice(margin, -margin), slice(margin, -margin))
        picture = _enlarged(scene.pixels)
        plain.append(difference(_centred(picture, weights)[inside], enlarged_last[inside]))
        spread.append(difference(_centred(picture, weights, dilation=2)[inside], enlarged_last[inside]))
    return Finding(
        method="Each pixel made 2 x 2, before the convolution against after it; away from the borders.",
        rows=(
            unequal("the kernel as it is", *plain),
            equal("the kernel enlarged too (dilation 2)", *spread),
        ),
        columns=tuple(kernels),
        verdict=f"Fails by {value_text(min(plain))} to {value_text(max(plain))}, as it must. With the kernel enlarged "
        f"too it {holds(*spread).lower()}: a network needs a kernel for each size.",
    )


def rotation(scene: Scene) -> Finding:
    """Turn the picture before and after the convolution."""
    sobel, cross, drawn = kernel("sobel-x").array(), kernel("edge-8").array(), scene.kernel(5)

    def errors(weights: Array, *, turned: bool = False) -> tuple[float, ...]:
        return tuple(
            difference(
                _centred(np.rot90(scene.pixels, quarters), np.rot90(weights, quarters * turned)),
                np.rot90(_centred(scene.pixels, weights), quarters),
            )
            for quarters in (1, 2, 3)
        )

    fails = {"sobel-x": errors(sobel), "random 5 x 5": errors(drawn)}
    symmetric, with_picture = errors(cross), (*errors(sobel, turned=True), *errors(drawn, turned=True))
    worst = tuple(max(pair) for pair in zip(with_picture[:3], with_picture[3:], strict=True))
    values = [value for row in fails.values() for value in row]
    return Finding(
        method="The picture turned anticlockwise before the convolution, against after it; no pixel is interpolated.",
        rows=(
            *(unequal(name, *row) for name, row in fails.items()),
            equal("edge-8, which looks alike from four sides", *symmetric),
            equal("sobel-x and random, turned with the picture", *worst),
        ),
        columns=("90 degrees", "180", "270"),
        verdict=f"Fails by {value_text(min(values))} to {value_text(max(values))}, as it must. It "
        f"{holds(*symmetric, *worst).lower()} for a kernel that looks alike when turned, or that is turned too.",
    )


def _shifted(maps: Sequence[Array], shift: int) -> float:
    """Return how far two maps are from each other where they show the same of the scene."""
    before, after = maps
    return difference(before[..., shift:], after[..., : before.shape[-1] - shift])


def _unlike_columns(maps: Sequence[Array], shift: int) -> tuple[int, int]:
    """Return how many of the columns that both maps show differ, and how far from the border the farthest is."""
    before, after = maps
    length = before.shape[-1] - shift
    unlike = np.flatnonzero((before[0, 0, :, shift:] != after[0, 0, :, :length]).any(axis=0))
    return len(unlike), max((min(int(j), length - 1 - int(j)) + 1 for j in unlike), default=0)


def _max_pool(x: Array, window: int) -> Array:
    return np.asarray(max_pool2d(x, window))


def _wrapped(x: Array, weights: Array) -> Array:
    """Convolve a picture that is continued around its borders."""
    pad = (weights.shape[-1] - 1) // 2
    return conv2d(np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)], mode="wrap"), weights)


def _centred(picture: Array, weights: Array, *, dilation: int = 1) -> Array:
    """Convolve a picture (H, W) to one of the same size."""
    maps: Array = conv2d(picture[None, None], weights[None, None], padding="same", dilation=dilation)[0, 0]
    return maps


def _enlarged(picture: Array) -> Array:
    """Make each pixel 2 x 2."""
    return picture.repeat(2, axis=0).repeat(2, axis=1)
