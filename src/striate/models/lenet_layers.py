"""Layers that only LeCun's early networks have: connection tables, trainable subsampling, distances as outputs.

Sources: LeCun et al. 1989, Neural Computation 1(4):541-551; LeCun, Bottou, Bengio and Haffner 1998, Proc. IEEE
86(11):2278-2324, section II.B, equation 7 and appendix A.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.models.digit_bitmaps import class_codes

__all__ = ["RadialBasisOutput", "ScaledTanh", "TableConv2d", "TrainableSubsampling", "reset_uniform"]


class ScaledTanh(nn.Module):
    """Squash with 1.7159 tanh(2x/3), which maps -1 and 1 nearly to themselves (1998 paper, appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to each number; any shape."""
        return 1.7159 * torch.tanh(x * (2 / 3))


class TableConv2d(nn.Module):
    """Convolution in which each output map sees only the input maps a table lists; only those kernels exist.

    Args:
        table: For each output map, the indices of its input maps.
        in_channels: Number of input maps.
        kernel_size: Side of the square kernels.
        stride: Step in pixels.
        bias_size: (H_out, W_out) for a bias of its own at every output pixel; None = one per map.
    """

    connections: Tensor

    def __init__(
        self,
        *,
        table: Sequence[Sequence[int]],
        in_channels: int,
        kernel_size: int,
        stride: int = 1,
        bias_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.stride = in_channels, len(table), stride
        pairs = [(out_map, in_map) for out_map, in_maps in enumerate(table) for in_map in in_maps]
        self.register_buffer("connections", torch.tensor(pairs).T.contiguous())
        self.inputs_per_map = tuple(len(in_maps) for in_maps in table)
        self.weight = nn.Parameter(torch.empty(len(pairs), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(len(table), *(bias_size or (1, 1))))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights uniformly from ±2.4 / fan_in, as both papers do; biases start at 0."""
        reset_uniform(self.weight, self.fan_in())
        nn.init.zeros_(self.bias)

    def fan_in(self) -> Tensor:
        """Inputs summed by a unit of the map that each kernel belongs to, (number of kernels, 1, 1)."""
        inputs = [count for count in self.inputs_per_map for _ in range(count)]
        return torch.tensor(inputs, device=self.weight.device)[:, None, None] * self.weight[0].numel()

    def fan_out(self) -> Tensor:
        """Outputs that an input of each kernel goes into, shaped as `fan_in`."""
        outputs = torch.bincount(self.connections[1], minlength=self.in_channels)
        return outputs[self.connections[1]][:, None, None] * self.weight[0].numel()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H_out, W_out)."""
        out_map, in_map = self.connections
        weight = x.new_zeros(self.out_channels, self.in_channels, *self.weight.shape[1:])
        weight = weight.index_put((out_map, in_map), self.weight.to(x.dtype))
        return F.conv2d(x, weight, stride=self.stride) + self.bias


class TrainableSubsampling(nn.Module):
    """Sum each 2 x 2 block, times one trainable coefficient a map, plus one trainable bias a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as average pooling: coefficient 1/4, bias 0."""
        nn.init.constant_(self.coefficient, 0.25)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H // 2, W // 2)."""
        return F.avg_pool2d(x, 2) * 4 * self.coefficient + self.bias


class RadialBasisOutput(nn.Module):
    """Logits as minus the squared distance to one fixed code of -1 and 1 per class (equation 7)."""

    codes: Tensor

    def __init__(self, *, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.tensor(class_codes(num_classes)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 84) to (N, num_classes)."""
        return -(x[:, None, :] - self.codes).square().sum(dim=-1)


def reset_uniform(weight: Tensor, fan_in: Tensor | int) -> None:
    """Draw a weight uniformly from ±2.4 / fan_in, the starting weights of LeCun's papers."""
    with torch.no_grad():
        weight.uniform_(-1, 1).mul_(2.4 / torch.as_tensor(fan_in, dtype=weight.dtype, device=weight.device))
