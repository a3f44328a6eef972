"""The worked numbers of the course texts: gradients and a step of descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from striate import ops, work

GROUP = "gradients"


def kernel_gradient(*, image: str, grad_output: str) -> Any:
    x, delta = work.parse_array(image), work.parse_array(grad_output)
    size = [length - other + 1 for length, other in zip(x.shape, delta.shape, strict=True)]
    gradient = work.conv(image, np.zeros(size), backward=grad_output).numbers["grad_weight"]
    # Correlation with the gradient, or true convolution with the gradient rotated: the two printed forms.
    np.testing.assert_allclose(gradient, ops.correlate2d(x, delta), atol=1e-12)
    np.testing.assert_allclose(gradient, ops.convolve2d(x, delta[::-1, ::-1]), atol=1e-12)
    return gradient


def input_gradient(*, kernel: str, grad_output: str) -> Any:
    weight, delta = work.parse_array(kernel), work.parse_array(grad_output)
    size = [length + other - 1 for length, other in zip(weight.shape, delta.shape, strict=True)]
    gradient = work.conv(np.zeros(size), kernel, backward=grad_output).numbers["grad_input"]
    return {
        "gradient": gradient,
        "full convolution": np.allclose(gradient, ops.convolve2d(delta, weight, padding="full")),
        "full correlation with the transpose": np.allclose(gradient, ops.correlate2d(delta, weight.T, padding="full")),
    }


def sigmoid_layer(*, size: int, kernel: int) -> Any:
    """Compare the printed sums with differences of h = sigmoid(x * w + b) and L = sum of g h."""
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(1, 1, size, size)), rng.normal(size=(1, 1, kernel, kernel)), rng.normal(size=1)
    grad = rng.normal(size=(1, 1, size - kernel + 1, size - kernel + 1))

    def loss(weight: Any, bias: Any) -> float:
        return float((grad * ops.sigmoid(ops.conv2d(x, weight, bias))).sum())

    def difference(step_weight: Any, step_bias: float) -> float:
        step = 1e-6
        above = loss(weight + step * step_weight, bias + step * step_bias)
        return (above - loss(weight - step * step_weight, bias - step * step_bias)) / (2 * step)

    delta = ops.sigmoid_backward(grad, ops.conv2d(x, weight, bias))
    _, grad_weight, grad_bias = ops.conv2d_backward(delta, x, weight)
    by_difference = np.zeros_like(weight)
    for place in np.ndindex(*weight.shape):
        tap = np.zeros_like(weight)
        tap[place] = 1
        by_difference[place] = difference(tap, 0.0)
    total = float(delta.sum())
    return {
        "weight": np.allclose(grad_weight, by_difference, rtol=1e-6),
        "bias": np.allclose(grad_bias, difference(0.0, 1.0), rtol=1e-6),
        "sum is the bias gradient": np.allclose(total, difference(0.0, 1.0), rtol=1e-6),
        "sum is a weight gradient": bool(np.isclose(total, by_difference, rtol=1e-3).any()),
    }


def sigmoid_slope(*, x: str) -> Any:
    z = work.parse_array(x)
    return ops.sigmoid_backward(np.ones_like(z), z)


def average_pooling_backward(*, kernel_size: list[int], grad_output: float) -> Any:
    answer = work.pool(np.zeros(kernel_size), kind="avg", kernel_size=tuple(kernel_size), backward=grad_output)
    return answer.numbers["grad_input"]


def descent(*, w: float, lr: float) -> Any:
    """Step down w^2, whose gradient is 2 w."""
    after, _ = ops.sgd_step(w, 2 * w, lr=lr)
    assert after**2 < w**2
    return float(after)


ANSWERS = {
    "average pooling backward": average_pooling_backward,
    "gradient descent on w^2": descent,
    "input gradient": input_gradient,
    "kernel gradient": kernel_gradient,
    "sigmoid layer": sigmoid_layer,
    "sigmoid slope": sigmoid_slope,
}


def test_example(example, assert_right):
    assert_right(ANSWERS[example["kind"]](**example["inputs"]), example)
