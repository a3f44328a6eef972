import pytest
import torch

from striate.graph import Constant, Opaque
from striate.ops.combination import Add, Concatenate, Divide, Multiply, ScaledAdd, Subtract
from striate.ops.elementwise import Abs, Exp, Log, Pow, Reciprocal, Rsqrt, Sqrt
from striate.ops.matmul import Matmul

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
    (lambda x: torch.add(x, x, alpha=2), ScaledAdd(2.0)),
    (lambda x: x.sub(x * 2, alpha=0.5), ScaledAdd(-0.5)),
    (lambda x: torch.rsub(x, 1, alpha=3), ScaledAdd(-3.0)),
    (lambda x: (x * 1).add_(x, alpha=-1), ScaledAdd(-1.0)),
    (lambda x: x**3, Pow(3.0)),
    (lambda x: x.abs() ** 0.5, Pow(0.5)),
    (lambda x: torch.pow(x, -2), Pow(-2.0)),
    (lambda x: (x * 1).pow_(4), Pow(4.0)),
    (lambda x: x.exp(), Exp()),
    (lambda x: torch.exp(x), Exp()),
    (lambda x: torch.exp_(x * 1), Exp()),
    (lambda x: (x * x + 1).log(), Log()),
    (lambda x: (x * x + 1).sqrt(), Sqrt()),
    (lambda x: torch.rsqrt(x * x + 1), Rsqrt()),
    (lambda x: (x * x + 1).sqrt_(), Sqrt()),
    (lambda x: x.abs(), Abs()),
    (abs, Abs()),
    (lambda x: torch.absolute(x), Abs()),
    (lambda x: (x * x + 1).reciprocal(), Reciprocal()),
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
        lambda x: torch.div(x, 2, rounding_mode="floor"),
        lambda x: 2**x,
        lambda x: x.abs() ** x,
        lambda x: torch.complex(x, x).abs(),
        lambda x: x.expm1(),
    ],
)
def test_what_no_operation_describes_stays_opaque(captured, images, function):
    assert isinstance(captured(function, images).outputs[0].op, Opaque)
