import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate import models, see
from striate.errors import UsageError
from striate.graph import capture
from striate.see.projections import deconvnet, guided_backprop


@pytest.mark.parametrize("seed", range(100))
@pytest.mark.parametrize("method", [deconvnet, guided_backprop])
def test_projections_equal_the_reference_from_ops(random_network, projected, seed, method):
    net, x = random_network(seed)
    net.eval()
    graph = capture(net, x, keep_values=True)
    node = graph.outputs[0]
    target = seed % 3
    found = method(net, x, of=target)
    for image in range(2):
        expected = projected(graph, node, (image, target), is_guided=method is guided_backprop)[image]
        np.testing.assert_allclose(found.values[image], expected, rtol=1e-4, atol=1e-6)
    assert len(found.rewritten) == 3


@pytest.mark.parametrize(
    "name", ["resnet20", "googlenet", "densenet121", "mobilenet_v2_cifar", "zfnet", "vgg11", "airbench94"]
)
def test_the_classic_networks_are_projected_or_refused_for_a_reason(name):
    net = models.create(name, image_size=32 if "cifar" in name or name in ("resnet20", "airbench94") else 96).eval()
    x = torch.randn(1, 3, *([32] * 2 if "cifar" in name or name in ("resnet20", "airbench94") else [96] * 2))
    if name == "airbench94":
        with pytest.raises(UsageError, match="got gelu"):
            deconvnet(net, x)
        return
    assert np.isfinite(deconvnet(net, x).values).all()


def test_a_unit_inside_the_network(random_network, projected):
    net, x = random_network(7)
    graph = capture(net.eval(), x, keep_values=True)
    node = next(n for n in graph.nodes if n.call == "conv2d" and n.name.endswith("1"))
    found = deconvnet(net, x, of=f"{node.name}[1,2,3]")
    expected = projected(graph, node, (0, 1, 2, 3), is_guided=False)[0]
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-4, atol=1e-6)
    strongest = deconvnet(net, x, of=f"{node.name}[1]")
    row, column = divmod(int(graph.value(node)[0, 1].argmax()), node.output_shape[3])
    assert strongest.units[0] == f"{node.name}[1,{row},{column}]"


@pytest.mark.parametrize(
    ("activation", "name"),
    [(nn.GELU(), "gelu"), (nn.SiLU(), "silu"), (nn.Sigmoid(), "sigmoid"), (nn.LeakyReLU(), "leaky_relu"),
     (nn.Hardtanh(), "hardtanh"), (nn.Softmax(dim=1), "softmax")],
)  # fmt: skip
@pytest.mark.parametrize("method", [deconvnet, guided_backprop])
def test_other_nonlinearities_are_refused(activation, name, method):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 1), activation, nn.Flatten(), nn.Linear(72, 3))
    with pytest.raises(UsageError, match=f"must be a rectifier .* got {name} at `3`"):
        method(net, torch.randn(1, 1, 8, 8))
    assert method(net, torch.randn(1, 1, 8, 8), of="2[0]").rewritten == ("1 (relu)",)  # not on the way: no matter


def test_products_and_unknown_operations_are_refused():
    class Gated(nn.Module):
        def forward(self, x):
            return (F.relu(x) * x.mean(dim=(2, 3), keepdim=True)).flatten(1)

    class Unknown(nn.Module):
        def forward(self, x):
            return torch.special.erf(F.relu(x)).flatten(1)

    x = torch.randn(1, 1, 4, 4)
    with pytest.raises(UsageError, match="got mul at"):
        deconvnet(Gated(), x)
    with pytest.raises(UsageError, match="which striate does not know"):
        deconvnet(Unknown(), x)


def test_normalisations_by_the_data_are_named():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.LocalResponseNorm(3), nn.Flatten(), nn.Linear(144, 2))
    assert deconvnet(net, torch.randn(1, 1, 8, 8)).by_gradient[0].startswith("2")


def test_a_softmax_that_ends_the_network_is_no_part_of_a_class(random_network):
    net, x = random_network(3)
    np.testing.assert_array_equal(
        guided_backprop(nn.Sequential(net, nn.Softmax(1)), x).values, guided_backprop(net, x).values
    )


@pytest.mark.parametrize("method", ["deconvnet", "guided_backprop", "gradient", "smoothgrad", "grad_cam"])
def test_the_network_is_as_it_was(method):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(),
                        nn.Linear(144, 3))  # fmt: skip
    net.train()
    net[0].weight.grad = torch.ones_like(net[0].weight)
    net[1].eval()
    before, x = copy.deepcopy(net), torch.randn(2, 1, 8, 8)
    before[0].weight.grad = torch.ones_like(net[0].weight)  # a copy has no gradients
    kept, state = x.clone(), torch.get_rng_state()
    getattr(see, method)(net, x)
    _equal(net, before)
    assert torch.equal(x, kept)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_network_is_as_it_was_after_an_exception():
    class Fails(nn.Sequential):
        def forward(self, x):
            super().forward(x)
            raise RuntimeError("no output")

    net = Fails(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1)).train()
    before = copy.deepcopy(net)
    with pytest.raises(RuntimeError, match="no output"):
        deconvnet(net, torch.randn(2, 1, 5, 5))
    _equal(net, before)


def _equal(net, before):
    for (name, tensor), (_, old) in zip(net.state_dict().items(), before.state_dict().items(), strict=True):
        assert torch.equal(tensor, old), name
    assert [m.training for m in net.modules()] == [m.training for m in before.modules()]
    assert all(not m._forward_hooks and not m._backward_hooks for m in net.modules())
    for parameter, old in zip(net.parameters(), before.parameters(), strict=True):
        assert parameter.requires_grad
        assert (parameter.grad is None) == (old.grad is None)
        assert parameter.grad is None or torch.equal(parameter.grad, old.grad)


def test_bad_units_and_inputs(random_network):
    net, x = random_network(0)
    with pytest.raises(UsageError, match="class from 0 to 2, got 3"):
        deconvnet(net, x, of=3)
    with pytest.raises(UsageError, match="`nowhere` must be a layer of the network"):
        deconvnet(net, x, of="nowhere[1]")
    with pytest.raises(UsageError, match="batch axis"):
        deconvnet(net, torch.zeros(0, 2, 8, 8))
    with pytest.raises(UsageError, match="Write image\\[None\\]"):
        deconvnet(net, "cat.jpg")
