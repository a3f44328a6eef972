r"""What a convolution knows before it has learned: the same thing elsewhere is the same thing.

A convolution with global max pooling and a dense network learn to tell upright bars from level ones, at random places
in noise. The first has one set of weights for all places, the second must learn each place by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from striate.ops.activation import relu, relu_backward
from striate.ops.adam import AdamState, adam_step
from striate.ops.convolution import conv2d, conv2d_backward
from striate.ops.dense import linear, linear_backward
from striate.ops.global_pooling import global_max_pool2d, global_max_pool2d_backward
from striate.ops.initialization import he_normal
from striate.ops.loss import cross_entropy_backward
from striate.ops.op import Array
from striate.work._scene import Scene
from striate.work.measurement import Finding, Measurement, value_text

__all__ = ["Bars", "few_samples", "moved_task"]

HEIGHT, WIDTH, MARGIN, LENGTH = 12, 20, 2, 5
"""Of the pictures, of the free space at their borders, and of the bars, in pixels."""
NOISE = 0.25
NUMBERS = (20, 80, 320)
"""Pictures to learn from."""
TESTS, STEPS, BATCH, LR = 500, 60, 32, 0.05


@dataclass(frozen=True, eq=False)
class Bars:
    """Pictures (N, 1, H, W) with one bar each, and whether it stands upright."""

    x: Array
    targets: npt.NDArray[np.int64]

    @classmethod
    def draw(
        cls, generator: np.random.Generator, count: int, *, first: int = MARGIN, last: int = WIDTH - MARGIN
    ) -> Bars:
        """Draw pictures with bars in the columns from `first` to `last` - 1."""
        x = generator.normal(0, NOISE, size=(count, 1, HEIGHT, WIDTH))
        targets = generator.integers(0, 2, size=count)
        for picture, upright in zip(x, targets, strict=True):
            height, width = (LENGTH, 1) if upright else (1, LENGTH)
            i = generator.integers(MARGIN, HEIGHT - MARGIN - height + 1)
            j = generator.integers(first, last - width + 1)
            picture[0, i : i + height, j : j + width] += 1
        return cls(x, targets)


class Convolutional:
    """5 x 5 convolution with 4 filters, ReLU, global max pooling, dense."""

    shapes: tuple[tuple[int, ...], ...] = ((4, 1, 5, 5), (4,), (2, 4), (2,))

    def forward(self, x: Array, p: list[Array]) -> tuple[Array, tuple[Array, ...]]:
        """Return logits and what the backward pass needs."""
        sums = conv2d(x, p[0], p[1], padding=2)
        active = relu(sums)
        pooled = global_max_pool2d(active)
        features = pooled.reshape(len(x), -1)
        return linear(features, p[2], p[3]), (x, sums, active, pooled, features)

    def backward(self, grad: Array, p: list[Array], kept: tuple[Array, ...]) -> list[Array]:
        """Return the gradients of the parameters."""
        x, sums, active, pooled, features = kept
        grad_features, *head = linear_backward(grad, features, p[2])
        grad_active = global_max_pool2d_backward(grad_features.reshape(pooled.shape), active)
        _, *filters = conv2d_backward(relu_backward(grad_active, sums), x, p[0], padding=2)
        return [*filters, *head]


class Dense:
    """Dense layer with 32 units, ReLU, dense."""

    shapes: tuple[tuple[int, ...], ...] = ((32, HEIGHT * WIDTH), (32,), (2, 32), (2,))

    def forward(self, x: Array, p: list[Array]) -> tuple[Array, tuple[Array, ...]]:
        """Return logits and what the backward pass needs."""
        flat = x.reshape(len(x), -1)
        sums = linear(flat, p[0], p[1])
        active = relu(sums)
        return linear(active, p[2], p[3]), (flat, sums, active)

    def backward(self, grad: Array, p: list[Array], kept: tuple[Array, ...]) -> list[Array]:
        """Return the gradients of the parameters."""
        flat, sums, active = kept
        grad_active, *head = linear_backward(grad, active, p[2])
        _, *first = linear_backward(relu_backward(grad_active, sums), flat, p[0])
        return [*first, *head]


Network = Convolutional | Dense
NETWORKS: dict[str, Network] = {"convolution": Convolutional(), "dense": Dense()}


def few_samples(scene: Scene) -> Finding:
    """Train both networks on few pictures and on more."""
    generator = scene.generator("bars")
    training, test = Bars.draw(generator, NUMBERS[-1]), Bars.draw(generator, TESTS)
    rows, right, known = [], {}, 0.0
    for name, network in NETWORKS.items():
        shares = []
        for number in NUMBERS:
            seen = Bars(training.x[:number], training.targets[:number])
            learned = _train(scene, network, seen)
            shares.append((_right(network, learned, test), _right(network, learned, seen)))
        right[name] = [share for share, _ in shares]
        known = shares[-1][1]
        rows.append(Measurement(what=f"{name}: right on {TESTS} new pictures", values=tuple(right[name])))
        rows.append(
            Measurement(what=f"{name}: right on those it learned from", values=tuple(seen for _, seen in shares))
        )
    gain = right["convolution"][0] - right["dense"][-1]
    counts = [sum(math.prod(shape) for shape in network.shapes) for network in NETWORKS.values()]
    return Finding(
        method=f"Upright or level bars in {HEIGHT} x {WIDTH} noise; {STEPS} steps of Adam; parameters: {counts[0]} "
        f"and {counts[1]:,.0f}.",
        rows=(
            *rows,
            Measurement(what=f"convolution, {NUMBERS[0]}, less dense, {NUMBERS[-1]}", values=(gain,), least=0.05),
        ),
        columns=tuple(f"{number} pictures" for number in NUMBERS),
        verdict=f"After {NUMBERS[0]} pictures the convolution is right in {value_text(right['convolution'][0])} of "
        f"new ones, the dense network after {NUMBERS[-1]} in {value_text(right['dense'][-1])}, and in "
        f"{value_text(known)} of those it learned from.",
    )


def moved_task(scene: Scene) -> Finding:
    """Train both networks on bars to the left and test them on bars to the right."""
    generator, middle = scene.generator("moved bars"), WIDTH // 2
    training = Bars.draw(generator, NUMBERS[-1], last=middle)
    left, right = Bars.draw(generator, TESTS, last=middle), Bars.draw(generator, TESTS, first=middle)
    answers = {}
    for name, network in NETWORKS.items():
        learned = _train(scene, network, training)
        answers[name] = tuple(_right(network, learned, bars) for bars in (left, right))
    return Finding(
        method=f"As for few-samples; {NUMBERS[-1]} pictures with bars in the left half, {TESTS} new ones of each half.",
        rows=(
            Measurement(what="convolution: right", values=answers["convolution"], least=0.9),
            Measurement(what="dense: right", values=answers["dense"]),
            Measurement(what="dense: right, bars to the right", values=answers["dense"][1:], most=0.7),
        ),
        columns=("bars left", "bars right"),
        verdict="On the side it never saw a bar on, the convolution is right in "
        f"{value_text(answers['convolution'][1])} and the dense network in {value_text(answers['dense'][1])}, where "
        "guessing gives 50 %.",
    )


def _train(scene: Scene, network: Network, bars: Bars) -> list[Array]:
    """Return the parameters after training."""
    generator = scene.generator("training")
    p = [he_normal(shape, generator=generator) if len(shape) > 1 else np.zeros(shape) for shape in network.shapes]
    states: list[AdamState | None] = [None] * len(p)
    for _ in range(STEPS):
        chosen = generator.integers(0, len(bars.x), BATCH)
        logits, kept = network.forward(bars.x[chosen], p)
        gradients = network.backward(cross_entropy_backward(1.0, logits, bars.targets[chosen]), p, kept)
        for i, gradient in enumerate(gradients):
            p[i], states[i] = adam_step(p[i], gradient, states[i], lr=LR)
    return p


def _right(network: Network, p: list[Array], bars: Bars) -> float:
    """Return the share of pictures whose class is found."""
    logits, _ = network.forward(bars.x, p)
    return float(np.mean(logits.argmax(axis=1) == bars.targets))
