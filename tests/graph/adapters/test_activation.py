import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.graph import Opaque, capture
from striate.ops.activation import ELU, Hardtanh, Identity, LeakyReLU, ReLU, ReLU6, Sigmoid, Tanh
from striate.ops.learned_activation import PReLU
from striate.ops.smooth_activation import GELU, Hardsigmoid, Hardswish, LogSigmoid, Mish, SiLU, Softplus, Softsign
from striate.ops.softmax import LogSoftmax, Softmax

CASES = [
    (F.relu, ReLU()),
    (torch.relu, ReLU()),
    (lambda x: x.relu(), ReLU()),
    (lambda x: (x * 1).relu_(), ReLU()),
    (lambda x: F.relu(x * 1, inplace=True), ReLU()),
    (lambda x: F.relu(x * 1, True), ReLU()),
    (lambda x: F.relu_(x * 1), ReLU()),
    (nn.ReLU(inplace=True), ReLU()),
    (nn.ReLU6(), ReLU6()),
    (nn.Hardtanh(-2, 1), Hardtanh(-2.0, 1.0)),
    (F.leaky_relu, LeakyReLU(0.01)),
    (nn.LeakyReLU(0.2), LeakyReLU(0.2)),
    (nn.ELU(0.5), ELU(0.5)),
    (torch.sigmoid, Sigmoid()),
    (nn.Sigmoid(), Sigmoid()),
    (torch.tanh, Tanh()),
    (lambda x: (x * 1).tanh_(), Tanh()),
    (nn.GELU(), GELU("none")),
    (nn.GELU("tanh"), GELU("tanh")),
    (nn.SiLU(), SiLU()),
    (nn.Hardswish(), Hardswish()),
    (F.hardsigmoid, Hardsigmoid()),
    (nn.Softplus(2, 10), Softplus(2.0, 10.0)),
    (nn.Mish(), Mish()),
    (lambda x: F.mish(x * 1, inplace=True), Mish()),
    (F.softsign, Softsign()),
    (nn.Softsign(), Softsign()),
    (F.logsigmoid, LogSigmoid()),
    (nn.LogSigmoid(), LogSigmoid()),
    (nn.Softmax(dim=1), Softmax(1)),
    (lambda x: x.softmax(-1), Softmax(3)),
    (lambda x: F.log_softmax(x, dim=2), LogSoftmax(2)),
    (lambda x: x.clone(), Identity()),
    (lambda x: x.transpose(2, 3).contiguous(), Identity()),
]


@pytest.mark.parametrize(("function", "op"), CASES)
def test_each_form_of_an_activation_becomes_its_operation(one_node, images, function, op):
    assert one_node(function, images).op == op


@pytest.mark.parametrize("slopes", [1, 4])
def test_prelu_takes_its_slopes_from_the_layer(one_node, images, slopes):
    layer = nn.PReLU(slopes)
    node = one_node(layer, images)
    assert node.op == PReLU()
    assert node.parameters["weight"].tensor is layer.weight
    assert node.parameters["weight"].name == "layer.weight"


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.softmax(1, dtype=torch.float32),
        lambda x: x.to(torch.int64),
        nn.GLU(1),
    ],
)
def test_what_no_operation_describes_stays_opaque(network, images, function):
    assert isinstance(capture(network(function).double(), images).outputs[0].op, Opaque)


@pytest.mark.parametrize("function", [lambda x: x.float(), lambda x: x.to(torch.float16), lambda x: x.bfloat16()])
def test_a_coarser_number_format_is_the_identity(network, images, function):
    node = capture(network(function), images).outputs[0]
    assert node.op == Identity()
    assert node.dtype != torch.float64
