"""ZFNet: AlexNet with a finer first layer, found by looking at what AlexNet's layers see.

Source: Zeiler and Fergus 2013, arXiv:1311.2901, figure 3 and section 3.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

from torch import Tensor, nn

__all__ = ["ZFNet", "build"]


class ZFNet(nn.Module):
    """Five convolutions, the first 7 x 7 of stride 2, contrast normalisation after two poolings, three dense layers.

    Args:
        in_channels: Channels of the images.
        image_size: Side of the images in pixels; 224 gives the map sizes of figure 3: 110, 55, 26, 13, 6.
        num_classes: Number of logits.
        dropout: Probability of silencing a hidden dense unit in training.
    """

    def __init__(self, *, in_channels: int, image_size: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=nn.Conv2d(in_channels, 96, 7, stride=2, padding=1),
                relu1=nn.ReLU(inplace=True),
                pool1=_pool(),
                norm1=_contrast_norm(),
                conv2=nn.Conv2d(96, 256, 5, stride=2),
                relu2=nn.ReLU(inplace=True),
                pool2=_pool(),
                norm2=_contrast_norm(),
                conv3=nn.Conv2d(256, 384, 3, padding=1),
                relu3=nn.ReLU(inplace=True),
                conv4=nn.Conv2d(384, 384, 3, padding=1),
                relu4=nn.ReLU(inplace=True),
                conv5=nn.Conv2d(384, 256, 3, padding=1),
                relu5=nn.ReLU(inplace=True),
                pool5=_pool(),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict[str, nn.Module](
                flatten=nn.Flatten(),
                fc6=nn.Linear(256 * _final_side(image_size) ** 2, 4096),
                relu6=nn.ReLU(inplace=True),
                dropout6=nn.Dropout(dropout),
                fc7=nn.Linear(4096, 4096),
                relu7=nn.ReLU(inplace=True),
                dropout7=nn.Dropout(dropout),
                head=nn.Linear(4096, num_classes),
            )
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights with standard deviation 0.01 and start biases at 0 (section 3.1)."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(cast("Tensor", module.bias))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        return cast("Tensor", self.classifier(self.features(x)))


def _pool() -> nn.MaxPool2d:
    # Rounding up gives the sizes of figure 3: 110 -> 55 and 26 -> 13.
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _contrast_norm() -> nn.LocalResponseNorm:
    # "Contrast normalised across feature maps", constants not given: those of AlexNet (PyTorch divides alpha by 5).
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def _final_side(image_size: int) -> int:
    """Side of the last map in pixels. A 3 x 3 pooling of stride 2 that rounds up halves a side, rounding down."""
    side = ((image_size + 2 - 7) // 2 + 1) // 2
    side = ((side - 5) // 2 + 1) // 2
    return side // 2


def build(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Build ZFNet; see `striate.models.create` for the arguments."""
    return ZFNet(num_classes=num_classes, in_channels=in_channels, image_size=image_size)
