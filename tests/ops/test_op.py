"""The base of the operations: what an elementwise one gets for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from striate.errors import UsageError
from striate.ops.op import Elementwise, Gradients
from striate.ops.working import Working


class Square(Elementwise):
    """y = x x."""

    name = "square"
    equation = "y = x x"
    derivative = "dy/dx = 2 x"

    def value(self, x):
        return x * x

    def slope(self, x):
        return 2 * x

    def working(self, position, *inputs, **parameters):
        return Working("square", self.equation, (), float(inputs[0][position] ** 2))


def test_an_elementwise_operation():
    x = np.array([[1.0, -2.0]])
    assert Square().output_shape((3, 4)) == (3, 4)
    assert Square().forward(x).tolist() == [[1.0, 4.0]]
    gradients = Square().backward(np.array([[1.0, 10.0]]), x)
    assert isinstance(gradients, Gradients)
    assert gradients.inputs[0].tolist() == [[2.0, -40.0]]
    assert dict(gradients.parameters) == {}
    assert (Square().macs((3, 4)), Square().flops((3, 4))) == (0, 12)
    assert Square().reads(np.array([2, 5]), axis=0, size=9).tolist() == [2, 5]


def test_a_gradient_that_is_not_there():
    with pytest.raises(
        UsageError, match="square: `of` must be something this operation has a gradient for, got 'bias'"
    ):
        Square().gradient_working("bias", (0,), np.zeros(1), np.zeros(1))
