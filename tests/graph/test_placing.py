import numpy as np
import pytest
import torch

from striate.errors import UsageError
from striate.graph.placing import IndexPut

GENERATOR = np.random.default_rng(0)
ROWS, COLUMNS = np.array([0, 2, 2]), np.array([1, 0, 3])
CASES = [
    (GENERATOR.normal(size=(3, 4)), GENERATOR.normal(size=3), (ROWS, COLUMNS)),
    (GENERATOR.normal(size=(3, 4, 2, 2)), GENERATOR.normal(size=(3, 2, 2)), (ROWS, COLUMNS)),
    (GENERATOR.normal(size=(3, 4)), GENERATOR.normal(size=(2, 4)), (np.array([2, 0]),)),
]


@pytest.mark.parametrize(("x", "values", "indices"), CASES)
def test_forward_and_backward_are_pytorchs(x, values, indices):
    a, b = torch.tensor(x, requires_grad=True), torch.tensor(values, requires_grad=True)
    expected = a.index_put(tuple(torch.tensor(i) for i in indices), b)
    op = IndexPut()
    assert op.output_shape(x.shape, values.shape, *(i.shape for i in indices)) == x.shape
    assert np.array_equal(op.forward(x, values, *indices), expected.detach().numpy())
    grad_output = GENERATOR.normal(size=x.shape)
    gradients = op.backward(grad_output, x, values, *indices).inputs
    for found, right in zip(gradients, torch.autograd.grad(expected, (a, b), torch.tensor(grad_output)), strict=False):
        assert np.allclose(found, right.numpy(), atol=1e-14)


def test_working_says_where_a_number_came_from():
    x, values, indices = CASES[0]
    assert "y[2, 0] is values[1]" in str(IndexPut().working((2, 0), x, values, *indices))
    assert "y[1, 1] is x[1, 1]" in str(IndexPut().working((1, 1), x, values, *indices))
    assert IndexPut().working((2, 3), x, values, *indices).value == values[2]


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"index_put: `values` must fit the places that the indices name, \(3,\)"):
        IndexPut().output_shape((3, 4), (2,), (3,), (3,))


def test_nothing_is_known_of_neighbourhoods():
    assert IndexPut().reads(np.array([1]), axis=0, size=4).tolist() == [0, 1, 2, 3]
