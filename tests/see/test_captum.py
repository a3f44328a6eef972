"""What Captum computes rightly, on networks of modules only, and where it does not; where it is installed."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate import see

attr = pytest.importorskip("captum.attr")


def _network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    ).eval()


@pytest.fixture
def images():
    return torch.randn(3, 1, 14, 14, generator=torch.Generator().manual_seed(1))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("ours", "theirs"), [("guided_backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")])
def test_projections_but_for_the_factor(images, ours, theirs):
    # Captum starts with 1 where the paper sends back the activation itself; a negative one is stopped at once.
    net = _network()
    with torch.no_grad():
        net[-1].bias += 10
    found = getattr(see, ours)(net, images, of=2)
    other = getattr(attr, theirs)(net).attribute(images.clone().requires_grad_(), target=2).detach().numpy()
    np.testing.assert_allclose(found.values, other * found.scores[:, None, None, None], rtol=1e-4, atol=1e-5)


def test_gradients(images):
    net = _network()
    plain = attr.Saliency(net).attribute(images.clone().requires_grad_(), target=1, abs=False).detach().numpy()
    np.testing.assert_allclose(see.gradient(net, images, of=1).values, plain, rtol=1e-5, atol=1e-7)
    integrated = attr.IntegratedGradients(net).attribute(images, target=1, n_steps=64, method="riemann_middle")
    own = see.integrated_gradients(net, images, of=1, steps=64).values
    np.testing.assert_allclose(own, integrated.detach().numpy(), rtol=1e-3, atol=1e-5)


def test_grad_cam(images):
    net = _network()
    theirs = attr.LayerGradCam(net, net[4]).attribute(images, target=0, relu_attributions=True).detach().numpy()
    np.testing.assert_allclose(see.grad_cam(net, images, of=0).values, theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_functional_rectifiers_are_why_this_room_is_here(images):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = _network()

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.net[0](x)), 2)
            return self.net[6](F.relu(self.net[3](x)).flatten(1))

    same = see.guided_backprop(_network(), images, of=2).values
    np.testing.assert_allclose(see.guided_backprop(Functional(), images, of=2).values, same, rtol=1e-5, atol=1e-7)
    theirs = attr.GuidedBackprop(Functional()).attribute(images.clone().requires_grad_(), target=2).detach().numpy()
    plain = see.gradient(_network(), images, of=2).values
    np.testing.assert_allclose(theirs, plain, rtol=1e-4, atol=1e-6)  # the plain gradient, without a word
