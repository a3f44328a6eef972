"""The networks of `benchmarks.engine` as data, for peers whose environments have no PyTorch, and their inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "NUM_CLASSES", "Conv", "Dense", "Network", "Pool", "count_params", "create", "random_batches"]

NUM_CLASSES = 10
CNN_CHANNELS, CNN_HIDDEN = (32, 64), 128
"""Of the CNN at width 1."""


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution, bias, ReLU."""

    out_channels: int
    kernel_size: int
    padding: int = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """Max pooling without overlap."""

    kernel_size: int


@dataclass(frozen=True, slots=True)
class Dense:
    """Dense layer with a bias, and ReLU after it except after the last; the first one flattens its input."""

    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What peers must agree on."""

    in_channels: int
    image_size: int
    num_params: int
    layers: tuple[Conv | Pool | Dense, ...] = ()
    """Empty: no peer builds it by itself."""


NETWORKS = {
    "lenet5": Network(in_channels=1, image_size=28, num_params=44_426,
                      layers=(Conv(6, 5), Pool(2), Conv(16, 5), Pool(2), Dense(120), Dense(84), Dense(10))),
    "cnn_cifar": Network(in_channels=3, image_size=32, num_params=545_098,
                         layers=(Conv(32, 3, 1), Pool(2), Conv(64, 3, 1), Pool(2), Dense(128), Dense(10))),
    "mlp_mnist": Network(in_channels=1, image_size=28, num_params=109_386,
                         layers=(Dense(128), Dense(64), Dense(10))),
    "resnet20": Network(in_channels=3, image_size=32, num_params=269_722),
    "resnet18_cifar": Network(in_channels=3, image_size=32, num_params=11_173_962),
    "mobilenet_v2_cifar": Network(in_channels=3, image_size=32, num_params=2_236_682),
}  # fmt: skip


def count_params(network: Network) -> int:
    """Count weights and biases of a network that is given as layers.

    Example:
        >>> count_params(NETWORKS["lenet5"])
        44426
    """
    channels, side, total, features = network.in_channels, network.image_size, 0, 0
    for layer in network.layers:
        if isinstance(layer, Conv):
            total += (channels * layer.kernel_size**2 + 1) * layer.out_channels
            channels, side = layer.out_channels, side + 2 * layer.padding - layer.kernel_size + 1
        elif isinstance(layer, Pool):
            side //= layer.kernel_size
        else:
            total += ((features or channels * side**2) + 1) * layer.width
            features = layer.width
    return total


def create(name: str, *, width: float = 1.0, image_size: int | None = None) -> nn.Module:
    """Build a network in PyTorch, always with the same weights.

    Args:
        name: Of `NETWORKS`.
        width: Factor on the channels and hidden units of ``cnn_cifar``; other networks have 1 only.
        image_size: Side of the images in pixels; None: the network's usual one.

    Raises:
        ValueError: another width of another network, or not the number of parameters that the peers have.
    """
    import torch

    from striate import models
    from striate.models.cnn import CNN

    known = NETWORKS[name]
    if width != 1 and name != "cnn_cifar":
        raise ValueError(f"create: `width` must be 1 for {name}, got {width}. Only cnn_cifar is varied.")
    torch.manual_seed(0)
    size = image_size or known.image_size
    if width != 1:
        channels = tuple(round(width * number) for number in CNN_CHANNELS)
        return CNN(
            channels=channels,
            hidden_width=round(width * CNN_HIDDEN),
            in_channels=known.in_channels,
            image_size=size,
            num_classes=NUM_CLASSES,
        )
    network = models.create(name, in_channels=known.in_channels, image_size=size, num_classes=NUM_CLASSES)
    counted = sum(parameter.numel() for parameter in network.parameters())
    if size == known.image_size and counted != known.num_params:
        raise ValueError(f"create: {name} must have {known.num_params:,} parameters, as peers have, got {counted:,}.")
    return network


def random_batches(
    name: str, *, batch_size: int, count: int, image_size: int | None = None
) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[Any]]]:
    """Return some batches of noise (N, C, H, W) with random classes (N,), the same for every peer.

    Several, since a network that sees one batch thousands of times learns it by heart, and its gradients vanish.
    """
    known, random = NETWORKS[name], np.random.default_rng(0)
    size = image_size or known.image_size
    shape = (batch_size, known.in_channels, size, size)
    return [
        (random.standard_normal(shape, dtype=np.float32), random.integers(0, NUM_CLASSES, batch_size, dtype=np.int64))
        for _ in range(count)
    ]
