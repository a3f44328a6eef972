r"""Invariance: how much of a layer's answer stays when the picture moves, with and without pooling.

$$ f(g(x)) = f(x) $$

asks more than equivariance does. Pooling comes closer to it the larger its windows are, and never reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from striate.ops.average_pooling import avg_pool2d
from striate.ops.convolution import conv2d
from striate.ops.global_pooling import global_avg_pool2d, global_max_pool2d
from striate.ops.max_pooling import max_pool2d
from striate.ops.op import Array
from striate.work._scene import Scene, change, ratio
from striate.work.equivariance import SHIFTS, moved_views
from striate.work.kernels import kernel
from striate.work.measurement import VISIBLE, Finding, Measurement, value_text

__all__ = ["pooling_changes", "pooling_unchanged"]

WINDOWS = (2, 4, 8)
"""Pixels of the pooling windows; their stride is their size."""
GLOBAL = "global max pooling"


def pooling_unchanged(scene: Scene) -> Finding:
    """Count the outputs that stay exactly the same when the picture moves."""
    shares = {
        name: tuple(_unchanged(layer(one), layer(other)) for one, other in _feature_maps(scene))
        for name, layer in _layers().items()
    }
    nothing, largest = shares["no pooling"], f"max pooling {WINDOWS[-1]} x {WINDOWS[-1]}"
    averaged = max(value for name, values in shares.items() if "average" in name for value in values)
    return Finding(
        method="Outputs that stay exactly the same when the picture moves, of those not 0; sobel-x, ReLU, pooling.",
        rows=(
            *(Measurement(what=name, values=values) for name, values in shares.items()),
            Measurement(
                what=f"1 px: {largest} less no pooling", values=(shares[largest][0] - nothing[0],), least=VISIBLE
            ),
        ),
        columns=tuple(f"{shift} px" for shift in SHIFTS),
        verdict=f"Moved by 1 px, {value_text(nothing[0])} of the values stay without pooling and "
        f"{value_text(shares[largest][0])} with {largest}; moved by {SHIFTS[-1]} px, "
        f"{value_text(shares[largest][-1])}. Of averages at most {value_text(averaged)} stay.",
    )


def pooling_changes(scene: Scene) -> Finding:
    """Measure by how much the outputs change when the picture moves."""
    changes = {
        name: tuple(change(layer(one), layer(other)) for one, other in _feature_maps(scene))
        for name, layer in _layers().items()
    }
    nothing = changes["no pooling"]
    rows = [Measurement(what=name, values=values) for name, values in changes.items()]
    largest = max(WINDOWS)
    for kind in ("max", "average"):
        left = [ratio(a, b) for a, b in zip(changes[f"{kind} pooling {largest} x {largest}"], nothing, strict=True)]
        rows.append(Measurement(what=f"1 px: {kind} {largest} x {largest}, of no pooling", values=(left[0],), most=1))
        label = f"{SHIFTS[-1]} px: {kind} {largest} x {largest}, of no pooling"
        rows.append(Measurement(what=label, values=(left[-1],), least=1e-6))
    small, large, whole = (
        value_text(changes[name][0])
        for name in (f"max pooling {min(WINDOWS)} x {min(WINDOWS)}", f"max pooling {largest} x {largest}", GLOBAL)
    )
    return Finding(
        method="Root-mean-square change when the picture moves, of the values' size; sobel-x, ReLU, pooling.",
        rows=tuple(rows),
        columns=tuple(f"{shift} px" for shift in SHIFTS),
        verdict=f"Moved by 1 px, the maps change by {value_text(nothing[0])} without pooling, by {small} with max "
        f"pooling {min(WINDOWS)} x {min(WINDOWS)}, by {large} with {largest} x {largest}: less, but not by nothing; "
        f"with {GLOBAL} by {whole}.",
    )


def _feature_maps(scene: Scene) -> list[tuple[Array, Array]]:
    """Return the maps of the two views for each shift."""
    weights = kernel("sobel-x").array()[None, None]
    pairs = [moved_views(scene, shift) for shift in SHIFTS]
    return [(np.maximum(conv2d(one, weights), 0), np.maximum(conv2d(other, weights), 0)) for one, other in pairs]


def _unchanged(before: Array, after: Array) -> float:
    """Return the share of exactly equal values; where both are 0 there is nothing to keep."""
    there = (before != 0) | (after != 0)
    return float(np.mean((before == after)[there])) if there.any() else 1.0


def _layers() -> dict[str, Callable[[Array], Array]]:
    """Return what stands behind the feature maps."""
    layers: dict[str, Callable[[Array], Array]] = {"no pooling": np.asarray}
    layers |= {f"max pooling {window} x {window}": partial(_max_pool, window=window) for window in WINDOWS}
    layers |= {f"average pooling {window} x {window}": partial(avg_pool2d, kernel_size=window) for window in WINDOWS}
    return layers | {GLOBAL: global_max_pool2d, "global average pooling": global_avg_pool2d}


def _max_pool(x: Array, window: int) -> Array:
    return np.asarray(max_pool2d(x, window))
