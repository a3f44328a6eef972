"""What capture sees: nodes, names, constants, calls that it does not know; and whether one is going on."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from striate.errors import UsageError
from striate.graph import Constant, Opaque, capture, is_capturing

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


# What is seen


def test_nodes_are_named_by_their_layer_and_stand_in_the_order_of_execution(model):
    graph = capture(model.eval(), X)
    assert [node.name for node in graph.nodes] == [
        "input",
        *(f"stage.{i}.{name}" for i in (0, 1) for name in ("conv", "bn", "relu", "add", "relu:2")),
        "max_pool2d", "flatten", "mean", "sub", "fc", "tanh", "fc:2", "scale", "mul", "drop",
    ]  # fmt: skip
    add = graph.node("stage.1.add")
    assert (add.call, add.module, add.output_shape, add.dtype) == ("add", "stage.1", (2, 3, 8, 8), torch.float32)
    assert [source.name for source in add.inputs] == ["stage.1.relu", "stage.0.relu:2"]
    assert graph.inputs == (graph.node("input"),)
    assert graph.outputs == (graph.node("drop"),)
    assert graph.opaque == ()


def test_parameters_are_the_networks_own_tensors_each_once(model):
    graph = capture(model, X)
    own = dict(model.named_parameters())
    assert {p.name: id(p.tensor) for p in graph.parameters} == {name: id(tensor) for name, tensor in own.items()}
    assert len(graph.parameters) == len(own)
    bn = graph.node("stage.0.bn")
    assert bn.parameters["running_mean"].tensor is model.stage[0].bn.running_mean
    assert graph.node("mean").parameters["value"].tensor is model.mean


class Layers(nn.Module):
    def __init__(self, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.body(x)


def test_names_of_layers_that_make_several_calls():
    class Swish(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    circular = nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular")
    graph = capture(Layers(body=nn.Sequential(circular, Swish(), nn.Identity(), nn.Flatten())), X)
    assert [node.name for node in graph.nodes] == [
        "input", "body.0.pad", "body.0", "body.1.sigmoid", "body.1.mul", "body.3",
    ]  # fmt: skip


def test_a_network_that_is_one_layer_is_named_by_the_call():
    assert [node.name for node in capture(nn.Conv2d(3, 4, 3), X).nodes] == ["input", "conv2d"]


def test_control_flow_is_what_ran(network):
    def function(x):
        for _ in range(x.shape[1]):
            x = x / 2
        return x.relu() if x.sum() > 0 else -x

    assert [n.call for n in capture(network(function), torch.ones(1, 2)).nodes if n.call != "constant"] == [
        "input", "div", "div", "sum", "gt", "relu",
    ]  # fmt: skip
    graph = capture(network(function), -torch.ones(1, 2))
    assert graph.outputs[0].call == "neg"
    assert [node.call for node in graph.read_values] == ["gt"]


def test_what_is_about_shapes_alone_is_no_node(network):
    def function(x):
        rows, columns = x.shape
        assert x.size(0) == len(x) == rows
        zeros = torch.zeros(rows, columns, dtype=x.dtype, device=x.device)
        return x.contiguous().to(x.dtype) + zeros.mul_(2)

    graph = capture(network(function), torch.ones(2, 3))
    assert [node.name for node in graph.nodes] == ["input", "constant", "add"]


def test_constants_keep_what_they_held_when_they_were_used(network):
    def function(x):
        ones = torch.ones(3)
        y = x + ones
        ones.zero_()
        return y * ones

    graph = capture(network(function), torch.ones(2, 3))
    values = [node.parameters["value"].tensor.tolist() for node in graph.nodes if isinstance(node.op, Constant)]
    assert values == [[1, 1, 1], [0, 0, 0]]


def test_several_inputs_and_outputs(network):
    graph = capture(network(lambda x, y: {"sum": x + y, "rest": [x, (y * 2,)]}), (torch.ones(2), np.ones(2)))
    assert [node.name for node in graph.inputs] == ["input", "input1"]
    assert [node.name for node in graph.outputs] == ["add", "input", "mul"]
    assert graph.inputs[1].dtype == torch.float64


def test_arrays_take_the_type_of_the_network(model):
    assert capture(model, X.numpy().astype(np.float64)).inputs[0].dtype == torch.float32


def test_outputs_of_one_call_have_numbers(network):
    graph = capture(network(lambda x: x.chunk(2, dim=1)[0] + torch.sort(x)[0][:, :1]), torch.ones(2, 4))
    names = [node.name for node in graph.nodes]
    assert names == ["input", "chunk[0]", "chunk[1]", "sort[0]", "sort[1]", "getitem", "add"]
    assert graph.node("sort[1]").op.text == "sort()[1]"


def test_unknown_calls_are_opaque_with_their_arguments_and_parameters(network):
    assert capture(network(lambda x: x.cumsum(dim=3)), X).outputs[0].op.text == "cumsum(dim=3)"
    lstm = nn.LSTM(3, 2, batch_first=True)
    graph = capture(Layers(body=nn.Sequential(lstm)), torch.ones(2, 5, 3))
    node = graph.node("body.0[0]")
    assert isinstance(node.op, Opaque)
    assert [p.name for p in node.parameters.values()] == [f"body.0.{name}" for name, _ in lstm.named_parameters()]


def test_hidden_computations_are_opaque_and_older_tensors_constant(network):
    outside = torch.full((3,), 2.0)

    def function(x):
        hidden = torch.from_numpy(x.detach().numpy() * 2)
        return (x + outside) * hidden

    graph = capture(network(function), torch.ones(2, 3))
    assert [node.name for node in graph.nodes] == ["input", "detach", "constant", "add", "unseen", "mul"]
    assert graph.node("unseen").op == Opaque("unseen")
    assert [node.name for node in graph.read_values] == ["detach"]


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(2 * x.numpy())

    @staticmethod
    def backward(ctx, grad_output):
        return 2 * grad_output


def test_a_hidden_computation_is_traced_back_through_autograd(network):
    graph = capture(network(lambda x: Doubled.apply(x * 3) + 1), torch.ones(2), loss=lambda y: y.sum())
    assert [source.name for source in graph.node("unseen").inputs] == ["mul"]
    assert graph.gradient("input").tolist() == [6, 6]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_module_is_one_opaque_node():
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
    graph = capture(nn.Sequential(scripted, nn.Flatten()), X)
    assert [(node.name, node.call) for node in graph.nodes] == [
        ("input", "input"), ("0", "RecursiveScriptModule"), ("1", "flatten"),
    ]  # fmt: skip
    assert graph.node("0").inputs == graph.inputs


def test_a_compiled_network_is_seen_as_written(model):
    class Compiled(nn.Module):  # as `torch.compile` wraps a network, without loading the compiler
        def __init__(self):
            super().__init__()
            self._orig_mod = model

        def forward(self, x):
            raise AssertionError

    assert [n.name for n in capture(Compiled(), X).nodes] == [n.name for n in capture(model, X).nodes]


def test_modules_of_other_threads_are_not_recorded(model):
    stop, other = threading.Event(), nn.Linear(4, 4)

    def work():
        while not stop.is_set():
            other(torch.ones(1, 4))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        names = {tuple(node.name for node in capture(model, X).nodes) for _ in range(20)}
    finally:
        stop.set()
        thread.join()
    assert len(names) == 1


def test_wrong_models_are_refused():
    with pytest.raises(UsageError, match=r"capture: `model` must be an nn\.Module, got function"):
        capture(lambda x: x, X)
    with pytest.raises(UsageError, match=r"capture: `model` must have all its parameters, got `0\.weight`"):
        capture(nn.Sequential(nn.LazyLinear(3)), X)


def test_it_is_said_while_a_graph_is_captured_and_in_that_thread_alone(network):
    said, other = [], []

    def function(x):
        said.append(is_capturing())
        thread = threading.Thread(target=lambda: other.append(is_capturing()))
        thread.start()
        thread.join()
        return x * 2

    x = torch.ones(2)
    network(function)(x)
    capture(network(function), x)
    with pytest.raises(ZeroDivisionError):
        capture(network(lambda x: x / (1 // 0)), x)
    with torch.device("cpu"):  # another mode that sees PyTorch's calls
        network(function)(x)
    assert said == [False, True, False]
    assert other == [False] * 3
    assert not is_capturing()
