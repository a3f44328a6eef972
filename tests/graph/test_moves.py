import numpy as np
import pytest

from striate.errors import UsageError
from striate.graph.moves import Moves
from striate.ops.reshaping import Permute, Reshape
from striate.ops.slicing import Slice

X = np.arange(2 * 4 * 6 * 7, dtype=np.float64).reshape(2, 4, 6, 7)
EVERY_SECOND = Moves((Slice(2, 0, 6, 2), Slice(3, 1, 7, 2)))
PICKED = Moves((Slice(1, 2, 3), Reshape((2, 6, 7)), Permute((0, 2, 1))))


@pytest.mark.parametrize(("op", "expected"), [(EVERY_SECOND, X[:, :, ::2, 1::2]), (PICKED, X[:, 2].transpose(0, 2, 1))])
def test_forward_and_shape(op, expected):
    assert np.array_equal(op.forward(X), expected)
    assert op.output_shape(X.shape) == expected.shape


@pytest.mark.parametrize("op", [EVERY_SECOND, PICKED])
def test_backward_puts_each_gradient_where_its_value_came_from(op):
    grad_output = np.random.default_rng(0).normal(size=op.output_shape(X.shape))
    (gradient,) = op.backward(grad_output, X).inputs
    expected = np.zeros(X.size)
    expected[op.forward(X).ravel().astype(int)] = grad_output.ravel()
    assert np.array_equal(gradient, expected.reshape(X.shape))


@pytest.mark.parametrize("op", [EVERY_SECOND, PICKED])
def test_working_names_the_place(op):
    position = tuple(length - 1 for length in op.output_shape(X.shape))
    working = op.working(position, X)
    assert working.value == op.forward(X)[position]
    place = np.unravel_index(int(working.value), X.shape)
    assert f"x[{', '.join(str(i) for i in place)}]" in str(working)


def test_reads_through_slices_alone():
    assert EVERY_SECOND.reads(np.array([0, 2]), axis=0, size=6).tolist() == [0, 4]
    assert EVERY_SECOND.reads(np.array([0, 2]), axis=1, size=7).tolist() == [1, 5]
    assert PICKED.reads(np.array([0]), axis=0, size=7).tolist() == list(range(7))


def test_shapes_that_do_not_fit_are_refused_by_the_step():
    with pytest.raises(UsageError, match="slice: `stop` must lie within the 3 values of axis 2"):
        EVERY_SECOND.output_shape((1, 1, 3, 7))
