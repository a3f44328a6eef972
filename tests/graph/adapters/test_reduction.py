import pytest
import torch

from striate.ops.comparison import Maximum, Minimum
from striate.ops.reduction import Amax, Amin, Mean, Prod, Total
from striate.ops.variance import Std, Var

ALL = (0, 1, 2, 3)
CASES = [
    (lambda x: x.mean((2, 3)), Mean((2, 3), False)),
    (lambda x: x.mean(dim=[-1, -2], keepdim=True), Mean((2, 3), True)),
    (lambda x: torch.mean(x), Mean(ALL, False)),
    (lambda x: x.sum(1), Total((1,), False)),
    (lambda x: x.sum(), Total(ALL, False)),
    (lambda x: x.sum(-1, keepdim=True), Total((3,), True)),
    (lambda x: x.amax(dim=(2, 3)), Amax((2, 3), False)),
    (lambda x: x.amin(1, keepdim=True), Amin((1,), True)),
    (lambda x: x.max(), Amax(ALL, False)),
    (lambda x: torch.min(x), Amin(ALL, False)),
    (lambda x: x.max(1, keepdim=True).values, Amax((1,), True)),
    (lambda x: torch.min(x, dim=2)[0], Amin((2,), False)),
    (lambda x: torch.max(x, x * 2), Maximum()),
    (lambda x: x.min(x * 2), Minimum()),
    (lambda x: x.prod(1), Prod((1,), False)),
    (lambda x: torch.prod(x[:, :2]), Prod(ALL, False)),
    (lambda x: x.var(1), Var((1,), False, 1)),
    (lambda x: x.var((2, 3), unbiased=False, keepdim=True), Var((2, 3), True, 0)),
    (lambda x: torch.var(x, dim=1, correction=0), Var((1,), False, 0)),
    (lambda x: x.std(), Std(ALL, False, 1)),
    (lambda x: x.std(False), Std(ALL, False, 0)),
    (lambda x: torch.std(x, (1, 2), True), Std((1, 2), False, 1)),
    (lambda x: x.std(-1, correction=2, keepdim=True), Std((3,), True, 2)),
]


@pytest.mark.parametrize(("function", "op"), CASES)
def test_each_form_of_a_reduction_becomes_its_operation(one_node, images, function, op):
    assert one_node(function, images).op == op


@pytest.mark.parametrize(("function", "kind"), [(torch.var_mean, Var), (torch.std_mean, Std)])
def test_two_outputs_of_one_call(captured, assert_replays, images, function, kind):
    graph = captured(lambda x: function(x, dim=(2, 3), keepdim=True, correction=0), images)
    assert_replays(graph)
    assert [node.op for node in graph.outputs] == [kind((2, 3), True, 0), Mean((2, 3), True)]


def test_a_normalisation_written_by_hand_is_known(captured, assert_replays, images):
    def normalize(x):
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
        return (x - mean) * torch.rsqrt(var + 1e-5)

    graph = captured(normalize, images)
    assert graph.opaque == ()
    assert_replays(graph)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean(1, dtype=torch.float32),
        lambda x: x.logsumexp(1),
        lambda x: x.median(),
        lambda x: x.norm(),
        lambda x: x[:, :1].var(1, unbiased=False) * 0 + x[:1, :1, :1, :1].var(correction=-1),
    ],
)
def test_what_no_operation_describes_stays_opaque(captured, images, function):
    assert captured(function, images).opaque


def test_the_positions_of_the_largest_are_opaque(captured, images):
    values, positions = captured(lambda x: x.max(1), images).outputs
    assert isinstance(values.op, Amax)
    assert (positions.name, positions.op.text) == ("max[1]", "max(1)[1]")
