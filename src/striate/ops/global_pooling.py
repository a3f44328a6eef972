r"""Global pooling: one number for each channel, the mean or the largest value of the whole map.

$$ y_c = \frac{1}{H W} \sum_{i, j} x_{cij}, \qquad \frac{\partial L}{\partial x_{cij}} = \frac{1}{H W}\,
   \frac{\partial L}{\partial y_c} $$

It is adaptive pooling to an output of size 1. In place of flattening it makes a network take images of any size: after
GoogLeNet's last block, 1,024 maps of 7 x 7, the dense layer gets 1,024 inputs and not 50,176.
"""

from __future__ import annotations

from typing import Any

from striate.ops._adaptive import AdaptivePool
from striate.ops._calls import run, run_backward
from striate.ops._forms import check_axes, floats
from striate.ops.adaptive_pooling import AdaptiveAvgPool, AdaptiveMaxPool
from striate.ops.op import Array

__all__ = ["global_avg_pool2d", "global_avg_pool2d_backward", "global_max_pool2d", "global_max_pool2d_backward"]


def global_avg_pool2d(x: Any) -> Array:
    """Average each map to one number.

    Args:
        x: (N, C, H, W).

    Returns:
        (N, C, 1, 1).

    Raises:
        UsageError: `x` has not 4 axes, or no pixels.

    Source: Lin, Chen & Yan 2014, "Network in network", ICLR, section 3.2.

    Example:
        >>> global_avg_pool2d([[[[1, 2], [3, 6]], [[0, 0], [0, 4]]]]).tolist()
        [[[[3.0]], [[1.0]]]]
    """
    return _pool(AdaptiveAvgPool, "global_avg_pool2d", x)


def global_max_pool2d(x: Any) -> Array:
    """Take the largest value of each map; shapes as in `global_avg_pool2d`.

    Source: Oquab, Bottou, Laptev & Sivic 2015, "Is object localization for free?", CVPR, section 3.1.

    Example:
        >>> global_max_pool2d([[[[1, 2], [3, 6]], [[0, 0], [0, 4]]]]).tolist()
        [[[[6.0]], [[4.0]]]]
    """
    return _pool(AdaptiveMaxPool, "global_max_pool2d", x)


def global_avg_pool2d_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `global_avg_pool2d`: the same share for every pixel of a map.

    Example:
        >>> global_avg_pool2d_backward([[[[8.0]]]], [[[[1, 2], [3, 6]]]]).tolist()
        [[[[2.0, 2.0], [2.0, 2.0]]]]
    """
    return _pool_backward(AdaptiveAvgPool, "global_avg_pool2d_backward", grad_output, x)


def global_max_pool2d_backward(grad_output: Any, x: Any) -> Array:
    """Return dL/dx of `global_max_pool2d`: all of it to the largest pixel of each map.

    Example:
        >>> global_max_pool2d_backward([[[[8.0]]]], [[[[1, 2], [3, 6]]]]).tolist()
        [[[[0.0, 0.0], [0.0, 8.0]]]]
    """
    return _pool_backward(AdaptiveMaxPool, "global_max_pool2d_backward", grad_output, x)


def _pool(kind: type[AdaptivePool], function: str, x: Any) -> Array:
    (x,) = floats(function, x=x)
    check_axes(function, "x", x.shape, dims=2)
    return run(kind((1, 1)), x)


def _pool_backward(kind: type[AdaptivePool], function: str, grad_output: Any, x: Any) -> Array:
    (x,) = floats(function, x=x)
    check_axes(function, "x", x.shape, dims=2)
    return run_backward(kind((1, 1)), function, grad_output, x).inputs[0]
