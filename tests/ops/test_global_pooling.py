from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import UsageError
from striate.ops import global_pooling
from striate.ops.global_pooling import global_avg_pool2d, global_avg_pool2d_backward, global_max_pool2d


@pytest.mark.parametrize("kind", ["avg", "max"])
def test_it_is_pytorchs_adaptive_pooling_to_one(random, finite_difference, assert_close_to_differences, kind):
    forward = getattr(global_pooling, f"global_{kind}_pool2d")
    backward = getattr(global_pooling, f"global_{kind}_pool2d_backward")
    x = random.permutation(2 * 3 * 5 * 7).reshape(2, 3, 5, 7) / 10
    tensor = torch.tensor(x, requires_grad=True)
    expected = getattr(F, f"adaptive_{kind}_pool2d")(tensor, 1)
    grad_output = random.normal(size=(2, 3, 1, 1))
    expected.backward(torch.tensor(grad_output))
    assert np.abs(forward(x) - expected.detach().numpy()).max() < 1e-12
    assert np.abs(backward(grad_output, x) - tensor.grad.numpy()).max() < 1e-10
    assert_close_to_differences(backward(grad_output, x), finite_difference(forward, x, grad_output))
    assert forward(x.astype(np.float32)).dtype == np.float32


def test_inputs_of_the_dense_layer_after_googlenet():
    # The course text 001: 50,176 inputs after flattening 1,024 maps of 7 x 7, and 1,024 after global pooling.
    maps = np.zeros((1, 1024, 7, 7))
    assert (math.prod(maps.shape), global_avg_pool2d(maps).size) == (50_176, 1_024)


def test_errors():
    with pytest.raises(UsageError, match="global_avg_pool2d: `x` must have 4 axes"):
        global_avg_pool2d(np.zeros((3, 4, 4)))
    with pytest.raises(UsageError, match="`x` must have at least one pixel"):
        global_max_pool2d(np.zeros((1, 1, 0, 0)))
    with pytest.raises(UsageError, match="global_avg_pool2d_backward: `grad_output` must have the output's shape"):
        global_avg_pool2d_backward(np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 4, 4)))
