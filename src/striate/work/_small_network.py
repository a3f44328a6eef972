"""A small dense classifier made of operations, trained on patches of the picture: which way do they get brighter?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from striate.ops.dense import Linear
from striate.ops.initialization import he_normal
from striate.ops.loss import cross_entropy_backward
from striate.ops.op import Array, Elementwise
from striate.work._scene import Scene

__all__ = ["BATCH", "HIDDEN", "PATCH", "SAMPLES", "SmallNetwork"]

SAMPLES, PATCH, CLASSES = 512, 5, 4
HIDDEN = (64, 64)
"""Units of the hidden layers."""
BATCH = 64


_QUIET = np.errstate(all="ignore")
"""What overflows has diverged, which is said in the table and not by a warning."""


class SmallNetwork:
    """A network that goes on training from where it is; the same scene gives the same samples, weights and batches."""

    def __init__(self, scene: Scene, activation: Elementwise) -> None:
        """Draw samples and weights."""
        self.activation = activation
        self.x, self.targets = _task(scene)
        self._batches = scene.generator("batches")
        sizes = (self.x.shape[1], *HIDDEN, CLASSES)
        generator = scene.generator("start")
        shapes = zip(sizes[1:], sizes[:-1], strict=True)
        self.weights: list[Array] = [he_normal(shape, generator=generator) for shape in shapes]
        self.biases: list[Array] = [np.zeros(size) for size in sizes[1:]]

    @_QUIET
    def train(self, *, lr: float, steps: int) -> None:
        """Take steps of gradient descent; stop where a number is no longer finite."""
        for _ in range(steps):
            chosen = self._batches.integers(0, len(self.x), BATCH)
            for number, (grad_weight, grad_bias) in enumerate(self.gradients(chosen)):
                self.weights[number] = self.weights[number] - lr * grad_weight
                self.biases[number] = self.biases[number] - lr * grad_bias
            if not np.isfinite(self.weights[-1]).all():
                break

    @property
    def has_diverged(self) -> bool:
        """Whether a sum of any unit is no longer finite."""
        return not all(np.isfinite(z).all() for z in self._sums())

    @property
    def right(self) -> float:
        """Share of the samples whose class is found; NaN after a divergence."""
        return float("nan") if self.has_diverged else float(np.mean(self._sums()[-1].argmax(axis=1) == self.targets))

    @property
    def dead(self) -> float:
        """Share of the hidden units with slope 0 at every sample, whose weights get no gradient; NaN likewise."""
        if self.has_diverged:
            return float("nan")
        return float(np.mean([unit for z in self._sums()[:-1] for unit in (self.activation.slope(z) == 0).all(axis=0)]))

    def silent(self) -> list[npt.NDArray[np.bool_]]:
        """Return for each hidden layer which units have a sum below 0 for every sample."""
        return [np.asarray((z <= 0).all(axis=0)) for z in self._sums()[:-1]]

    @_QUIET
    def gradients(self, chosen: Array | slice = slice(None)) -> list[tuple[Array, Array]]:
        """Return dL/dweight and dL/dbias of each layer for some samples, by the chain rule from the last layer on."""
        sums = self._sums(self.x[chosen])
        inputs = [self.x[chosen], *(self.activation.forward(z) for z in sums[:-1])]
        gradient = cross_entropy_backward(1.0, sums[-1], self.targets[chosen])
        found = []
        for number in range(len(self.weights) - 1, -1, -1):
            step = Linear().backward(gradient, inputs[number], weight=self.weights[number], bias=self.biases[number])
            found.append((step.parameters["weight"], step.parameters["bias"]))
            if number:
                gradient = self.activation.backward(step.inputs[0], sums[number - 1]).inputs[0]
        return found[::-1]

    @_QUIET
    def _sums(self, x: Array | None = None) -> list[Array]:
        """Return what each layer adds up, before its activation; the last are the logits."""
        values = self.x if x is None else x
        sums: list[Array] = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            sums.append(
                Linear().forward(self.activation.forward(sums[-1]) if sums else values, weight=weight, bias=bias)
            )
        return sums


def _task(scene: Scene) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return patches as vectors, and for each whether it gets brighter to the right and downwards: one of 4 classes."""
    places = scene.generator("patches").integers(0, scene.side - PATCH + 1, size=(SAMPLES, 2))
    patches = np.stack([scene.pixels[i : i + PATCH, j : j + PATCH] for i, j in places])
    across = (patches[:, :, -1] - patches[:, :, 0]).sum(axis=1)
    down = (patches[:, -1] - patches[:, 0]).sum(axis=1)
    x = patches.reshape(SAMPLES, -1)
    x = x - x.mean(axis=1, keepdims=True)
    return x / (float(x.std()) or 1.0), 2 * (across > 0).astype(np.int64) + (down > 0)
