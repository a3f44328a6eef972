"""Values and gradients of a captured graph: those before a later call wrote on them, also through views."""

import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.errors import UsageError
from striate.graph import Opaque, capture
from striate.ops.reshaping import Reshape

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def _mixed(x):
    y = x * 1
    z = torch.sigmoid(y)
    y.relu_()
    y += 1
    y[:, 0] *= 2
    return y * z


def test_values_are_those_before_a_later_call_wrote_on_them(network):
    graph = capture(network(_mixed), X, keep_values=True)
    assert torch.equal(graph.value("mul"), X)
    assert torch.equal(graph.value("relu"), X.relu())
    assert torch.equal(graph.value("add"), X.relu() + 1)
    expected = X.relu() + 1
    expected[:, 0] *= 2
    assert torch.equal(graph.value("setitem"), expected)
    assert torch.equal(graph.value(graph.outputs[0]), expected * torch.sigmoid(X))
    assert graph.node("sigmoid").inputs == (graph.node("mul"),)


def test_gradients_are_those_of_the_values_before_they_were_written_on(network):
    def function(x):
        y = x * 1
        z = torch.sigmoid(y)
        y += 1
        y[:, 0] *= 2
        return y * z

    graph = capture(network(function), X, loss=lambda y: (y * y).sum())
    x = X.clone().requires_grad_()
    y = x * 1
    z = torch.sigmoid(y)
    more = y + 1
    last = torch.cat([2 * more[:, :1], more[:, 1:]], 1)
    gradients = torch.autograd.grad(((last * z) ** 2).sum(), [x, y, z, more, last])
    for name, gradient in zip(("input", "mul", "sigmoid", "add", "setitem"), gradients, strict=True):
        assert torch.allclose(graph.gradient(name), gradient, atol=1e-5), name


def test_a_view_of_memory_that_was_written_on(network):
    def function(x):
        y = x * 1
        flat = y.flatten(1)
        y.relu_()
        return flat + 1

    graph = capture(network(function), X, keep_values=True)
    view = graph.outputs[0].inputs[0]
    assert (view.call, view.op) == ("view", Reshape((2, 192)))
    assert view.inputs == (graph.node("relu"),)
    assert torch.equal(graph.value(view), X.relu().flatten(1))
    assert torch.equal(graph.value("flatten"), X.flatten(1))


def test_memory_written_on_through_a_part_is_opaque(network):
    def function(x):
        y = x * 1
        y[:, :2].relu_()
        return y + 1

    node = capture(network(function), X).outputs[0].inputs[0]
    assert node.op == Opaque("changed_in_place")
    assert [source.name for source in node.inputs] == ["mul", "relu"]


def test_out_arguments_count_as_writing(network):
    def function(x):
        y = torch.zeros_like(x)
        torch.add(x, 1, out=y)
        return y * 2

    graph = capture(network(function), X)
    assert [node.name for node in graph.nodes] == ["input", "constant", "add", "constant:2", "mul"]


def test_no_activation_is_kept_alive(model):
    outputs, alive = [], []

    def watch(module, args, output):
        alive.append(sum(reference() is not None for reference in outputs))
        outputs.append(weakref.ref(output))

    for layer in model.stage.modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            layer.register_forward_hook(watch)
    with torch.no_grad():
        capture(model, X)
    assert max(alive) <= 1


def test_gradients_are_autograds_and_grad_fields_stay(model):
    model.eval()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7)
    before = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.fc.bias.requires_grad_(False)
    targets = torch.tensor([1, 4])
    with torch.no_grad():
        graph = capture(model, X, loss=lambda y: F.cross_entropy(y, targets))
    trained = [p for p in model.parameters() if p.requires_grad]
    expected = torch.autograd.grad(F.cross_entropy(model(X), targets), trained)
    by_tensor = {id(p.tensor): graph.gradient(p) for p in graph.parameters}
    for parameter, gradient in zip(trained, expected, strict=True):
        assert torch.allclose(by_tensor[id(parameter)], gradient, atol=1e-6)
    assert by_tensor[id(model.fc.bias)] is None
    assert all(p.grad is before[name] and bool((p.grad == 7).all()) for name, p in model.named_parameters())
    assert graph.loss is graph.node("loss.cross_entropy")
    assert graph.gradient("stage.1.conv").shape == (2, 3, 8, 8)


def test_a_module_as_loss_has_its_own_name(model):
    graph = capture(model, X, loss=lambda y: nn.CrossEntropyLoss()(y, torch.tensor([0, 1])))
    assert (graph.loss.name, graph.loss.module) == ("loss.cross_entropy", "loss")


def test_nothing_flows_through_detached_values(network):
    graph = capture(network(lambda x: x.detach() * 2 + x), X, loss=lambda y: y.sum())
    assert graph.gradient("mul") is None
    assert graph.gradient("input").unique().tolist() == [1]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda y: y, r"capture: `loss` must return a tensor with one number, got shape \(2, 12\)"),
        (lambda y: 3.0, "capture: `loss` must return a tensor with one number, got float"),
        (lambda y: y.detach().sum(), "capture: `loss` must depend on the network's output"),
    ],
)
def test_a_loss_must_be_one_number_with_a_gradient(model, loss, message):
    with pytest.raises(UsageError, match=message):
        capture(model, X, loss=loss)
