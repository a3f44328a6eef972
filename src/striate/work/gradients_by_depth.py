r"""How large the gradient of the first layer is when more and more layers stand above it.

$$ \delta^{l} = \big( W^{l+1} \big)^T \delta^{l+1} \odot \sigma'(z^{l}) $$

Each layer multiplies by the slope of its activation. The sigmoid's is at most 1/4, so the gradient shrinks with depth;
ReLU's is 1 for positive values; a shortcut around a layer adds 1 to the factor.
"""

from __future__ import annotations

import numpy as np

from striate.ops.activation import ReLU, Sigmoid, Tanh
from striate.ops.dense import Linear
from striate.ops.initialization import glorot_normal, he_normal
from striate.ops.loss import cross_entropy_backward
from striate.ops.op import Array, Elementwise
from striate.work._scene import Scene, ratio
from striate.work.measurement import Finding, Measurement, value_text, valued

__all__ = ["ACTIVATIONS", "DEPTHS", "first_layer_gradients", "residual_shortcuts", "slopes", "vanishing_gradients"]

DEPTHS = tuple(range(1, 21))
WIDTH, CLASSES, SAMPLES = 64, 10, 64
PATCH = 8
"""Pixels of the side of what one sample sees."""
ACTIVATIONS: dict[str, Elementwise] = {"sigmoid": Sigmoid(), "tanh": Tanh(), "ReLU": ReLU()}


def slopes(scene: Scene) -> Finding:
    """Evaluate the slopes of the activations far from 0 and near it."""
    points = (-40.0, -10.0, -2.0, 0.0, 2.0, 10.0, 40.0)
    fine = np.linspace(-40, 40, 80_001)
    largest = {name: float(op.slope(fine).max()) for name, op in ACTIVATIONS.items()}
    numeric = max(
        float(
            np.abs((op.value(fine + 1e-6) - op.value(fine - 1e-6)) / 2e-6 - op.slope(fine))[np.abs(fine) > 1e-3].max()
        )
        for op in ACTIVATIONS.values()
    )
    rows = [valued(name, *(float(v) for v in op.slope(np.array(points)))) for name, op in ACTIVATIONS.items()]
    end = float(Sigmoid().slope(np.array([-40.0, 40.0])).max())
    return Finding(
        method=f"Slopes at some values z; the largest of {len(fine):,} from -40 to 40; all against finite differences.",
        rows=(
            *rows,
            valued("largest slope: sigmoid", largest["sigmoid"], least=0.25, most=0.25),
            valued("larger of the sigmoid's slopes at -40 and 40", end, most=1e-16),
            Measurement(what="worst against finite differences", values=(numeric,), most=1e-6),
        ),
        columns=tuple(f"z={point:g}" for point in points),
        verdict=f"The sigmoid's slope is at most {largest['sigmoid']:g} and {value_text(end, 'number')} at -40 and "
        f"40; ReLU's is {ReLU().slope(np.array([40.0]))[0]:g} for all positive values and 0 for the others.",
    )


def vanishing_gradients(scene: Scene) -> Finding:
    """Measure the gradient of the first layer for networks of 1 to 20 hidden layers."""
    norms = {name: first_layer_gradients(scene, name) for name in ACTIVATIONS}
    rows = [
        valued(f"{depth} hidden layer{'s' if depth > 1 else ''}", *values)
        for depth, *values_list in zip(DEPTHS, *norms.values(), strict=True)
        for values in [tuple(values_list)]
    ]
    left = {name: ratio(values[-1], values[0]) for name, values in norms.items()}
    factor = {name: share ** (1 / (DEPTHS[-1] - DEPTHS[0])) for name, share in left.items()}
    rows += [
        valued("factor a layer", *factor.values()),
        Measurement(what=f"{DEPTHS[-1]} layers, of 1 layer: sigmoid", values=(left["sigmoid"],), most=1e-6),
        Measurement(what=f"{DEPTHS[-1]} layers, of 1 layer: ReLU", values=(left["ReLU"],), least=0.01),
    ]
    return Finding(
        method=f"Norm of dL/dW of the first of several dense layers of {WIDTH}; cross-entropy, {SAMPLES} patches. "
        "Weights by Glorot, for ReLU by He.",
        rows=tuple(rows),
        columns=tuple(norms),
        verdict=f"With sigmoids each layer leaves a factor of {factor['sigmoid']:.2g}: behind {DEPTHS[-1]} layers "
        f"{value_text(left['sigmoid'])} of the gradient is left, with tanh {value_text(left['tanh'])}, with ReLU "
        f"{value_text(left['ReLU'])}.",
    )


def residual_shortcuts(scene: Scene) -> Finding:
    """Measure the same with a shortcut around each hidden layer."""
    shown = (1, 5, 10, 20)
    rows, left = [], {}
    for name in ACTIVATIONS:
        for has_shortcuts in (False, True):
            norms = first_layer_gradients(scene, name, depths=shown, shortcuts=has_shortcuts)
            label = f"{name}{', with shortcuts' if has_shortcuts else ''}"
            left[label] = ratio(norms[-1], norms[0])
            rows.append(valued(label, *norms))
    gain = ratio(left["sigmoid, with shortcuts"], left["sigmoid"])
    rows.append(valued("sigmoid: how many times more is left", gain, least=1e3))
    return Finding(
        method="As for vanishing-gradients; each hidden layer but the first adds its answer to what came in.",
        rows=tuple(rows),
        columns=tuple(f"{depth} layer{'s' if depth > 1 else ''}" for depth in shown),
        verdict=f"Of the gradient behind one sigmoid layer, {value_text(left['sigmoid'])} is left behind {shown[-1]}, "
        f"and {value_text(left['sigmoid, with shortcuts'])} with shortcuts. With ReLU it becomes "
        f"{left['ReLU, with shortcuts']:,.0f} times as large with them: shortcuts alone do not keep the size.",
    )


def first_layer_gradients(
    scene: Scene, activation: str, *, depths: tuple[int, ...] = DEPTHS, shortcuts: bool = False
) -> tuple[float, ...]:
    """Return the norm of dL/dW of the first layer for networks of several depths.

    Args:
        scene: Its patches are what the network sees; the classes are random.
        activation: A key of `ACTIVATIONS`.
        depths: Numbers of hidden layers.
        shortcuts: Add what came into each hidden layer but the first to its answer.
    """
    x = _patches(scene)
    targets = scene.generator("targets").integers(0, CLASSES, size=len(x))
    return tuple(_first_gradient(scene, ACTIVATIONS[activation], x, targets, depth, shortcuts) for depth in depths)


def _first_gradient(
    scene: Scene, activation: Elementwise, x: Array, targets: Array, depth: int, shortcuts: bool
) -> float:
    generator, layer = scene.generator("depth"), Linear()
    draw = he_normal if isinstance(activation, ReLU) else glorot_normal
    shapes = [(WIDTH, x.shape[1]), *[(WIDTH, WIDTH)] * (depth - 1), (CLASSES, WIDTH)]
    weights = [draw(shape, generator=generator) for shape in shapes]
    inputs, sums = [x], []
    for number, weight in enumerate(weights[:-1]):
        sums.append(layer.forward(inputs[-1], weight=weight))
        answer = activation.forward(sums[-1])
        inputs.append(answer + inputs[-1] if shortcuts and number else answer)
    logits = layer.forward(inputs[-1], weight=weights[-1])
    step = layer.backward(cross_entropy_backward(1.0, logits, targets), inputs[-1], weight=weights[-1])
    gradient = step.inputs[0]
    for number in range(depth - 1, -1, -1):
        around = gradient if shortcuts and number else 0.0
        through = activation.backward(gradient, sums[number]).inputs[0]
        step = layer.backward(through, inputs[number], weight=weights[number])
        gradient = step.inputs[0] + around
    return float(np.linalg.norm(step.parameters["weight"]))


def _patches(scene: Scene) -> Array:
    """Return random patches of the picture as vectors, with mean 0 and variance 1 over all of them."""
    generator = scene.generator("patches")
    places = generator.integers(0, scene.side - PATCH + 1, size=(SAMPLES, 2))
    x = np.stack([scene.pixels[i : i + PATCH, j : j + PATCH].reshape(-1) for i, j in places])
    spread = float(x.std())
    return (x - x.mean()) / spread if spread else x
