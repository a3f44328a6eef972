"""The network of airbench: a whitening first layer, three blocks of two convolutions, made to be trained in minutes.

Source: Jordan 2024, arXiv:2404.00498, section 3 and appendix.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Airbench", "build"]

# Output channels of the three blocks.
WIDTHS: dict[str, tuple[int, int, int]] = {"airbench94": (64, 256, 256), "airbench95": (128, 384, 384)}
WHITENING_SIDE = 2


class Block(nn.Module):
    """Convolution, 2 x 2 max pooling, batch normalisation, GELU; then convolution, batch normalisation, GELU.

    Normalisation has biases to learn and its scales fixed at 1. Convolutions start as the identity on the channels that
    come in, so that the network begins as a plain stack of poolings.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels, eps=1e-12, momentum=0.4)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels, eps=1e-12, momentum=0.4)
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H // 2, W // 2)."""
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class Airbench(nn.Module):
    """Whitening 2 x 2 convolution, GELU, three blocks, global max pooling and a scaled dense layer.

    The whitening filters do not learn. Built alone they are random; `initialize(model, "whitening", ...)` sets them
    from images, as the recipe ``cifar-fast`` does.

    Args:
        widths: Output channels of the three blocks.
        in_channels: Channels of the images.
        num_classes: Number of logits.
    """

    def __init__(self, *, widths: tuple[int, ...], in_channels: int, num_classes: int) -> None:
        super().__init__()
        whitening_channels = 2 * in_channels * WHITENING_SIDE**2  # each eigenvector and its negative
        self.whitening = nn.Conv2d(in_channels, whitening_channels, WHITENING_SIDE)
        self.whitening.weight.requires_grad_(False)
        channels = (whitening_channels, *widths)
        self.blocks = nn.Sequential(*(Block(before, after) for before, after in zip(channels, widths, strict=False)))
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Give every layer the starting weights of the paper."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                module.reset_parameters()
        nn.init.zeros_(cast("Tensor", self.whitening.bias))
        for block in self.blocks:
            for conv in (block.conv1, block.conv2):
                nn.init.dirac_(cast("nn.Conv2d", conv).weight[: cast("nn.Conv2d", conv).in_channels])
        self.head.weight.div_(self.head.weight.std())

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        features = self.blocks(F.gelu(self.whitening(x))).amax(dim=(2, 3))
        return cast("Tensor", self.head(features) / features.shape[1])


def build(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Build the network called ``name``; see `striate.models.create` for the arguments."""
    return Airbench(widths=WIDTHS[name], in_channels=in_channels, num_classes=num_classes)
