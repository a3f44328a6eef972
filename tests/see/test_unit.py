import pytest
import torch
from torch import nn

from striate.errors import UsageError
from striate.graph import capture
from striate.see.unit import Unit, locate, parse_unit, unit_node


@pytest.mark.parametrize(
    ("of", "unit"),
    [
        (None, Unit("")),
        (4, Unit("", 4)),
        ("conv[3]", Unit("conv", 3)),
        ("a.b.1[3, 0 ,2]", Unit("a.b.1", 3, (0, 2))),
        ("chunk[1][5]", Unit("chunk[1]", 5)),
        (Unit("x", 1), Unit("x", 1)),
    ],
)
def test_units_as_they_are_written(of, unit):
    assert parse_unit(of) == unit


@pytest.mark.parametrize("of", ["conv", "[3]", "conv[]", "conv[-1]", "conv[1", 2.5, True])
def test_what_is_no_unit(of):
    with pytest.raises(UsageError, match=r"must name a unit, got .* Write conv2\[17\]"):
        parse_unit(of)


def test_names():
    assert str(Unit("")) == "the predicted class"
    assert str(Unit("", 2)) == "class 2"
    assert str(Unit("conv", 3, (0, 2))) == "conv[3,0,2]"


def test_the_strongest_place_of_each_image():
    net = nn.Conv2d(1, 2, 1, bias=False)
    nn.init.ones_(net.weight)
    x = torch.zeros(2, 1, 3, 4)
    x[0, 0, 1, 2] = 5.0
    x[1, 0, 2, 3] = 7.0
    graph = capture(net, x, keep_values=True)
    node = graph.outputs[0]
    found = locate(graph, Unit(node.name, 1), {node.index: graph.value(node)})
    assert found.names() == (f"{node.name}[1,1,2]", f"{node.name}[1,2,3]")
    assert found.score(graph.value(node)).tolist() == [5.0, 7.0]
    assert found.repeated(2).index.tolist() == [[1, 1, 2], [1, 1, 2], [1, 2, 3], [1, 2, 3]]


def test_places_outside_the_layer():
    graph = capture(nn.Conv2d(1, 2, 1), torch.zeros(1, 1, 3, 4), keep_values=True)
    node = graph.outputs[0]
    values = {node.index: graph.value(node)}
    with pytest.raises(UsageError, match="channel from 0 to 1, got 2"):
        locate(graph, Unit(node.name, 2), values)
    with pytest.raises(UsageError, match=r"position in .*, up to \[1,2,3\], got .*\[1,3,0\]"):
        locate(graph, Unit(node.name, 1, (3, 0)), values)


def test_what_has_no_classes():
    graph = capture(nn.Conv2d(1, 2, 1), torch.zeros(1, 1, 3, 4))
    with pytest.raises(UsageError, match=r"because the network returns \(1, 2, 3, 4\)"):
        unit_node(graph, Unit(""))
    with pytest.raises(UsageError, match="depends on the input, got `input`"):
        unit_node(graph, Unit("input", 0))
