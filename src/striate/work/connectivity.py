r"""What sparse connections and shared weights save and what they assume, counted on the matrix that a convolution is.

A layer of $m$ outputs on $n$ inputs is a matrix of $n m$ weights if it is dense. A kernel of $k$ taps leaves $k$ of the
weights of each output; sharing leaves $k$ different numbers in all:

$$ n m \;\to\; k m \;\to\; k . $$
"""

from __future__ import annotations

import numpy as np

from striate.ops.convolution import conv2d, conv2d_backward
from striate.ops.dense import linear
from striate.ops.op import Array
from striate.ops.tiled_convolution import tiled_conv2d, tiled_conv2d_backward
from striate.work._scene import Scene, change, difference, ratio
from striate.work.counting import parameters
from striate.work.kernels import kernel
from striate.work.measurement import Finding, Measurement, counted, equal, holds, unequal, value_text

__all__ = ["dense_against_convolution", "pixel_order", "shared_gradient", "sparse_connections"]

SIDE = 28
"""Pixels of the side of a digit of MNIST."""
NETWORKS = (
    ("dense, 784 to 30", "dense 30", "1x28x28"),
    ("20 filters of 5 x 5 on the same", "5x5 f20", "1x28x28"),
    ("MLP 784-128-64-10 for MNIST", "dense 784->128->64->10", "1x28x28"),
    ("LeNet-5 for MNIST", "5x5 f6, pool 2x2, 5x5 f16, pool 2x2, dense 120, dense 84, dense 10", "1x28x28"),
    ("MLP 3072-1536-768-384-128-10 for CIFAR-10", "dense 3072->1536->768->384->128->10", "3x32x32"),
    ("CNN 32-64-128-10 for CIFAR-10", "3x3 f32 p1, pool 2x2, 3x3 f64 p1, pool 2x2, dense 128, dense 10", "3x32x32"),
)
"""Pairs, the dense network first: label, layers, size of the input."""


def sparse_connections(scene: Scene) -> Finding:
    """Write a convolution as the matrix that it is, and count in it."""
    weights = scene.kernel(3)[None, None]
    pixels = SIDE**2
    # A picture with a single 1 gives one column of the matrix.
    impulses = np.eye(pixels).reshape(pixels, 1, SIDE, SIDE)
    matrix = conv2d(impulses, weights, padding="same").reshape(pixels, pixels).T
    picture = scene.centre(SIDE, SIDE)[None, None]
    error = difference(linear(picture.reshape(1, -1), matrix), conv2d(picture, weights, padding="same").reshape(1, -1))
    taps, inside = weights.size, int((matrix[SIDE * SIDE // 2 + SIDE // 2] != 0).sum())
    sparse, shared = int(np.count_nonzero(matrix)), len(np.unique(matrix[matrix != 0]))
    return Finding(
        method=f"The matrix of a 3 x 3 convolution, {SIDE} x {SIDE} pixels to as many, from a picture for each pixel.",
        rows=(
            counted("weights of a dense layer, n m", matrix.size),
            counted("inputs of an output away from the border, k", inside, least=taps, most=taps),
            counted("connections that are left, k m but for the borders", sparse, most=taps * pixels),
            counted("different weights among them", shared, least=taps, most=taps),
            equal("matrix times picture against convolution", error),
        ),
        verdict=f"{matrix.size:,} weights become {sparse:,} connections ({value_text(sparse / matrix.size)}) and "
        f"{shared} numbers. The borders lack {taps * pixels - sparse} of {taps} x {pixels} = {taps * pixels:,}.",
    )


def shared_gradient(scene: Scene) -> Finding:
    """Compare the gradient of a shared kernel with those of a kernel for each position."""
    picture, generator = scene.centre(12, 12)[None, None], scene.generator("gradient")
    weights = generator.normal(size=(1, 1, 3, 3))
    grad_output = generator.normal(size=(1, 1, 10, 10))
    copies = np.broadcast_to(weights, (10, 10, 1, 1, 3, 3))
    forward = difference(tiled_conv2d(picture, copies, tiles=10), conv2d(picture, weights))
    untied = tiled_conv2d_backward(grad_output, picture, copies, tiles=10)[1]
    shared = conv2d_backward(grad_output, picture, weights)[1]
    error = difference(untied.sum(axis=(0, 1)), shared)
    apart = change(np.broadcast_to(untied.mean(axis=(0, 1)), untied.shape), untied)
    return Finding(
        method="A 3 x 3 kernel on 12 x 12 pixels, and the same kernel copied to each of the 10 x 10 positions.",
        rows=(
            equal("forward: copies against the shared kernel", forward),
            equal("sum of the copies' gradients against the shared one", error),
            unequal("a copy's own gradient against their mean", apart),
        ),
        verdict=f"{holds(error)}: the kernel gets the sum of what all positions ask for. Copies left alone would "
        f"drift apart: their gradients differ from their mean by {value_text(apart)}.",
    )


def pixel_order(scene: Scene) -> Finding:
    """Shuffle the pixels of a picture before a dense layer and before a convolution."""
    generator = scene.generator("order")
    picture = scene.centre(SIDE, SIDE)
    order = generator.permutation(picture.size)
    weights = generator.normal(size=(64, picture.size))
    shuffled = picture.reshape(-1)[order]
    dense = difference(linear(shuffled[None], weights[:, order]), linear(picture.reshape(1, -1), weights))
    edges = conv2d(picture[None, None], kernel("sobel-x").array()[None, None], padding="same")[0, 0]
    own = _unexplained(picture, edges)
    lost = _unexplained(shuffled.reshape(picture.shape), edges.reshape(-1)[order].reshape(picture.shape))
    return Finding(
        method=f"{SIDE} x {SIDE} pixels of the picture in a random order; the answers of sobel-x shuffled alike.",
        rows=(
            equal("dense layer, its weights in the same order", dense),
            Measurement(what="answers that the best 3 x 3 kernel misses, unshuffled", values=(own,), most=1e-10),
            Measurement(what="answers that the best 3 x 3 kernel misses, shuffled", values=(lost,), least=0.5),
        ),
        verdict=f"To a dense layer the order means nothing (off by {value_text(dense)}): it does not know which "
        f"pixels are neighbours. A convolution does; on shuffled pixels it misses {value_text(lost)} of what it found.",
    )


def dense_against_convolution(scene: Scene) -> Finding:
    """Count the parameters of dense networks and of convolutional ones for the same pictures."""
    totals = [int(parameters(layers, size=size).value) for _, layers, size in NETWORKS]
    rows = tuple(
        counted(label, total, most=totals[i - 1] - 1 if i % 2 else None)
        for i, ((label, _, _), total) in enumerate(zip(NETWORKS, totals, strict=True))
    )
    ratios = [dense / convolutional for dense, convolutional in zip(totals[::2], totals[1::2], strict=True)]
    return Finding(
        method="Weights and biases, counted layer by layer as `striate work parameters` does; dense first, then its "
        "rival.",
        rows=rows,
        verdict=f"The convolutional networks have {', '.join(f'{ratio:.1f}' for ratio in ratios[:-1])} and "
        f"{ratios[-1]:.1f} times fewer parameters. Which of them is more often right is not counted here.",
    )


def _unexplained(pixels: Array, answers: Array) -> float:
    """Return the share of the answers' energy that no 3 x 3 kernel reproduces, windows on the picture only."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3)).reshape(-1, 9)
    wanted = answers[1:-1, 1:-1].reshape(-1)
    best = np.linalg.lstsq(windows, wanted, rcond=None)[0]
    return ratio(float(np.sum((windows @ best - wanted) ** 2)), float(np.sum(wanted**2)))
