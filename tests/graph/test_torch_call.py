"""Single calls of a captured run, run again, and the calls that stand beside them."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.errors import UsageError
from striate.graph import Constant, Input, capture


def test_a_call_takes_the_values_of_nodes_and_the_networks_own_tensors():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    graph = capture(network, torch.ones(2, 3, 8, 8))
    replay, x = graph.node("0").replay, torch.randn(5, 3, 6, 6, requires_grad=True)
    assert (replay.nodes, replay.sized, replay.output, replay.writes) == (graph.inputs, (), 0, ())
    (found,) = replay.run({0: x})
    assert torch.equal(found, network[0](x))
    found.sum().backward()
    assert network[0].weight.grad is not None
    assert x.grad is not None
    with torch.no_grad():
        network[0].bias.add_(1)
    assert torch.equal(replay.run({0: x})[0], network[0](x))


def test_inputs_and_constants_have_none(network):
    scale = nn.Parameter(torch.ones(1))
    graph = capture(network(lambda x: (x + 2) * torch.ones(3) * scale), torch.ones(2, 3))
    plain = [node for node in graph.nodes if isinstance(node.op, Input | Constant)]
    assert len(plain) == 4
    assert all(node.replay is None for node in plain)


def test_outputs_of_one_call_share_a_run(network):
    graph = capture(network(lambda x: x.chunk(2, dim=1)[1] + x.max(dim=1)[1][:, None]), torch.ones(2, 4))
    first, second = graph.node("chunk[0]").replay, graph.node("chunk[1]").replay
    values, positions = graph.node("max[0]").replay, graph.node("max[1]").replay
    assert first.key == second.key != values.key == positions.key
    outputs = second.run({0: torch.tensor([[1.0, 2, 3, 4]])})
    assert [part.tolist() for part in outputs] == [[[1, 2]], [[3, 4]]]
    assert (first.output, second.output, positions.output) == (0, 1, 1)


def test_what_is_written_and_not_returned_is_the_last_output(network):
    def function(x):
        y = x * 1
        y[:, 0] = 7
        return y

    graph = capture(network(function), torch.ones(2, 2))
    node, given = graph.node("setitem"), torch.zeros(3, 2)
    outputs = node.replay.run({graph.node("mul").index: given})
    assert outputs[node.replay.output].tolist() == [[7, 0]] * 3
    assert given.tolist() == [[0, 0]] * 3


def test_sizes_alone_are_said_apart():
    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.ones(1, 4))

        def forward(self, x):
            return torch.cat([self.token.expand(x.relu().shape[0], -1), x])

    graph = capture(Token(), torch.ones(2, 4))
    replay = graph.node("expand").replay
    assert replay.nodes == ()
    assert replay.sized == (graph.node("relu"),)
    (found,) = replay.run({graph.node("relu").index: torch.empty(5, 4, device="meta")})
    assert found.shape == (5, 4)


def test_statistics_are_updated_by_their_call():
    network = nn.BatchNorm1d(3)
    graph = capture(network, torch.randn(4, 3))
    replay, twin = graph.outputs[0].replay, nn.BatchNorm1d(3)
    assert [parameter.name for parameter in replay.writes] == ["running_mean", "running_var"]
    x = torch.randn(5, 3)
    assert torch.equal(replay.run({0: x})[0], twin(x))
    assert torch.equal(network.running_var, twin.running_var)
    (aside,) = graph.asides
    assert (aside.call, aside.position, aside.nodes, aside.is_check, aside.refusal) == ("add_", 1, (), False, None)
    assert aside.writes[0].tensor is network.num_batches_tracked
    aside.run({})
    assert network.num_batches_tracked == 1


def test_the_outputs_of_a_call_are_no_buffers():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(2))

        def forward(self, x):
            return x - self.mean.copy_(x.detach().mean(0))

    network = Counting()
    graph = capture(network, torch.ones(2, 2))
    node = graph.node("copy")
    (found,) = node.replay.run({source.index: torch.tensor([3.0, 4.0]) for source in node.replay.nodes})
    network.mean.zero_()
    assert found.tolist() == [3, 4]


def test_a_constant_that_differs_in_every_run_is_made_again():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.ones(2))

        def forward(self, x):
            return x * (self.scale * 2) + torch.rand_like(x)

    network = Scaled()
    graph = capture(network, torch.ones(3, 2))
    scale, noise = [node for node in graph.nodes if isinstance(node.op, Constant) and node.replay is not None]
    network.scale.fill_(4)
    assert scale.replay.run({})[0].tolist() == [8, 8]
    assert noise.replay.nodes == graph.inputs
    torch.manual_seed(0)
    expected = torch.rand(5, 2)
    torch.manual_seed(0)
    assert torch.equal(noise.replay.run({0: torch.zeros(5, 2)})[0], expected)


def test_python_questions_are_checks(network):
    graph = capture(network(lambda x: x.relu() if x.shape[0] > 1 and x.sum() > 0 else x), torch.ones(2, 3))
    sizes, number = graph.asides
    assert (sizes.is_check, sizes.nodes, sizes.sized) == (True, (), graph.inputs)
    assert (number.is_check, number.call, number.nodes) == (True, "__bool__", (graph.node("gt"),))
    sizes.run({0: torch.ones(5, 3)})
    with pytest.raises(
        UsageError, match=r"Aside\.run: `comparison of sizes` of `input` must answer as in the captured"
    ):
        sizes.run({0: torch.ones(1, 3)})
    with pytest.raises(UsageError, match=r"Aside\.run: `__bool__` of `gt` must answer .* got False: Python read it"):
        number.run({graph.node("gt").index: torch.tensor(False)})


def test_missing_values_are_named():
    graph = capture(nn.ReLU(), torch.ones(2))
    with pytest.raises(UsageError, match=r"Replay\.run: `values` must hold the value of `input` under 0, got none"):
        graph.outputs[0].replay.run({})


def test_lengths_are_whole_numbers_for_the_network(network):
    seen = []

    def function(x):
        n, c = x.shape
        seen.extend(
            [isinstance(n, int), [0] * n, list(range(c)), f"{n} {x.size(0)}", n + c - 1, 2 * n, n / 2, {n: 1}[2]]
        )
        return x.reshape(c, n)[: n // 2]

    graph = capture(network(function), torch.ones(2, 3))
    assert seen == [True, [0, 0], [0, 1, 2], "2 2", 4, 4, 1.0, 1]
    assert graph.outputs[0].output_shape == (1, 2)
    assert type(graph.node("reshape").op.shape[0]) is int


def test_no_activation_and_no_recorder_is_kept_alive():
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.BatchNorm1d(4), nn.Dropout())
    kept = []
    for layer in network:
        layer.register_forward_hook(lambda module, args, output: kept.append(weakref.ref(output)))
    graph = capture(network, torch.ones(3, 4))
    assert graph.outputs[0].replay is not None
    assert all(reference() is None for reference in kept)
    assert not [o for o in gc.get_objects() if type(o).__name__ in {"Origins", "Repeats", "Draft"}]


def test_a_constant_is_kept_as_it_was_when_it_was_used(network):
    def function(x):
        ones = torch.ones(3)
        y = F.linear(x, ones[None])
        ones.zero_()
        return y + ones

    graph = capture(network(function), torch.ones(2, 3))
    assert graph.node("linear").replay.run({0: torch.ones(4, 3)})[0].tolist() == [[3]] * 4
