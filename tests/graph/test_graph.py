import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate import models
from striate.errors import UsageError
from striate.graph import capture


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        y = self.first(x)
        return self.second(y) + y + y


@pytest.fixture
def graph():
    return capture(Tied(), torch.ones(2, 4))


def test_node_finds_by_name_and_names_the_nearest(graph):
    assert graph.node("second").index == 2
    with pytest.raises(UsageError, match=r"must be one of the 5 nodes, got 'secnd'\. Did you mean `second`\?"):
        graph.node("secnd")


def test_users_are_those_that_read_a_node_each_once(graph):
    assert [node.name for node in graph.users(graph.node("first"))] == ["second", "add", "add:2"]
    assert graph.users(graph.outputs[0]) == ()


def test_tied_parameters_count_once(graph):
    assert [p.name for p in graph.parameters] == ["first.weight", "first.bias", "second.bias"]
    assert str(graph).splitlines()[-1] == "5 nodes, 24 parameters in 3 tensors"


def test_values_and_gradients_must_have_been_asked_for(graph):
    with pytest.raises(UsageError, match=r"Graph\.value: `first` must have been kept, and was not\. Use capture"):
        graph.value("first")
    with pytest.raises(UsageError, match=r"Graph\.gradient: `loss` must have been given to have gradients"):
        graph.gradient("first")


def test_values_and_gradients_go_by_node_name_or_parameter():
    graph = capture(Tied(), torch.ones(2, 4), keep_values=True, loss=lambda y: y.sum())
    node = graph.node("first")
    assert graph.value("first") is graph.value(node)
    assert graph.gradient("first") is graph.gradient(node)
    assert graph.gradient(graph.parameters[1]).shape == (4,)
    assert not graph.value(node).requires_grad


def test_the_table_shows_each_node_in_a_hundred_columns():
    lines = str(capture(models.create("lenet5"), torch.zeros(1, 1, 28, 28))).splitlines()
    assert lines[0].split() == ["#", "name", "call", "from", "output", "parameters"]
    assert lines[2].split() == ["1", "features.conv1", "conv2d", "0", *["1", "x", "6", "x", "24", "x", "24"], "156"]
    assert lines[-1] == "15 nodes, 44,426 parameters in 10 tensors"


@pytest.mark.parametrize("name", ["densenet121", "googlenet", "lenet5_1998"])
def test_the_table_of_a_large_network_fits_the_screen(name):
    size = 32 if name != "googlenet" else 64
    model = models.create(name, image_size=size)
    channels = models.info(name).input_size[0]
    lines = str(capture(model.eval(), torch.zeros(1, channels, size, size))).splitlines()
    assert max(len(line) for line in lines) <= 100
    assert len({line.split()[1] for line in lines[1:-1]}) == len(lines) - 2


def test_a_long_name_is_shortened_from_the_left_and_opaque_nodes_are_marked(network):
    deep = network(lambda x: x.tril() * 0.25)
    for index in range(8):
        inner, deep = deep, nn.Sequential()
        deep.add_module(f"a_rather_long_name_{index}", inner)
    lines = str(capture(deep, torch.zeros(1, 3, 4))).splitlines()
    assert max(len(line) for line in lines) <= 100
    assert lines[2].split()[1:4] == [
        "a7.a6.a5.a4.a3.a2.a1.a_rather_long_name_0.tril",
        "tril",
        "(opaque)",
    ]
    assert lines[3].endswith("0.25")
    assert lines[-1] == "1 of them opaque: operations that striate does not know"


def test_a_name_that_is_too_long_all_the_same_is_cut():
    model = nn.Sequential()
    model.add_module("x" * 90, nn.ReLU())
    row = str(capture(model, torch.zeros(1, 3, 4))).splitlines()[2]
    assert "xxx…" in row
    assert len(row) <= 100


def test_repr_is_short(graph):
    assert repr(graph) == "Graph(5 nodes, 3 parameters)"
    assert repr(graph.node("add")) == "Node(3, 'add', add(second, first) -> (2, 4))"
    assert repr(graph.parameters[0]) == "Parameter(name='first.weight', kind='parameter')"


def test_nodes_and_parameters_are_frozen(graph):
    with pytest.raises(AttributeError, match="cannot assign"):
        graph.nodes[0].name = "other"
    assert len({*graph.nodes}) == 5


def test_gradient_of_a_node_that_is_not_on_the_way_is_none():
    class Aside(nn.Module):
        def forward(self, x):
            F.relu(x)
            return x * 2

    graph = capture(Aside(), torch.ones(3), loss=lambda y: y.sum())
    assert graph.gradient("relu") is None
    assert graph.users(graph.node("relu")) == ()
