import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.ops.dense import Linear


@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(one_node, shape, bias):
    layer = nn.Linear(7, 4, bias=bias)
    node = one_node(layer, torch.randn(*shape, dtype=torch.float64))
    assert node.op == Linear()
    assert {key: parameter.tensor for key, parameter in node.parameters.items()} == dict(layer.named_parameters())


def test_a_weight_that_was_computed_is_a_node(captured, assert_replays, images):
    class Standardised(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight - self.weight.mean(), self.bias)

    graph = captured(Standardised(7, 3), images)
    assert_replays(graph)
    node = graph.node("layer.linear")
    assert list(node.parameters) == ["bias"]
    assert node.computed["weight"].name == "layer.sub"
    assert [p.name for p in graph.parameters] == ["layer.weight", "layer.bias"]
    assert graph.node("layer.weight").call == "parameter"
