import numpy as np
import pytest
import torch
from torch import nn

from striate import models
from striate.errors import UsageError
from striate.graph import capture
from striate.see.class_maps import grad_cam, last_maps


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.Linear(6 * 16, 5)

    def forward(self, x):
        self.maps = self.conv2(self.conv1(x).relu()).relu()
        return self.fc(self.maps.flatten(1))


def test_grad_cam_equals_its_definition():
    torch.manual_seed(1)
    net, x = Plain(), torch.randn(3, 3, 8, 8)
    net(x)
    score = net(x)[:, 4].sum()
    (grads,) = torch.autograd.grad(score, net.maps)
    alpha = grads.mean(dim=(2, 3))
    expected = torch.einsum("nk,nkij->nij", alpha, net.maps).clamp(min=0)
    found = grad_cam(net, x, of=4)
    np.testing.assert_allclose(found.values[:, 0], expected.detach().numpy(), rtol=1e-5, atol=1e-7)
    assert found.notes[0].endswith(", 4 x 4")
    assert found.heat().shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet18", "layer4.1"), ("resnet20", ""), ("vgg11", "features"), ("densenet121", "features"), ("googlenet", "")],
)
def test_the_layer_is_found(name, layer):
    side = 32 if name == "resnet20" else 64
    net = models.create(name, image_size=side).eval()
    x = torch.randn(1, 3, side, side)
    graph = capture(net, x)
    node = last_maps(graph, graph.outputs[0], method="grad_cam")
    after = [n for n in graph.nodes if n.index > node.index and n.call.startswith("conv")]
    assert len(node.output_shape) == 4
    assert after == []
    assert node.name.startswith(layer)


def test_another_layer_and_what_is_none():
    torch.manual_seed(1)
    net, x = Plain(), torch.randn(1, 3, 8, 8)
    assert grad_cam(net, x, layer="conv1").values.shape == (1, 1, 6, 6)
    with pytest.raises(UsageError, match="must have positions"):
        grad_cam(net, x, layer="fc")
    with pytest.raises(UsageError, match="must be a layer with positions"):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), x)
