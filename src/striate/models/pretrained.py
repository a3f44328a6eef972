"""Published weights: the ImageNet-1K files of torchvision, for the networks whose layers are named and shaped as there.

The text after the last hyphen of a file name is the start of its SHA-256. Accuracies are those torchvision reports.
Left out: `vgg16_features-amdegroot-88682ab5.pth`, which has no classifier.
Source: the weight tables of torchvision 0.28.
"""

from __future__ import annotations

from striate.models.entry import PretrainedWeights

__all__ = ["PRETRAINED"]

_SERVER = "https://download.pytorch.org/models/"

# network, version of its weights, file, top-1 %, top-5 %
_TABLE = """
alexnet      v1  alexnet-owt-7be5be79.pth        56.522  79.066
vgg11        v1  vgg11-8a719046.pth              69.02   88.628
vgg13        v1  vgg13-19584684.pth              69.928  89.246
vgg16        v1  vgg16-397923af.pth              71.592  90.382
vgg19        v1  vgg19-dcbb9e9d.pth              72.376  90.876
vgg11_bn     v1  vgg11_bn-6002323d.pth           70.37   89.81
vgg13_bn     v1  vgg13_bn-abd245e5.pth           71.586  90.374
vgg16_bn     v1  vgg16_bn-6c64b313.pth           73.36   91.516
vgg19_bn     v1  vgg19_bn-c79401a0.pth           74.218  91.842
googlenet    v1  googlenet-1378be20.pth          69.778  89.53
resnet18     v1  resnet18-f37072fd.pth           69.758  89.078
resnet34     v1  resnet34-b627a593.pth           73.314  91.42
resnet50     v1  resnet50-0676ba61.pth           76.13   92.862
resnet50     v2  resnet50-11ad3fa6.pth           80.858  95.434
resnet101    v1  resnet101-63fe2227.pth          77.374  93.546
resnet101    v2  resnet101-cd907fc2.pth          81.886  95.78
resnet152    v1  resnet152-394f9c45.pth          78.312  94.046
resnet152    v2  resnet152-f82ba261.pth          82.284  96.002
densenet121  v1  densenet121-a639ec97.pth        74.434  91.972
densenet169  v1  densenet169-b2777c0a.pth        75.6    92.806
densenet201  v1  densenet201-c1103571.pth        76.896  93.37
densenet161  v1  densenet161-8d451a50.pth        77.138  93.56
mobilenet_v2 v1  mobilenet_v2-b0353104.pth       71.878  90.286
mobilenet_v2 v2  mobilenet_v2-7ebf99e0.pth       72.154  90.822
"""


def _weights(version: str, file: str, top1: str, top5: str) -> PretrainedWeights:
    return PretrainedWeights(
        name=f"imagenet1k_{version}",
        url=_SERVER + file,
        sha256_prefix=file.removesuffix(".pth").rpartition("-")[2],
        top1=float(top1),
        top5=float(top5),
        # The second recipe of torchvision was evaluated on images resized to 232 pixels.
        resize_size=232 if version == "v2" else 256,
    )


def _by_network() -> dict[str, tuple[PretrainedWeights, ...]]:
    tables: dict[str, tuple[PretrainedWeights, ...]] = {}
    for network, *row in (line.split() for line in _TABLE.strip().splitlines()):
        tables[network] = (*tables.get(network, ()), _weights(*row))
    return tables


# For each network its weights, oldest first.
PRETRAINED: dict[str, tuple[PretrainedWeights, ...]] = _by_network()
