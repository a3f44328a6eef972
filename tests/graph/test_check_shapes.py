import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate import models
from striate.errors import ModelError
from striate.graph import check_shapes


class LeNet(nn.Module):
    """LeNet-5 whose first dense layer fits images of 28 x 28."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2 = nn.Linear(256, 120), nn.Linear(120, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = self.flattened(F.max_pool2d(F.relu(self.conv2(x)), 2))
        return self.fc2(F.relu(self.fc1(F.dropout(x, training=self.training))))

    def flattened(self, x):
        return torch.flatten(x, 1)


class Viewed(LeNet):
    def flattened(self, x):
        return x.view(-1, 256)


class Reshaped(LeNet):
    def flattened(self, x):
        return x.view(x.size(0), 1, -1).squeeze(1)


class Two(nn.Module):
    def __init__(self, join, b=None):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1, stride=2), b or nn.Conv2d(3, 4, 1)
        self.join = join

    def forward(self, x):
        return self.join(self.a(x), self.b(x))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 5))

    def forward(self, x):
        return F.linear(x, self.weight)


def images(*shape, dtype=torch.float32):
    return torch.zeros(*shape, dtype=dtype)


A, B = "`a` (2, 8, 4, 4)", "`b` (2, 4, 8, 8)"
SHORTCUT = "which do not fit: bring the shortcut to the same channels and stride by a 1 x 1 convolution."
CASES = {
    "dense": (LeNet(), images(2, 1, 32, 32),
        "fc1: Linear(in_features=256) received 400 values: set in_features=400 = 16 x 5 x 5."),
    "dense, reshaped": (Reshaped(), images(2, 1, 32, 32),
        "fc1: Linear(in_features=256) received 400 values: set in_features=400 = 16 x 5 x 5."),
    "dense, two in a row": (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(4, 3)), images(2, 4),
        "2: Linear(in_features=4) received 3 values: set in_features=3."),
    "dense, not flattened": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(288, 9)), images(2, 3, 8, 8),
        "1: Linear(in_features=288) received (2, 8, 6, 6): flatten each image first, with nn.Flatten() or "
        "x.flatten(1), 8 x 6 x 6 = 288."),
    "dense, functional": (nn.Sequential(Functional()), images(2, 4), "0.linear received 4 values: set in_features=4."),
    "no batch axis": (LeNet(), images(1, 28, 28),
        "fc1: Linear(in_features=256) received (16, 16), because the batch axis is missing: conv1 received (1, 28, 28) "
        "and takes (N, C, H, W). Give x[None], shape (1, 1, 28, 28)."),
    "channels": (LeNet(), images(2, 3, 28, 28),
        "conv1: Conv2d(in_channels=1) received 3 channels, shape (2, 3, 28, 28): set in_channels=3, or give images "
        "of 1 channel."),
    "channels inside": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3)), images(2, 3, 8, 8),
        "1: Conv2d(in_channels=4) received 8 channels, shape (2, 8, 6, 6): set in_channels=8."),
    "channels, groups": (nn.Conv2d(4, 8, 3, groups=2), images(2, 2, 8, 8),
        "Conv2d(in_channels=4) received 2 channels, shape (2, 2, 8, 8): set in_channels=2, or give images of 4 "
        "channels."),
    "channels last": (LeNet(), images(2, 28, 28, 1),
        "conv1: Conv2d(in_channels=1) received (2, 28, 28, 1), channels last: give (N, C, H, W), "
        "x.permute(0, 3, 1, 2)."),
    "no channel axis": (LeNet(), images(64, 28, 28),
        "conv1: Conv2d(in_channels=1) received (64, 28, 28): the axis of channels is missing. "
        "Give x[:, None] for (N, C, H, W)."),
    "no channel axis, colour": (nn.Conv2d(3, 4, 3), images(64, 28, 28),
        "Conv2d(in_channels=3) received (64, 28, 28): give a batch (N, C, H, W) with 3 channels."),
    "vectors": (LeNet(), images(2, 784),
        "conv1: Conv2d(in_channels=1) takes (N, C, H, W) and received (2, 784): give images, "
        "x.reshape(-1, 1, 28, 28)."),
    "vectors inside": (nn.Sequential(nn.Linear(4, 3), nn.Conv2d(3, 3, 3)), images(2, 4),
        "1: Conv2d(in_channels=3) takes (N, C, H, W) and received (2, 3): give images, not vectors."),
    "five axes": (LeNet(), images(1, 2, 1, 28, 28),
        "conv1: Conv2d(in_channels=1) takes (N, C, H, W) and received (1, 2, 1, 28, 28): reshape it to 4 axes."),
    "kernel": (LeNet(), images(2, 1, 8, 8),
        "conv2: Conv2d(in_channels=6) received maps of 2 x 2, smaller than its window of 5 x 5: give larger images, "
        "pad, or leave out a layer that halves the maps."),
    "kernel, padded": (nn.Conv2d(1, 2, 5, padding=1, dilation=2), images(2, 1, 4, 9),
        "Conv2d(in_channels=1) received maps of 4 x 9 with padding 1 x 1, smaller than its window of 9 x 9: give "
        "larger images, pad, or leave out a layer that halves the maps."),
    "pooling": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(9)), images(2, 3, 8, 8),
        "1: MaxPool2d(kernel_size=9) received maps of 6 x 6, smaller than its window of 9 x 9: give larger images, "
        "pad, or leave out a layer that halves the maps."),
    "average pooling": (nn.AvgPool2d((3, 9)), images(2, 3, 8, 8),
        "AvgPool2d(kernel_size=(3, 9)) received maps of 8 x 8, smaller than its window of 3 x 9: give larger images, "
        "pad, or leave out a layer that halves the maps."),
    "transposed": (nn.ConvTranspose2d(4, 2, 2), images(2, 3, 3, 3),
        "ConvTranspose2d(in_channels=4) received 3 channels, shape (2, 3, 3, 3): set in_channels=3, or give images "
        "of 4 channels."),
    "batch norm": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(16)), images(2, 3, 8, 8),
        "1: BatchNorm2d(num_features=16) received 8 channels, shape (2, 8, 6, 6): set num_features=8."),
    "batch norm, evaluation": (nn.BatchNorm2d(16).eval(), images(2, 3, 8, 8),
        "BatchNorm2d(num_features=16) received 3 channels, shape (2, 3, 8, 8): set num_features=3."),
    "batch norm, axes": (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm2d(3)), images(2, 4),
        "1: BatchNorm2d(num_features=3) takes (N, C, H, W) and received (2, 3): use BatchNorm1d after a dense layer."),
    "batch norm, no batch": (nn.BatchNorm2d(3), images(3, 8, 8),
        "BatchNorm2d(num_features=3) takes (N, C, H, W) and received (3, 8, 8): the batch axis is missing, "
        "give x[None], shape (1, 3, 8, 8)."),
    "batch norm, one value": (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), images(1, 4),
        "1: BatchNorm1d(num_features=3) received (1, 3) in training, one value a channel, which has no variance: "
        "give a batch of at least 2, or call model.eval()."),
    "group norm": (nn.GroupNorm(2, 8), images(2, 4, 3, 3),
        "GroupNorm(num_channels=8) received 4 channels, shape (2, 4, 3, 3): set num_channels=4."),
    "layer norm": (nn.LayerNorm(5), images(2, 4),
        "LayerNorm(normalized_shape=(5,)) received (2, 4): set normalized_shape=(4,), or move the axes to the end."),
    "cat": (Two(lambda a, b: torch.cat([a, b], 1)), images(2, 3, 8, 8),
        f"cat joins along axis 1 {A} and {B}: axis 2 differs, 4 and 8. Bring them together by padding or stride."),
    "cat, axes": (Two(lambda a, b: torch.cat([a, b.flatten(1)], 1)), images(2, 3, 8, 8),
        f"cat received {A} and `flatten` (2, 256): give both the same axes."),
    "add": (Two(lambda a, b: a + b), images(2, 3, 8, 8), f"add received {A} and {B}, {SHORTCUT}"),
    "add, vectors": (Two(lambda a, b: a.mean((2, 3)) + b.mean((2, 3))), images(2, 3, 8, 8),
        "add received `mean` (2, 8) and `mean:2` (2, 4), which do not fit: give both the same length."),
    "multiply in place": (Two(lambda a, b: a.mul_(b)), images(2, 3, 8, 8), f"mul received {A} and {B}, {SHORTCUT}"),
    "add, constant": (Two(lambda a, b: a + torch.ones(3)), images(2, 3, 8, 8),
        f"add received {A} and a constant of shape (3,), {SHORTCUT}"),
    "matmul": (Two(lambda a, b: a.flatten(2) @ b.flatten(2)), images(2, 3, 8, 8),
        "matmul received `flatten` (2, 8, 16) and `flatten:2` (2, 4, 64): the last axis of the first must be as long "
        "as the rows of the second, got 16 and 4. Transpose one, or change its layer."),
    "view": (Viewed(), images(2, 1, 32, 32),
        "view(-1, 256) received `max_pool2d:2` (2, 16, 5, 5), 800 values: write x.flatten(1), 16 x 5 x 5 = 400 values "
        "an image."),
    "reshape": (Two(lambda a, b: a.reshape((2, 8, 5, -1))), images(2, 3, 8, 8),
        f"reshape(2, 8, 5, -1) received {A}, 256 values: change one of the lengths."),
    "bytes": (LeNet(), images(2, 1, 28, 28, dtype=torch.uint8),
        "conv1: Conv2d(in_channels=1) has float32 weights and received uint8 values: give x.to(torch.float32) "
        "(bytes from 0 to 255: divide by 255)."),
    "float64": (nn.Linear(4, 3), images(2, 4, dtype=torch.float64),
        "Linear(in_features=4) has float32 weights and received float64 values: give x.to(torch.float32)."),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_message_names_layer_arrival_and_edit(case):
    model, x, message = CASES[case]
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$") as caught:
        check_shapes(model, x)
    assert caught.value.__cause__ is not None


def test_what_fits_returns_the_graph():
    graph = check_shapes(LeNet(), images(2, 1, 28, 28))
    assert graph.outputs[0].output_shape == (2, 10)


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "mobilenet_v2"])
def test_networks_of_striate_say_what_is_wrong(name):
    with pytest.raises(ModelError, match=r"received .*: (set|give) "):
        check_shapes(models.create(name).eval(), images(1, 5, 40, 40))


class Raising(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.error = error

    def forward(self, x):
        self.bn(x)
        return self.error(x)


def _key_error(x):
    raise KeyError("mine")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (_key_error, KeyError, "mine"),
        (lambda x: F.conv2d(x, torch.zeros(1, 3, 1, 1), stride=-1), RuntimeError, "stride"),
        (lambda x: x + "text", TypeError, "str"),
        (lambda x: torch.cat([]), ValueError, "non-empty"),
        (lambda x: F.linear(x), TypeError, "linear"),
        (lambda x: x.item(), RuntimeError, "cannot be converted to Scalar"),
    ],
)
def test_other_errors_are_passed_on_unchanged(error, kind, message):
    with pytest.raises(kind, match=message) as caught:
        check_shapes(Raising(error), images(2, 3, 4, 4))
    assert not isinstance(caught.value, ModelError)


def test_the_network_is_left_as_it_was():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(4, 2, 1))
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    with pytest.raises(ModelError, match="set in_channels=3"):
        check_shapes(model, torch.rand(2, 3, 4, 4))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert len(state) == len(torch.get_rng_state())
