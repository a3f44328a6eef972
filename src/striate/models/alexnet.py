"""AlexNet, twice: as published in 2012, and in the one-column form of 2014 that published weights use.

Sources: Krizhevsky, Sutskever and Hinton 2012, section 3, figure 2 and section 5 (initialisation); Krizhevsky 2014,
arXiv:1404.5997.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

__all__ = ["AlexNet", "AlexNetOf2012", "build"]


class AlexNet(nn.Module):
    """The one-column AlexNet: five convolutions, three 3 x 3 max poolings of stride 2, three dense layers.

    Layers are named as in torchvision.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of logits.
        dropout: Probability of silencing an input of either hidden dense layer in training.
    """

    def __init__(self, *, in_channels: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        return cast("Tensor", self.classifier(self.avgpool(self.features(x)).flatten(1)))


class AlexNetOf2012(nn.Module):
    """AlexNet as published: two towers, which meet in the third convolution and in the dense layers.

    A tower is one of two groups of channels: the second, fourth and fifth convolution see only their own tower.

    Args:
        in_channels: Channels of the images.
        image_size: Side of the images in pixels.
        num_classes: Number of logits.
        dropout: Probability of silencing a hidden dense unit in training.
    """

    def __init__(self, *, in_channels: int, image_size: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        side = (image_size + 4 - 11) // 4 + 1
        for _ in range(3):
            side = (side - 3) // 2 + 1
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 96, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            _response_norm(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(96, 256, 5, padding=2, groups=2),
            nn.ReLU(inplace=True),
            _response_norm(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(256, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 384, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(256 * side**2, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights with standard deviation 0.01; biases 1 where the paper wants ReLUs to start alive, else 0."""
        layers = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        for number, layer in enumerate(layers, start=1):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(cast("Tensor", layer.bias), 1.0 if number in (2, 4, 5, 6, 7) else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        return cast("Tensor", self.classifier(self.features(x)))


def _response_norm() -> nn.LocalResponseNorm:
    # Section 3.3: n = 5, alpha = 1e-4, beta = 0.75, k = 2. PyTorch divides alpha by n, the paper does not.
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def build(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Build the network called ``name``; see `striate.models.create` for the arguments."""
    if name == "alexnet_2012":
        return AlexNetOf2012(in_channels=in_channels, image_size=image_size, num_classes=num_classes)
    return AlexNet(in_channels=in_channels, num_classes=num_classes)
