import numpy as np
import pytest
import torch
from torch import nn

from striate import models
from striate.errors import UsageError
from striate.see.gradients import gradient, integrated_gradients, smoothgrad


def test_the_gradient_is_that_of_pytorch(random_network):
    net, x = random_network(5)
    leaf = x.clone().requires_grad_()
    net.eval()(leaf)[:, 2].sum().backward()
    np.testing.assert_allclose(gradient(net, x, of=2).values, leaf.grad.numpy(), rtol=1e-6, atol=1e-9)


def test_the_predicted_class_is_each_images_own(random_network):
    net, x = random_network(6)
    answers = net.eval()(x).argmax(1).tolist()
    found = gradient(net, x)
    assert [unit[-2] for unit in found.units] == [str(answer) for answer in answers]


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "cnn_cifar", "mobilenet_v2_cifar"])
def test_integrated_gradients_are_complete_to_one_percent(name):
    torch.manual_seed(0)
    net = models.create(name).eval()
    info = models.info(name)
    x = torch.randn(3, *info.input_size)
    found = integrated_gradients(net, x, of=1)
    with torch.no_grad():
        rise = (net(x) - net(torch.zeros_like(x)))[:, 1].numpy()
    sums = found.values.reshape(3, -1).astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(sums, rise, rtol=0.0101)
    assert all("the sum is off by" in note for note in found.notes)


def test_integrated_gradients_of_a_product_are_known():
    # f = x0 x1: the integral from (0, 0) to (a, b) gives a b / 2 to each of them.
    class Product(nn.Module):
        def forward(self, x):
            return x[:, 0, 0, :1] * x[:, 0, 0, 1:]

    found = integrated_gradients(Product(), torch.tensor([[[[3.0, 5.0]]]]), of=0)
    np.testing.assert_allclose(found.values[0, 0, 0], [7.5, 7.5], rtol=1e-6)
    other = integrated_gradients(Product(), torch.tensor([[[[3.0, 5.0]]]]), of=0, baseline=torch.tensor([[[1.0, 5.0]]]))
    np.testing.assert_allclose(other.values[0, 0, 0], [10.0, 0.0], rtol=1e-6)


def test_smoothgrad_of_a_linear_network_is_its_weight():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    found = smoothgrad(net, torch.randn(2, 1, 2, 2), of=1, samples=3)
    np.testing.assert_allclose(
        found.values.reshape(2, 4), np.tile(net[1].weight[1].detach().numpy(), (2, 1)), rtol=1e-6
    )


def test_smoothgrad_is_the_mean_over_its_noise(random_network):
    net, x = random_network(9)
    found = smoothgrad(net, x, of=0, samples=70, noise=0.2, seed=3)
    noise = torch.randn((70, *x.shape[1:]), generator=torch.Generator().manual_seed(3)).to(x)
    made = x[1] + 0.2 * (x[1].max() - x[1].min()) * noise
    np.testing.assert_allclose(found.values[1], gradient(net, made, of=0).values.mean(axis=0), rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(
        found.values[1], smoothgrad(net, x[1:], of=0, samples=70, noise=0.2, seed=3).values[0]
    )


@pytest.mark.parametrize("method", [gradient, smoothgrad, integrated_gradients])
def test_images_do_not_mix(random_network, method):
    net, _ = random_network(2)
    x = torch.randn(7, 2, 8, 8, dtype=torch.float64)
    whole = method(net, x).values
    for which in range(7):
        np.testing.assert_allclose(method(net, x[which : which + 1]).values[0], whole[which], rtol=1e-4, atol=1e-7)


def test_bad_arguments(random_network):
    net, x = random_network(0)
    with pytest.raises(UsageError, match="`samples` must be at least 1"):
        smoothgrad(net, x, samples=0)
    with pytest.raises(UsageError, match="`steps` must be at least 1, got 0"):
        integrated_gradients(net, x, steps=0)
    with pytest.raises(UsageError, match=r"fit one image, .* Leave the batch axis out"):
        integrated_gradients(net, x, baseline=torch.zeros(1, 3, 8, 8))
