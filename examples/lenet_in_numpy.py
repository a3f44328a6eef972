"""LeNet-5 without a framework: a list of operations from `striate.ops`, trained on scikit-learn's digits in NumPy.

    python examples/lenet_in_numpy.py --epochs 10

The network is the one people train today, with ReLU and max pooling in place of the scaled tanh and the trainable
subsampling of LeCun et al. 1998. The digits have 8 x 8 pixels: each pixel becomes a square of 3 x 3, with a border of
4 around the image, which makes the 32 x 32 pixels that LeNet-5 looks at. Ten epochs on 1,259 images take 6 s on one
core (AMD EPYC, NumPy 2.4) and end at 96.7 to 99.4 % of the 359 test images, 98.3 % in the mean of the seeds 0 to 4.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from striate import data, ops

Array = npt.NDArray[np.floating]


@dataclass
class Layer:
    """One operation with its parameters and, for each, the velocity of the optimizer."""

    op: ops.Op
    parameters: dict[str, Array] = field(default_factory=dict)
    velocities: dict[str, Array] = field(default_factory=dict)


def build(*, seed: int, dtype: type[np.floating] = np.float32) -> list[Layer]:
    """Return the layers of LeNet-5, with weights drawn by He's rule and biases of 0."""
    generator = np.random.default_rng(seed)

    def weighted(op: ops.Op, *shape: int) -> Layer:
        weight = ops.he_normal(shape, generator=generator).astype(dtype)
        return Layer(op, {"weight": weight, "bias": np.zeros(shape[0], dtype)})

    convolution = ops.Convolution(dims=2, stride=(1, 1), pads=((0, 0), (0, 0)), dilation=(1, 1))
    pooling = ops.MaxPool(kernel_size=(2, 2), stride=(2, 2), pads=((0, 0), (0, 0)), dilation=(1, 1))
    return [
        weighted(convolution, 6, 1, 5, 5),  # 32 -> 28
        Layer(ops.ReLU()),
        Layer(pooling),  # 28 -> 14
        weighted(convolution, 16, 6, 5, 5),  # 14 -> 10
        Layer(ops.ReLU()),
        Layer(pooling),  # 10 -> 5
        Layer(ops.Flatten(start_dim=1, end_dim=3)),
        weighted(ops.Linear(), 120, 16 * 5 * 5),
        Layer(ops.ReLU()),
        weighted(ops.Linear(), 84, 120),
        Layer(ops.ReLU()),
        weighted(ops.Linear(), 10, 84),
    ]


def forward(layers: list[Layer], x: Array) -> list[Array]:
    """Return what goes into each layer, and the logits at the end."""
    values = [x]
    for layer in layers:
        values.append(layer.op.forward(values[-1], **layer.parameters))
    return values


def backward(layers: list[Layer], values: list[Array], grad_logits: Array) -> list[ops.Gradients]:
    """Return the gradients of each layer: the one of its input is the next layer's on the way back."""
    gradients, grad = [], grad_logits
    for layer, x in zip(reversed(layers), reversed(values[:-1]), strict=True):
        gradients.append(layer.op.backward(grad, x, **layer.parameters))
        grad = gradients[-1].inputs[0]
    return gradients[::-1]


def step(layers: list[Layer], x: Array, targets: npt.NDArray[np.int64], *, lr: float) -> float:
    """Take one step of SGD with momentum on one batch and return the loss before it."""
    values = forward(layers, x)
    grad_logits = ops.cross_entropy_backward(1.0, values[-1], targets).astype(x.dtype)
    for layer, gradients in zip(layers, backward(layers, values, grad_logits), strict=True):
        for name, gradient in gradients.parameters.items():
            layer.parameters[name], layer.velocities[name] = ops.momentum_step(
                layer.parameters[name], gradient, layer.velocities.get(name), lr=lr, momentum=0.9
            )
    return float(ops.cross_entropy(values[-1], targets))


def batches(number: int, *, batch_size: int, generator: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the indices of all samples once, in a random order."""
    order = generator.permutation(number)
    for begin in range(0, number, batch_size):
        yield order[begin : begin + batch_size]


def digits(split: data.Dataset) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return images (N, 1, 32, 32), 0 for paper and 1 for ink, and their classes (N,)."""
    pixels = split.images.gather(np.arange(len(split))).pixels.numpy()
    images = np.kron(pixels / np.float32(255), np.ones((1, 1, 3, 3), np.float32))
    return ops.pad(images, padding=[(4, 4), (4, 4)]), split.labels.numpy()


def accuracy(layers: list[Layer], images: Array, classes: npt.NDArray[np.int64]) -> float:
    """Return the share of images that are put into the right class."""
    return ops.accuracy(forward(layers, images)[-1], classes)


def train(*, epochs: int, seed: int = 0, most_images: int | None = None, lr: float = 0.01) -> float:
    """Train, print the progress and return the accuracy on the test images."""
    splits = data.load("digits", seed=seed)
    images, classes = digits(splits.train)
    images, classes = images[:most_images], classes[:most_images]
    layers, generator = build(seed=seed), np.random.default_rng(seed)
    begin = time.perf_counter()
    for epoch in range(1, epochs + 1):
        losses = [
            step(layers, images[some], classes[some], lr=lr)
            for some in batches(len(images), batch_size=32, generator=generator)
        ]
        seconds = time.perf_counter() - begin
        validated = accuracy(layers, *digits(splits.val))
        print(f"epoch {epoch:2}  loss {np.mean(losses):.4f}  validation {validated:.1%}  {seconds:.0f} s")
    tested = accuracy(layers, *digits(splits.test))
    print(f"test accuracy {tested:.2%} on {len(splits.test)} images")
    return tested


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train LeNet-5 on scikit-learn's digits in NumPy.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most-images", type=int, help="train on fewer images")
    options = parser.parse_args()
    train(epochs=options.epochs, seed=options.seed, most_images=options.most_images)
