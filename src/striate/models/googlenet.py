"""GoogLeNet: Inception modules, which look at every place through several kernel sizes at once.

Two forms: `googlenet` has the layers of torchvision (batch normalisation, 3 x 3 kernels where the paper has 5 x 5);
`googlenet_2014` is the published one, with 5 x 5 kernels, response normalisation and no batch normalisation.

Source: Szegedy et al. 2014, arXiv:1409.4842, table 1 and section 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["AuxiliaryHead", "ConvUnit", "GoogLeNet", "Inception", "build"]

# Table 1: output channels of 1x1; 3x3 reduction and 3x3; 5x5 reduction and 5x5; pool projection.
INCEPTIONS: dict[str, tuple[int, int, int, int, int, int]] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


@dataclass(frozen=True, kw_only=True)
class Form:
    """What distinguishes the two GoogLeNets: side of the large kernels, normalisation, dropout before the logits."""

    large_kernel: int
    batch_norm: bool
    dropout: float


FORMS: dict[str, Form] = {
    "googlenet": Form(large_kernel=3, batch_norm=True, dropout=0.2),
    "googlenet_2014": Form(large_kernel=5, batch_norm=False, dropout=0.4),
}


class ConvUnit(nn.Module):
    """Convolution, batch normalisation if the form has it (else a bias), ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, batch_norm: bool, stride: int = 1
    ) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=not batch_norm
        )
        # Not PyTorch's usual 1e-5: the published weights were trained with this eps.
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001) if batch_norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, ceil(H / stride), ceil(W / stride))."""
        return cast("Tensor", self.relu(self.bn(self.conv(x))))


class Inception(nn.Module):
    """Four branches side by side: 1 x 1; 1 x 1 then 3 x 3; 1 x 1 then the large kernel; 3 x 3 max pooling then 1 x 1.

    Args:
        in_channels: Channels of the input.
        widths: One row of table 1, see `INCEPTIONS`.
        form: Large kernel and normalisation.
    """

    def __init__(self, *, in_channels: int, widths: tuple[int, int, int, int, int, int], form: Form) -> None:
        super().__init__()
        direct, reduce3, conv3, reduce5, conv5, projection = widths
        batch_norm = form.batch_norm
        self.branch1 = ConvUnit(in_channels, direct, 1, batch_norm=batch_norm)
        self.branch2 = nn.Sequential(
            ConvUnit(in_channels, reduce3, 1, batch_norm=batch_norm),
            ConvUnit(reduce3, conv3, 3, batch_norm=batch_norm),
        )
        self.branch3 = nn.Sequential(
            ConvUnit(in_channels, reduce5, 1, batch_norm=batch_norm),
            ConvUnit(reduce5, conv5, form.large_kernel, batch_norm=batch_norm),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), ConvUnit(in_channels, projection, 1, batch_norm=batch_norm)
        )
        self.out_channels = direct + conv3 + conv5 + projection

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, out_channels, H, W)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class AuxiliaryHead(nn.Module):
    """Classifier on an inner layer, used in training only: pooling, 1 x 1 convolution, two dense layers.

    Args:
        in_channels: Channels of the inner layer.
        num_classes: Number of logits.
        pool: Average pooling to ``pooled_side``.
        pooled_side: Side of the pooled maps in pixels.
        batch_norm: Normalise after the convolution.
    """

    def __init__(
        self, *, in_channels: int, num_classes: int, pool: nn.Module, pooled_side: int, batch_norm: bool
    ) -> None:
        super().__init__()
        self.pool = pool
        self.conv = ConvUnit(in_channels, 128, 1, batch_norm=batch_norm)
        self.fc1 = nn.Linear(128 * pooled_side**2, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        x = self.conv(self.pool(x)).flatten(1)
        return cast("Tensor", self.fc2(self.dropout(self.relu(self.fc1(x)))))


class GoogLeNet(nn.Module):
    """Stem, nine Inception modules, global average pooling, one dense layer, two auxiliary heads (on 4a and 4d).

    The form of torchvision names its layers as there, and like its published weights rescales three-channel input
    from ImageNet's normalisation to pixels between -1 and 1.

    Args:
        form: Large kernel, normalisation, dropout.
        in_channels: Channels of the images.
        image_size: Side of the images in pixels.
        num_classes: Number of logits.
    """

    def __init__(self, *, form: Form, in_channels: int, image_size: int, num_classes: int) -> None:
        super().__init__()
        self.form = form
        self.rescale_input = form.batch_norm and in_channels == 3
        self.conv1 = ConvUnit(in_channels, 64, 7, batch_norm=form.batch_norm, stride=2)
        self.maxpool1 = _halve(3)
        self.norm1 = _response_norm(form)
        self.conv2 = ConvUnit(64, 64, 1, batch_norm=form.batch_norm)
        self.conv3 = ConvUnit(64, 192, 3, batch_norm=form.batch_norm)
        self.norm2 = _response_norm(form)
        self.maxpool2 = _halve(3)
        channels, widths_of = 192, {}
        for place, widths in INCEPTIONS.items():
            module = Inception(in_channels=channels, widths=widths, form=form)
            self.add_module(f"inception{place}", module)
            channels = widths_of[place] = module.out_channels
        self.maxpool3 = _halve(3)
        self.maxpool4 = _halve(2 if form.batch_norm else 3)
        for name, place in (("aux1", "4a"), ("aux2", "4d")):
            head = _auxiliary_head(widths_of[place], form=form, image_size=image_size, num_classes=num_classes)
            self.add_module(name, head)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(form.dropout)
        self.fc = nn.Linear(channels, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights: with batch normalisation, truncated normal of deviation 0.01; without, Glorot, biases 0.2."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, (nn.Conv2d, nn.Linear)) and self.form.batch_norm:
                module.reset_parameters()
                nn.init.trunc_normal_(module.weight, std=0.01, a=-2.0, b=2.0)
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.constant_(cast("Tensor", module.bias), 0.2)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Map (N, C, H, W) to logits (N, num_classes).

        In training mode the answer is (logits, logits of aux2, logits of aux1), each (N, num_classes); the paper adds
        the losses of the auxiliary heads with weight 0.3 each.
        """
        x = _from_imagenet_normalisation(x) if self.rescale_input else x
        x = self.norm1(self.maxpool1(self.conv1(x)))
        x = self.maxpool2(self.norm2(self.conv3(self.conv2(x))))
        inner = {}
        for place in INCEPTIONS:
            x = getattr(self, f"inception{place}")(x)
            inner[place] = x
            if place == "3b":
                x = self.maxpool3(x)
            elif place == "4e":
                x = self.maxpool4(x)
        logits = cast("Tensor", self.fc(self.dropout(self.avgpool(x).flatten(1))))
        if not self.training:
            return logits
        return logits, self.get_submodule("aux2")(inner["4d"]), self.get_submodule("aux1")(inner["4a"])


def _halve(kernel_size: int) -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size, stride=2, ceil_mode=True)


def _response_norm(form: Form) -> nn.Module:
    # The paper gives no constants; these are the usual ones of its time (PyTorch divides alpha by 5, so did Caffe).
    return nn.Identity() if form.batch_norm else nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


def _auxiliary_head(in_channels: int, *, form: Form, image_size: int, num_classes: int) -> AuxiliaryHead:
    if form.batch_norm:
        pool: nn.Module = nn.AdaptiveAvgPool2d(4)
        pooled_side = 4
    else:
        # The stem halves the image rounding up; each pooling of size 3 and stride 2 halves it rounding down.
        inner_side = math.ceil(image_size / 2) // 8
        pool = nn.AvgPool2d(5, stride=3)
        pooled_side = (inner_side - 5) // 3 + 1
    return AuxiliaryHead(
        in_channels=in_channels,
        num_classes=num_classes,
        pool=pool,
        pooled_side=pooled_side,
        batch_norm=form.batch_norm,
    )


def _from_imagenet_normalisation(x: Tensor) -> Tensor:
    """Undo ImageNet's mean and deviation per channel and subtract and divide by 0.5 instead; (N, 3, H, W)."""
    channels = [
        x[:, index : index + 1] * (std / 0.5) + (mean - 0.5) / 0.5
        for index, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True))
    ]
    return torch.cat(channels, dim=1)


def build(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Build the network called ``name``; see `striate.models.create` for the arguments."""
    return GoogLeNet(form=FORMS[name], in_channels=in_channels, image_size=image_size, num_classes=num_classes)
