import pytest
import torch

from striate.graph import Opaque, capture
from striate.ops.comparison import Clamp, Maximum, Minimum, Where

MASK = torch.arange(42).reshape(6, 7) % 3 == 0
CASES = [
    (lambda x: torch.maximum(x, x * 2), Maximum()),
    (lambda x: x.maximum(x[:, :1]), Maximum()),
    (lambda x: torch.minimum(x, -x), Minimum()),
    (lambda x: x.clamp(min=0), Clamp(0.0, None)),
    (lambda x: torch.clamp_min(x, 0), Clamp(0.0, None)),
    (lambda x: x.clamp_max(0.5), Clamp(None, 0.5)),
    (lambda x: x.clamp(max=1), Clamp(None, 1.0)),
    (lambda x: x.clamp(-1, 2), Clamp(-1.0, 2.0)),
    (lambda x: torch.clip(x, 0, 6), Clamp(0.0, 6.0)),
    (lambda x: (x * 1).clamp_(min=-0.5), Clamp(-0.5, None)),
    (lambda x: torch.where(MASK, x, x * 2), Where()),
    (lambda x: torch.where(MASK, x, 0.0), Where()),
    (lambda x: torch.where(MASK, 1.0, x), Where()),
    (lambda x: torch.where(condition=MASK, input=x, other=-x), Where()),
    (lambda x: x.where(MASK, x * 2), Where()),
    (lambda x: x.where(condition=MASK, other=x[0, 0, 0, 0]), Where()),
    (lambda x: x.masked_fill(MASK, -1.0), Where()),
    (lambda x: (x * 1).masked_fill_(MASK, 0), Where()),
]


@pytest.mark.parametrize(("function", "op"), CASES)
def test_each_form_of_a_choice_becomes_its_operation(one_node, images, function, op):
    assert one_node(function, images).op == op


def test_gradients_agree_at_ties_and_on_bounds(one_node):
    x = torch.tensor([[-1.0, 0.0, 0.0, 1.0, 2.0]], dtype=torch.float64)
    other = torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    for function in (
        lambda x, y: torch.maximum(x, y),
        lambda x, y: torch.minimum(x, y),
        lambda x, y: (x + y).clamp(0, 1),
        lambda x, y: (x * y).clamp(min=0),
    ):
        one_node(function, x, other)


def test_a_constant_condition_is_a_parameter(captured, images):
    node = captured(lambda x: torch.where(MASK, x, 0.0), images).outputs[0]
    assert node.parameters["condition"].kind == "constant"
    assert [source.call for source in node.inputs] == ["input", "constant"]


def test_a_condition_that_the_network_computes_is_a_node(captured, assert_replays, images):
    graph = captured(lambda x: torch.where(x > 0, x, 0.1 * x), images)
    assert_replays(graph)
    node = graph.outputs[0]
    assert node.computed["condition"].name == "gt"
    assert isinstance(node.computed["condition"].op, Opaque)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.clamp(min=torch.zeros_like(x)),
        lambda x: torch.where(x > 100)[0] + x.sum(),
        lambda x: torch.where(MASK, MASK, x),
        lambda x: torch.fmax(x, -x),
    ],
)
def test_what_no_operation_describes_stays_opaque(network, images, function):
    assert capture(network(function), images).opaque
