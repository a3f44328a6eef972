"""Layers of LeCun's early networks: known values, a loop over the connections, gradients."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from striate.models.lenet_layers import RadialBasisOutput, ScaledTanh, TableConv2d, TrainableSubsampling, reset_uniform


def test_table_convolution_equals_a_loop_over_its_connections() -> None:
    torch.manual_seed(0)
    layer = TableConv2d(table=[(0, 2), (1,), (0, 1, 2)], in_channels=3, kernel_size=3, stride=2, bias_size=(3, 3))
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 7, 7)
    expected = layer.bias.expand(2, 3, 3, 3).clone()
    pairs = [(0, 0), (0, 2), (1, 1), (2, 0), (2, 1), (2, 2)]
    for kernel, (out_map, in_map) in zip(layer.weight, pairs, strict=True):
        expected[:, out_map] += F.conv2d(x[:, in_map : in_map + 1], kernel[None, None], stride=2)[:, 0]
    torch.testing.assert_close(layer(x), expected)
    assert layer.fan_in().flatten().tolist() == [18, 18, 9, 27, 27, 27]
    assert layer.fan_out().flatten().tolist() == [18, 18, 18, 18, 18, 18]


def test_table_convolution_passes_gradcheck() -> None:
    torch.manual_seed(0)
    layer = TableConv2d(table=[(0, 1), (1,)], in_channels=2, kernel_size=2).double()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, weight, bias: torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,)),
        (x, layer.weight, layer.bias),
    )


def test_subsampling_known_value() -> None:
    # By hand: (1 + 2 + 3 + 4) x 0.5 - 1 = 4.
    layer = TrainableSubsampling(1)
    torch.nn.init.constant_(layer.coefficient, 0.5)
    torch.nn.init.constant_(layer.bias, -1.0)
    assert layer(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item() == 4.0


def test_scaled_tanh_keeps_one() -> None:
    # Source: 1998 paper, appendix A: f(1) = 1 and f(-1) = -1, to the four digits of its constants.
    values = ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 100.0]))
    torch.testing.assert_close(values, torch.tensor([-1.0, 0.0, 1.0, 1.7159]), atol=1e-4, rtol=0)


def test_output_is_minus_the_squared_distance() -> None:
    layer = RadialBasisOutput(num_classes=3)
    logits = layer(layer.codes[1:2].clone())
    different = (layer.codes[1] != layer.codes[0]).sum().item()
    assert logits[0, 1].item() == 0
    assert logits[0, 0].item() == -4 * different  # 1 against -1: distance 2, squared 4
    assert logits.argmax().item() == 1


def test_starting_weights_fill_their_range() -> None:
    torch.manual_seed(0)
    weight = torch.empty(1000)
    reset_uniform(weight, 24)
    assert 0.099 < weight.abs().max() <= 0.1
    assert abs(weight.mean()) < 0.01
