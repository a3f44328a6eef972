import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.graph import Opaque, capture
from striate.graph.moves import Moves
from striate.graph.placing import IndexPut
from striate.ops.activation import Identity
from striate.ops.reshaping import ChannelShuffle, Flatten, Permute, Reshape
from striate.ops.slicing import Pad, Slice

NONE = (0, 0)
CASES = [
    (nn.Flatten(), Flatten(1, 3)),
    (lambda x: x.flatten(1), Flatten(1, 3)),
    (lambda x: torch.flatten(x, 2, 3), Flatten(2, 3)),
    (lambda x: x.flatten(), Flatten(0, 3)),
    (lambda x: x.view(x.size(0), -1), Flatten(1, 3)),
    (lambda x: x.reshape(2, -1), Flatten(1, 3)),
    (lambda x: x.reshape((2, 4, 42)), Flatten(2, 3)),
    (lambda x: x.reshape(2, 2, 2, 6, 7), Reshape((2, 2, 2, 6, 7))),
    (lambda x: x.unsqueeze(1), Reshape((2, 1, 4, 6, 7))),
    (lambda x: x[:, :1].squeeze(1), Flatten(1, 2)),
    (nn.Unflatten(1, (2, 2)), Reshape((2, 2, 2, 6, 7))),
    (lambda x: x.permute(0, 2, 3, 1), Permute((0, 2, 3, 1))),
    (lambda x: torch.permute(x, (0, -1, 1, 2)), Permute((0, 3, 1, 2))),
    (lambda x: x.transpose(-1, 1), Permute((0, 3, 2, 1))),
    (lambda x: x[0, 0].t(), Permute((1, 0))),
    (lambda x: x[0, 0].T, Permute((1, 0))),
    (lambda x: x.mT, Permute((0, 1, 3, 2))),
    (lambda x: x[:, 1:3], Slice(1, 1, 3)),
    (lambda x: x[..., -3:], Slice(3, 4, 7)),
    (lambda x: x[:, :, ::2, 1::2], Moves((Slice(2, 0, 6, 2), Slice(3, 1, 7, 2)))),
    (lambda x: x[:, 0], Moves((Slice(1, 0, 1), Reshape((2, 6, 7))))),
    (lambda x: x[:, None], Reshape((2, 1, 4, 6, 7))),
    (lambda x: x[:, -1, ..., None], Moves((Slice(1, 3, 4), Reshape((2, 6, 7, 1))))),
    (lambda x: x[:], Identity()),
    (lambda x: x.select(1, 2), Moves((Slice(1, 2, 3), Reshape((2, 6, 7))))),
    (lambda x: x.narrow(2, 1, 3), Slice(2, 1, 4)),
    (lambda x: x.chunk(2, dim=1)[1], Slice(1, 2, 4)),
    (lambda x: torch.split(x, 3, 2)[1], Slice(2, 3, 6)),
    (lambda x: x.split([1, 3], dim=1)[0], Slice(1, 0, 1)),
    (lambda x: x.unbind(1)[2], Moves((Slice(1, 2, 3), Reshape((2, 6, 7))))),
    (nn.ChannelShuffle(2), ChannelShuffle(2)),
    (lambda x: F.pad(x, (1, 2, 0, 1)), Pad((NONE, NONE, (0, 1), (1, 2)))),
    (nn.ConstantPad2d(1, -1.0), Pad((NONE, NONE, (1, 1), (1, 1)), "constant", -1.0)),
    (nn.ReflectionPad2d(2), Pad((NONE, NONE, (2, 2), (2, 2)), "reflect")),
    (nn.ReplicationPad2d((1, 0, 2, 0)), Pad((NONE, NONE, (2, 0), (1, 0)), "replicate")),
    (nn.CircularPad2d(1), Pad((NONE, NONE, (1, 1), (1, 1)), "circular")),
]


@pytest.mark.parametrize(("function", "op"), CASES)
def test_each_movement_becomes_its_operation(one_node, images, function, op):
    assert one_node(function, images).op == op


def test_pixel_shuffle_is_three_moves(one_node, images):
    assert len(one_node(nn.PixelShuffle(2), images).op.steps) == 3


def test_index_put_fills_a_weight(one_node, images):
    def network(x):
        indices = (torch.tensor([0, 2]), torch.tensor([1, 1]))
        return x.new_zeros(3, 2, 7).index_put(indices, x[0, 0, :2])

    assert one_node(network, images).op == IndexPut()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[:, [0, 2]],
        lambda x: x[x[:, 0, 0, 0] < 100],
        lambda x: x[:, torch.tensor([1, 1])],
        lambda x: F.pad(x, (-1, 0)),
        lambda x: x.view(torch.int64),
        lambda x: x.diagonal(0, 2, 3),
    ],
)
def test_what_no_operation_describes_stays_opaque(network, images, function):
    assert any(isinstance(node.op, Opaque) for node in capture(network(function), images).nodes)


def test_an_empty_slice(network, images):
    node = capture(network(lambda x: x[:, 5:2]), images).outputs[0]
    assert (node.op, node.output_shape) == (Slice(1, 4, 4), (2, 0, 6, 7))
