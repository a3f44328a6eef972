import pytest
import torch

from striate.graph import Opaque
from striate.graph.moves import Moves
from striate.ops.flipping import Flip, Roll
from striate.ops.stacking import Expand, Repeat, Stack

CASES = [
    (lambda x: torch.stack([x, x * 2]), Stack(0)),
    (lambda x: torch.stack((x, x), dim=-1), Stack(4)),
    (lambda x: x.expand(3, 2, 4, 6, 7), Expand((3, 2, 4, 6, 7))),
    (lambda x: x[:, :1].expand(-1, 5, -1, -1), Expand((2, 5, 6, 7))),
    (lambda x: x.mean((2, 3), keepdim=True).expand_as(x), Expand((2, 4, 6, 7))),
    (lambda x: torch.broadcast_to(x[:, :1], (2, 3, 6, 7)), Expand((2, 3, 6, 7))),
    (lambda x: x.repeat(1, 2, 1, 3), Repeat((1, 2, 1, 3))),
    (lambda x: x.repeat((2, 1, 1, 1, 1)), Repeat((2, 1, 1, 1, 1))),
    (lambda x: x.tile(2), Repeat((1, 1, 1, 2))),
    (lambda x: torch.tile(x, dims=(2, 1, 1, 1, 2)), Repeat((2, 1, 1, 1, 2))),
    (lambda x: x.flip(1), Flip((1,))),
    (lambda x: x.flip(-1, 2), Flip((2, 3))),
    (lambda x: torch.flip(x, dims=[3]), Flip((3,))),
    (lambda x: torch.flip(x, (2, 3)), Flip((2, 3))),
    (lambda x: x.fliplr(), Flip((1,))),
    (lambda x: torch.flipud(x), Flip((0,))),
    (lambda x: x.roll(1), Roll((1,), None)),
    (lambda x: torch.roll(x, 2, 1), Roll((2,), (1,))),
    (lambda x: torch.roll(x, shifts=(-1, 2), dims=(-1, 2)), Roll((-1, 2), (3, 2))),
]


@pytest.mark.parametrize(("function", "op"), CASES)
def test_each_form_of_copying_and_turning_becomes_its_operation(one_node, images, function, op):
    assert one_node(function, images).op == op


def test_each_output_of_broadcast_tensors_is_a_node(captured, assert_replays, images):
    graph = captured(lambda x: torch.broadcast_tensors(x[:, :1], x[:1]), images)
    assert_replays(graph)
    assert [node.op for node in graph.outputs] == [Expand((2, 4, 6, 7))] * 2


@pytest.mark.parametrize("dim", [1, -1])
def test_repeat_interleave_is_three_moves(one_node, images, dim):
    op = one_node(lambda x: x.repeat_interleave(3, dim), images).op
    assert isinstance(op, Moves)
    assert [type(step).__name__ for step in op.steps] == ["Reshape", "Expand", "Reshape"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.repeat_interleave(2),
        lambda x: x.repeat_interleave(torch.tensor([1, 2, 0, 1]), 1),
        lambda x: x.rot90(1, (2, 3)),
        lambda x: torch.hstack([x, x]),
    ],
)
def test_what_no_operation_describes_stays_opaque(captured, images, function):
    assert isinstance(captured(function, images).outputs[0].op, Opaque)
