import pytest
import torch

from striate.graph import Constant, Opaque
from striate.ops.combination import Add, Concatenate, Divide, Multiply, Subtract
from striate.ops.matmul import Matmul
from striate.ops.reduction import Amax, Mean, Total

CASES = [
    (lambda x: x + x, Add()),
    (lambda x: torch.add(x, x), Add()),
    (lambda x: 1 + x, Add()),
    (lambda x: sum([x, x]), Add()),
    (lambda x: x - x[:, :1], Subtract()),
    (lambda x: 1 - x, Subtract()),
    (lambda x: x * 0.5, Multiply()),
    (lambda x: 2 * x, Multiply()),
    (lambda x: -x, Multiply()),
    (lambda x: x.square(), Multiply()),
    (lambda x: x**2, Multiply()),
    (lambda x: x / 3, Divide()),
    (lambda x: 2 / (x * x + 1), Divide()),
    (lambda x: x.div(x * x + 1), Divide()),
    (lambda x: torch.cat([x, x * 2], 1), Concatenate(1)),
    (lambda x: torch.cat((x, x), dim=-1), Concatenate(3)),
    (lambda x: torch.concat([x, x], axis=0), Concatenate(0)),
    (lambda x: x @ x.transpose(2, 3), Matmul()),
    (lambda x: torch.bmm(x[:, 0], x[:, 1].mT), Matmul()),
    (lambda x: x.mean((2, 3)), Mean((2, 3), False)),
    (lambda x: x.mean(dim=[-1, -2], keepdim=True), Mean((2, 3), True)),
    (lambda x: torch.mean(x), Mean((0, 1, 2, 3), False)),
    (lambda x: x.sum(1), Total((1,), False)),
    (lambda x: x.sum(), Total((0, 1, 2, 3), False)),
    (lambda x: x.amax(dim=(2, 3)), Amax((2, 3), False)),
    (lambda x: x.max(), Amax((0, 1, 2, 3), False)),
    (lambda x: x.max(1, keepdim=True).values, Amax((1,), True)),
]


@pytest.mark.parametrize(("function", "op"), CASES)
def test_each_form_of_arithmetic_becomes_its_operation(one_node, images, function, op):
    assert one_node(function, images).op == op


def test_in_place_forms_are_marked(captured, assert_replays, images):
    def network(x):
        y = x * 1
        y += x
        y *= 2
        y -= 1
        return y.div_(4)

    graph = captured(network, images)
    assert_replays(graph)
    calls = [(node.call, node.in_place) for node in graph.nodes if node.call not in ("input", "constant")]
    assert calls[:5] == [("mul", False), ("add", True), ("mul", True), ("sub", True), ("div", True)]


def test_a_number_becomes_a_constant(captured, images):
    node = captured(lambda x: x * 0.25, images).outputs[0]
    assert isinstance(node.inputs[1].op, Constant)
    assert node.inputs[1].parameters["value"].tensor.item() == 0.25


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.add(x, x, alpha=2),
        lambda x: torch.div(x, 2, rounding_mode="floor"),
        lambda x: x**3,
        lambda x: x.mean(1, dtype=torch.float32),
        lambda x: torch.max(x, x * 2),
        lambda x: x.exp(),
        lambda x: x.var(1),
    ],
)
def test_what_no_operation_describes_stays_opaque(captured, images, function):
    assert isinstance(captured(function, images).outputs[0].op, Opaque)


def test_the_positions_of_the_largest_are_opaque(captured, images):
    values, positions = captured(lambda x: x.max(1), images).outputs
    assert isinstance(values.op, Amax)
    assert (positions.name, positions.op.text) == ("max[1]", "max(1)[1]")
