"""Published weights: file names, checksums and accuracies as torchvision 0.28 lists them."""

from __future__ import annotations

import re

import pytest

from striate import models
from striate.models.pretrained import PRETRAINED


def test_only_networks_of_the_registry_have_weights() -> None:
    assert {name for name in models.list() if models.info(name).pretrained} == set(PRETRAINED)


@pytest.mark.parametrize("network", PRETRAINED)
def test_every_row_is_complete(network: str) -> None:
    for weights in PRETRAINED[network]:
        assert re.fullmatch(r"[0-9a-f]{8}", weights.sha256_prefix)
        assert weights.url.endswith(f"-{weights.sha256_prefix}.pth")
        assert weights.url.startswith("https://download.pytorch.org/models/" + network.removesuffix("_bn"))
        assert 50 < weights.top1 < weights.top5 < 100


def test_known_rows() -> None:
    # Source: torchvision.models.ResNet50_Weights, torchvision 0.28.
    first, second = PRETRAINED["resnet50"]
    assert (first.name, first.sha256_prefix, first.top1, first.resize_size) == ("imagenet1k_v1", "0676ba61", 76.13, 256)
    assert (second.name, second.sha256_prefix, second.top5, second.resize_size) == (
        "imagenet1k_v2",
        "11ad3fa6",
        95.434,
        232,
    )
