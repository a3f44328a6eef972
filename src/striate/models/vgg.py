"""VGG: nothing but 3 x 3 convolutions, halving the image and doubling the channels five times.

Source: Simonyan and Zisserman 2014, arXiv:1409.1556, table 1 columns A, B, D and E.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

__all__ = ["VGG", "build"]

# Output channels of the convolutions in each stage; 2 x 2 max pooling ends a stage.
STAGES: dict[str, tuple[tuple[int, ...], ...]] = {
    "vgg11": ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg13": ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


class VGG(nn.Module):
    """Stages of 3 x 3 convolutions, then three dense layers. Layers are named as in torchvision.

    Args:
        stages: Output channels of the convolutions in each stage.
        in_channels: Channels of the images.
        num_classes: Number of logits.
        batch_norm: Normalise after every convolution (a `_bn` network).
        dropout: Probability of silencing a hidden dense unit in training.
    """

    def __init__(
        self,
        *,
        stages: tuple[tuple[int, ...], ...],
        in_channels: int,
        num_classes: int,
        batch_norm: bool,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        features: list[nn.Module] = []
        for stage in stages:
            for out_channels in stage:
                features.append(nn.Conv2d(in_channels, out_channels, 3, padding=1))
                features += [nn.BatchNorm2d(out_channels)] if batch_norm else []
                features.append(nn.ReLU(inplace=True))
                in_channels = out_channels
            features.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(in_channels * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw convolutions from He's normal distribution over fan-out, dense layers with deviation 0.01; biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(cast("Tensor", module.bias))
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, num_classes)."""
        return cast("Tensor", self.classifier(self.avgpool(self.features(x)).flatten(1)))


def build(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Build the network called ``name``; the pooling before the head makes it the same for every ``image_size``."""
    return VGG(
        stages=STAGES[name.removesuffix("_bn")],
        in_channels=in_channels,
        num_classes=num_classes,
        batch_norm=name.endswith("_bn"),
    )
