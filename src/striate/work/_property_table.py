"""The claims, by group, in the order in which they are printed: name, items of the course list, claim, measurement."""

from __future__ import annotations

from collections.abc import Callable

from striate.work import dying_relu as dying
from striate.work import equivariance as moved
from striate.work import gates
from striate.work import gradients_by_depth as depth
from striate.work import receptive_fields as view
from striate.work._scene import Scene
from striate.work.algebra import (
    associativity,
    commutativity,
    correlation_order,
    distributivity,
    flip,
    identity,
    linearity,
    separability,
    zero,
)
from striate.work.certainty import better_predictions, less_certain, softmax_differences
from striate.work.connectivity import dense_against_convolution, pixel_order, shared_gradient, sparse_connections
from striate.work.few_samples import few_samples, moved_task
from striate.work.invariance import pooling_changes, pooling_unchanged
from striate.work.measurement import Finding

__all__ = ["TABLE", "Measure"]

Measure = Callable[[Scene], Finding]

TABLE: dict[str, tuple[tuple[str, str, str, Measure], ...]] = {
    "algebra": (
        ("linearity", "B1", "a weighted sum of pictures becomes the same sum of their maps.", linearity),
        ("commutativity", "B2", "the order of what is convolved does not matter, f * g = g * f.", commutativity),
        ("correlation-order", "B7", "without the flip, as in networks, the order does matter.", correlation_order),
        ("associativity", "B3", "(f * g) * h = f * (g * h).", associativity),
        ("distributivity", "B4", "f * (g + h) = f * g + f * h.", distributivity),
        ("identity", "B6", "a kernel with a single 1 leaves a picture as it is, f * delta = f.", identity),
        ("zero", "B5", "a kernel of zeros leaves nothing, f * 0 = 0.", zero),
        ("flip", "B7", "convolution is cross-correlation with the kernel turned by 180 degrees.", flip),
        ("separability", "", "a kernel of rank 1 is a column and a row, one after the other.", separability),
    ),
    "movement": (
        ("translation", "B11", "move the picture and the map moves with it (equivariance).", moved.translation),
        ("stride", "B11", "with stride 2 that holds for every second shift only.", moved.stride),
        ("untied-weights", "B12", "equivariance comes from sharing the weights.", moved.untied_weights),
        ("scale", "B13", "convolution is not equivariant to enlarging.", moved.scale),
        ("rotation", "B13", "convolution is not equivariant to turning.", moved.rotation),
        ("pooling-unchanged", "B14 B15", "behind pooling, more values survive a small shift.", pooling_unchanged),
        ("pooling-change", "B14 B15", "behind pooling, a shift changes the maps less.", pooling_changes),
    ),
    "connections": (
        ("sparse-connections", "B8 B9 B10", "n m weights become k m, and k if shared.", sparse_connections),
        ("shared-gradient", "B10 B35", "a shared weight's gradient is the sum over all positions.", shared_gradient),
        ("pixel-order", "B32 B33", "a dense layer does not know which pixels are neighbours.", pixel_order),
        ("dense-parameters", "B33 B43", "a CNN has fewer parameters than a dense network.", dense_against_convolution),
        ("edge-kernels", "B26 B27 B28", "one kernel finds one kind of feature, wherever it is.", gates.edge_kernels),
    ),
    "view": (
        ("receptive-field", "B16", "R = 1 + sum of (K - 1) times the strides before.", view.receptive_field_formula),
        ("stacked-kernels", "B17", "three 3 x 3 see what one 7 x 7 sees, with fewer weights.", view.stacked_kernels),
        ("bottleneck", "A24 A25", "1 x 1 before 5 x 5 saves most of the multiply-adds.", view.bottleneck),
        ("dilation", "B19", "dilation widens the view at no cost in weights.", view.dilated_layers),
        ("map-sizes", "B42 B44", "maps shrink unless padded; one map a filter, one value a pixel.", view.map_sizes),
    ),
    "gradients": (
        ("nonlinearity", "B24", "without an activation, several layers do no more than one.", gates.nonlinearity),
        ("relu-gate", "B21 B41", "ReLU is a gate: many outputs are 0, and get no gradient.", gates.relu_gate),
        ("max-pool-switch", "B41", "max pooling is a switch: the gradient goes to the winner.", gates.max_pool_switch),
        ("slopes", "B20 B21", "the sigmoid saturates on both sides, ReLU not where it is positive.", depth.slopes),
        ("vanishing-gradients", "B20", "below many sigmoids no gradient is left.", depth.vanishing_gradients),
        ("residual-shortcuts", "B36", "shortcuts around layers keep the gradient.", depth.residual_shortcuts),
        ("dying-relu", "B22 B23", "large steps kill ReLU units; lower rates and Leaky ReLU do not.", dying.dying_units),
        ("dead-units", "B22 B23", "a dead unit gets no update; a leaky one may come back.", dying.dead_units_stay),
    ),
    "learning": (
        ("few-samples", "B33 B45", "sharing lets a network learn from fewer pictures.", few_samples),
        ("moved-task", "B10 B45", "what is learned in one place is known in all places.", moved_task),
    ),
    "scores": (
        ("softmax", "B31", "softmax reacts to the size of differences, plain shares do not.", softmax_differences),
        ("entropy", "B29", "entropy is higher for less certain distributions.", less_certain),
        ("cross-entropy", "B30", "cross-entropy falls as the prediction improves.", better_predictions),
    ),
}  # fmt: skip
