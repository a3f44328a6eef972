r"""What activations and pooling do to values and gradients: the gate of ReLU, the switch of max pooling.

$$ \frac{\partial L}{\partial x} = \delta\, [x > 0] \;\text{(ReLU)}, \qquad
   \frac{\partial L}{\partial x_k} = \delta\, [k = \arg\max x] \;\text{(max pooling)} . $$
"""

from __future__ import annotations

import numpy as np

from striate.ops.activation import relu, relu_backward
from striate.ops.convolution import conv2d
from striate.ops.dense import linear
from striate.ops.max_pooling import max_pool2d, max_pool2d_backward
from striate.ops.true_convolution import correlate2d
from striate.work._scene import Scene, difference
from striate.work.kernels import kernel
from striate.work.measurement import Finding, Measurement, counted, equal, unequal, value_text, valued

__all__ = ["edge_kernels", "max_pool_switch", "nonlinearity", "relu_gate"]


def nonlinearity(scene: Scene) -> Finding:
    """Try the exclusive or, and two layers on the picture, with an activation and without."""
    generator = scene.generator("two layers")
    x = scene.pixels
    first, second = generator.normal(size=(64, scene.side)), generator.normal(size=(10, 64))
    merged = difference(linear(linear(x, first), second), linear(x, second @ first))
    activated = difference(linear(relu(linear(x, first)), second), linear(x, second @ first))
    corners, wanted = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])
    plane = np.column_stack([corners, np.ones(4)])
    best = plane @ np.linalg.lstsq(plane, wanted, rcond=None)[0]
    hidden = relu(linear(corners, [[1.0, 1], [1, 1]], [0.0, -1]))
    solved = linear(hidden, [[1.0, -2]])[:, 0]
    errors = float(np.abs(best - wanted).max()), float(np.abs(solved - wanted).max())
    return Finding(
        method="Dense layers on the rows of the picture against their product; exclusive or of two bits.",
        rows=(
            equal("two layers against one with their product", merged),
            unequal("the same with a ReLU between them", activated),
            valued("exclusive or: error of the best linear layer", *errors[:1], least=0.4),
            valued("exclusive or: error of two ReLU units", *errors[1:], most=0),
        ),
        verdict=f"Without an activation two layers are one, to {value_text(merged)}. The best linear answer to the "
        f"exclusive or is off by {errors[0]:.2g}; relu(a + b) - 2 relu(a + b - 1) by {errors[1]:.2g}.",
    )


def relu_gate(scene: Scene) -> Finding:
    """Send values forward through a ReLU and a gradient back."""
    weights = scene.kernel(3)
    x = conv2d(scene.batch, (weights - weights.mean())[None, None])
    gradient = scene.generator("gradient").normal(size=x.shape)
    back = relu_backward(gradient, x)
    silent = float(np.mean(relu(x) == 0))
    through = difference(back[x > 0], gradient[x > 0]) if (x > 0).any() else 0.0
    stopped = float(np.abs(back[x <= 0]).max()) if (x <= 0).any() else 0.0
    return Finding(
        method="A random 3 x 3 kernel of sum 0 on the picture, ReLU, and a random gradient back.",
        rows=(
            unequal("outputs that are 0", silent),
            Measurement(what="gradient where the input is positive, against above", values=(through,), most=0),
            valued("largest gradient where it is not", stopped, least=0, most=0),
        ),
        verdict=f"{value_text(silent)} of the outputs are 0. Where the input was positive the gradient passes "
        "unchanged, elsewhere none of it.",
    )


def max_pool_switch(scene: Scene) -> Finding:
    """Send a gradient back through max pooling."""
    side = scene.side // 2 * 2
    x = scene.batch[..., :side, :side]
    pooled, switches = max_pool2d(x, 2, return_switches=True)
    gradient = scene.generator("gradient").normal(size=pooled.shape)
    back = max_pool2d_backward(gradient, x, 2)
    windows = back[0, 0].reshape(side // 2, 2, side // 2, 2).transpose(0, 2, 1, 3).reshape(-1, 4)
    reached = (windows != 0).sum(axis=1)
    share = float(np.mean(back != 0))
    winners = back.reshape(-1)[np.asarray(switches).reshape(-1)]
    error = difference(winners, gradient.reshape(-1))
    return Finding(
        method="2 x 2 max pooling of the picture, and a random gradient back.",
        rows=(
            Measurement(what="pixels that get a gradient, of all", values=(share,), most=0.25),
            counted("pixels that get one in a window: fewest", float(reached.min()), least=1, most=1),
            counted("pixels that get one in a window: most", float(reached.max()), least=1, most=1),
            Measurement(what="gradient of the winners against the one from above", values=(error,), most=0),
        ),
        verdict=f"The largest pixel of each window gets all of the gradient, {value_text(share)} of the pixels in "
        "all; the others get none.",
    )


def edge_kernels(scene: Scene) -> Finding:
    """Lay a kernel for vertical edges and the same turned on a vertical boundary, at several places."""
    vertical, horizontal = kernel("vertical-edge").array(), np.rot90(kernel("vertical-edge").array(), -1)
    columns = (1, 2, 3, 4)
    answers: list[float] = []
    elsewhere: list[float] = []
    turned: list[float] = []
    for column in columns:
        image = np.zeros((6, 8))
        image[:, : column + 1] = 10
        response = correlate2d(image, vertical)
        on_edge = np.zeros(response.shape, dtype=bool)
        on_edge[:, column - 1 : column + 1] = True
        answers.append(float(response[on_edge].min()))
        elsewhere.append(float(np.abs(response[~on_edge]).max()))
        turned.append(float(np.abs(correlate2d(image, horizontal)).max()))
    return Finding(
        method="6 x 8 pixels, 10 to the left of a boundary and 0 to the right; the boundary at four places.",
        rows=(
            valued("vertical-edge on the boundary", *answers, least=30, most=30),
            valued("vertical-edge elsewhere, largest", *elsewhere, least=0, most=0),
            valued("turned by 90 degrees, largest anywhere", *turned, least=0, most=0),
        ),
        columns=tuple(f"column {column}" for column in columns),
        verdict=f"One kernel answers {answers[0]:g} wherever its edge lies, and nowhere else; the same kernel turned "
        f"answers {turned[0]:g}: another direction needs another kernel.",
    )
