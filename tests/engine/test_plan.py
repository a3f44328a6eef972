"""What a plan says of itself: stages, kernels, bytes and multiply-adds, and that they are those of the graph."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from striate import models
from striate.engine import accelerate
from striate.engine.plan import Plan
from striate.errors import UsageError
from striate.graph import capture

pytestmark = pytest.mark.native

COUNT = re.compile(r"([\d,]+) multiply-adds")
BYTES = re.compile(r"([\d,]+) B$")
TOTAL = re.compile(r"an image: ([\d,]+) multiply-adds, ([\d,]+) bytes read and written")


def number(text):
    return int(text.replace(",", ""))


def plans_of(net, shape, *, training=True, batch=5):
    fast = accelerate(net.train(training))
    if training:
        return fast.plans(torch.randn(batch, *shape)), fast
    with torch.no_grad():
        return fast.plans(torch.randn(batch, *shape)), fast


def forward_macs(plan):
    stages = plan.stages[: plan.forward_stages]
    return sum(instruction.macs for stage in stages for instruction in stage.instructions)


def macs_of_the_graph(net, shape):
    graph = capture(net, torch.randn(1 if not net.training else 2, *shape))
    count = graph.inputs[0].output_shape[0]
    return (
        sum(
            node.op.macs(
                *(source.output_shape for source in node.inputs),
                **{name: tuple(p.tensor.shape) for name, p in node.parameters.items()},
            )
            for node in graph.nodes
            if hasattr(node.op, "macs")
        )
        // count
    )


def test_what_it_shows(small, images):
    fast = accelerate(small(dropout=0.5), images())
    text = fast.plan
    assert text == str(fast.plans(images())[0])
    lines = text.splitlines()
    assert re.fullmatch(r"\w+: blocks of \d+ images, \d+ stages", lines[0])
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)
    stages = [line for line in lines if line.startswith("stage ")]
    pattern = r"stage \d+ \((forward|backward), (whole batch|chunk after chunk)\)"
    assert all(re.fullmatch(pattern, line) for line in stages)
    assert [int(line.split()[1]) for line in stages] == [*range(len(stages))]
    assert number(lines[0].split()[-2]) == len(stages)
    words = {line.split()[0] for line in lines if line.startswith("  ")}
    assert {"load", "pack", "taps", "outer", "batch_statistics", "normalize", "max_pool", "drop", "store"} <= words
    assert TOTAL.fullmatch(lines[-1])


def test_the_rows_add_up(small, images):
    lines = accelerate(small(), images()).plan.splitlines()
    rows = [line for line in lines if line.startswith("  ")]
    macs = sum(number(found[1]) for line in rows if (found := COUNT.search(line)))
    moved = sum(number(found[1]) for line in rows if (found := BYTES.search(line)))
    total = TOTAL.fullmatch(lines[-1])
    assert (macs, moved) == (number(total[1]), number(total[2]))
    # By hand, for an image of 2 x 8 x 8: 4 filters of 2 x 3 x 3 at 64 places, 3 of 4 x 3 x 3 at 4, 12 x 5 weights; each
    # once more for the weights' gradient, and but for the first, whose input needs none, for the input's.
    first, second, dense = 4 * 18 * 64, 3 * 36 * 4, 60
    assert macs == 2 * first + 3 * second + 3 * dense


def test_without_gradients_there_is_no_backward_pass(small, images):
    fast = accelerate(small())
    with torch.no_grad():
        (plan,) = fast.plans(images())
    assert plan.forward_stages == len(plan.stages)
    assert "backward" not in str(plan)
    assert not plan.trains


@pytest.mark.parametrize(
    ("layers", "kernels"),
    [
        ([nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2)], ["load", "taps", "store"]),
        ([nn.Conv2d(2, 3, 3), nn.GELU()], ["load", "taps", "store"]),
        ([nn.Conv2d(2, 3, 3), nn.MaxPool2d(3)], ["load", "taps", "max_pool", "store"]),
        ([nn.Flatten(), nn.Linear(128, 3), nn.Sigmoid()], ["load", "taps", "store"]),
        ([nn.Identity(), nn.Flatten(), nn.Dropout(), nn.Flatten()], ["load", "store"]),
    ],
)
def test_what_is_taken_together(layers, kernels):
    # In evaluation; neither an activation nor 2 x 2 pooling writes what a convolution left and reads it again.
    (plan,), _ = plans_of(nn.Sequential(*layers), (2, 8, 8), training=False, batch=64)
    names = [instruction.name for stage in plan.stages for instruction in stage.instructions]
    assert [name for name in names if not name.startswith("pack")] == kernels


def test_names_are_those_of_the_network():
    net = models.create("resnet20")
    (plan,), _ = plans_of(net, (3, 32, 32), batch=2)
    labels = {instruction.label for stage in plan.stages for instruction in stage.instructions}
    convolutions = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    assert {*convolutions} <= labels


LARGER = ("mobilenet_v2_cifar", "resnet18_cifar", "vgg11_bn", "densenet121", "alexnet_2012")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "name",
    ["mlp_mnist", "lenet5", "cnn_cifar", "resnet20", *(pytest.param(n, marks=pytest.mark.slow) for n in LARGER)],
)
def test_multiply_adds_are_those_of_the_graph(name, training):
    torch.manual_seed(0)
    shape = models.info(name).input_size
    if len(shape) == 3 and shape[-1] > 64:
        shape = (3, 67, 67)
        net = models.create(name, image_size=67)
    else:
        net = models.create(name)
    plans, _ = plans_of(net, shape, training=training, batch=2)
    assert sum(map(forward_macs, plans)) == macs_of_the_graph(net.train(training), shape)


def test_multiply_adds_of_unusual_convolutions():
    for layer in (
        nn.Conv2d(4, 6, 3, stride=2, padding=5, groups=2),
        nn.Conv2d(4, 4, (1, 5), dilation=2, padding=(0, 4), groups=4),
        nn.Conv2d(4, 3, 1, stride=3),
    ):
        (plan,), _ = plans_of(layer, (4, 9, 9))
        assert forward_macs(plan) == macs_of_the_graph(layer, (4, 9, 9))


def test_lines_stay_short_with_long_names():
    net = nn.Sequential()
    inner = net
    for _ in range(6):
        inner.add_module("a_rather_long_name_of_a_block", nn.Sequential())
        inner = inner.a_rather_long_name_of_a_block
    inner.add_module("convolution", nn.Conv2d(2, 3, 3))
    _, fast = plans_of(net, (2, 200, 200))
    assert max(map(len, fast.plan.splitlines())) <= 100


def test_plans_of_parts(network):
    net = network(
        lambda self, x: self.b(torch.erfinv(self.a(x).tanh() * 0.5)), a=nn.Conv2d(2, 3, 3), b=nn.Conv2d(3, 2, 3)
    )
    plans, fast = plans_of(net, (2, 8, 8))
    assert len(plans) == 2
    assert all(isinstance(plan, Plan) for plan in plans)
    assert fast.plan == "\n".join(map(str, plans))


def test_memory_of_a_pass(small, images, width):
    # What a plan says of one image is what a pass moves: no more memory than that for each image, and some for all.
    fast = accelerate(small())
    (plan,) = fast.plans(images())
    lanes = {id(operand): operand for stage in plan.stages for i in stage.instructions for operand in i.read}
    sizes = [operand.bytes(width) for operand in lanes.values() if hasattr(operand, "bytes")]
    workspace = plan.take_workspace(width)
    assert 0 < workspace.bytes <= sum(sizes) + 64 * len(lanes) + 2**20
    more = plan.take_workspace(100 * width)
    assert more.bytes < 110 * workspace.bytes


@pytest.mark.parametrize("kind", ["Conv2d", "Linear"])
def test_a_plan_from_its_parts(kind):
    # The way in for those who have a graph already.
    from striate.engine._machine import machine

    net = nn.Conv2d(2, 3, 3) if kind == "Conv2d" else nn.Linear(5, 3)
    x = torch.randn(4, *((2, 6, 6) if kind == "Conv2d" else (5,)))
    graph = capture(net, x)
    nodes = [node for node in graph.nodes if node not in graph.inputs]
    plan = Plan(graph, nodes, graph.inputs, graph.outputs, machine(), False, [False])
    (output,) = plan.forward([x])
    assert float((output - net(x)).detach().abs().max()) < 1e-5


def test_parameters_of_another_size_or_type():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 4))
    x = torch.randn(3, 2, 4, 4)
    (plan,), _ = plans_of(net, (2, 4, 4))
    good = [p.tensor for p in plan.parameters]
    plan.run_forward([x], good)
    for bad in (torch.zeros(3, 2, 3, 2), good[0].double(), good[0].transpose(0, 1), good[0][:1].expand(3, 2, 3, 3)):
        with pytest.raises(
            UsageError, match=r"`0\.weight` must be torch\.float32, contiguous and of at least 54 numbers"
        ):
            plan.run_forward([x], [bad, *good[1:]])
    with pytest.raises(UsageError, match=r"`input0` must be torch\.float32, contiguous and of at least 96 numbers"):
        plan.memory.address(0, torch.zeros(95), batch=3)
