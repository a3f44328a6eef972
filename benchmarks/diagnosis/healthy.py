"""Healthy trainings of many kinds, about which a diagnosis has nothing to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.diagnosis.faults import adam, sgd
from benchmarks.diagnosis.worlds import ARCHITECTURES, Convolutional, Dense, Residual, World, make_world

__all__ = ["HEALTHY"]

HEALTHY: dict[str, Callable[[int], World]] = {}
"""By name: what makes the training of a seed."""


def healthy(function: Callable[[int], World]) -> Callable[[int], World]:
    """List one."""
    HEALTHY[function.__name__.strip("_").replace("_", " ")] = function
    return function


def _variant(name: str, architecture: str, **changes: Any) -> None:
    def make(seed: int) -> World:
        world = make_world(architecture, seed=seed)
        for key, value in changes.items():
            setattr(world, key, value)
        return world

    HEALTHY[name] = make


for _name in ARCHITECTURES:
    _variant(f"{_name}, Adam", _name)
    _variant(f"{_name}, SGD with momentum", _name, optimizer=sgd(0.02, momentum=0.9))
    _variant(f"{_name}, plain SGD", _name, optimizer=sgd(0.05))
    _variant(f"{_name}, AdamW with decay", _name, optimizer=lambda m: torch.optim.AdamW(m.parameters(), lr=1e-3))
    _variant(f"{_name}, RMSprop", _name, optimizer=lambda m: torch.optim.RMSprop(m.parameters(), lr=1e-3))
    _variant(f"{_name}, smoothed labels", _name, loss_fn=nn.CrossEntropyLoss(label_smoothing=0.1))


def _with_validation(architecture: str) -> Callable[[int], World]:
    def make(seed: int) -> World:
        world = make_world(architecture, seed=seed)
        world.validation = world.held
        return world

    return make


for _name in ARCHITECTURES:
    HEALTHY[f"{_name}, with validation"] = _with_validation(_name)


@healthy
def _small_data(seed: int) -> World:
    world = make_world("convolutional", seed=seed)
    world.x, world.y = world.x[:150], world.y[:150]
    return world


@healthy
def _five_percent_of_labels_wrong(seed: int) -> World:
    world = make_world("dense", seed=seed)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(world.y), generator=generator)[: len(world.y) // 20]
    world.y = world.y.clone()
    world.y[rows] = (world.y[rows] + torch.randint(1, 10, (len(rows),), generator=generator)) % 10
    return world


@healthy
def _mild_imbalance(seed: int) -> World:
    world = make_world("convolutional", seed=seed)
    keep = (world.y < 5) | (torch.arange(len(world.y)) % 4 == 0)
    world.x, world.y = world.x[keep], world.y[keep]
    return world


@healthy
def _tiny_network(seed: int) -> World:
    world = make_world("dense", seed=seed)
    torch.manual_seed(seed)
    world.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    return world


@healthy
def _one_layer_on_purpose(seed: int) -> World:
    world = make_world("dense", seed=seed)
    torch.manual_seed(seed)
    world.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    return world


@healthy
def _deep_residual(seed: int) -> World:
    from striate import models

    world = make_world("residual", seed=seed)
    torch.manual_seed(seed)
    world.model = models.create("resnet20", num_classes=10, in_channels=1, image_size=32)
    world.x = functional.interpolate(world.x[:400], 16)
    world.y = world.y[:400]
    return world


@healthy
def _tanh_network(seed: int) -> World:
    world = make_world("convolutional", seed=seed)
    torch.manual_seed(seed)
    world.model = Convolutional(activation=nn.Tanh)
    return world


@healthy
def _sigmoid_of_two_layers(seed: int) -> World:
    world = make_world("dense", seed=seed)
    torch.manual_seed(seed)
    world.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 10))
    world.optimizer = adam(5e-3)
    return world


@healthy
def _leaky_and_gelu(seed: int) -> World:
    world = make_world("convolutional", seed=seed)
    torch.manual_seed(seed)
    world.model = Convolutional(activation=nn.GELU)
    return world


@healthy
def _base_frozen_on_purpose(seed: int) -> World:
    world = _trained(make_world("convolutional", seed=seed))
    for name, parameter in world.model.named_parameters():
        parameter.requires_grad_(name.startswith("head"))
    torch.manual_seed(seed)
    world.model.head = nn.Linear(world.model.head.in_features, 10)
    return world


@healthy
def _only_the_head_in_the_optimizer(seed: int) -> World:
    world = _trained(make_world("residual", seed=seed))
    world.optimizer = lambda model: torch.optim.Adam(model.head.parameters(), lr=5e-3)
    torch.manual_seed(seed)
    world.model.head = nn.Linear(world.model.head.in_features, 10)
    return world


@healthy
def _fine_tuning_at_a_low_rate(seed: int) -> World:
    world = _trained(make_world("residual", seed=seed))
    world.optimizer = adam(1e-5)
    return world


def _trained(world: World) -> World:
    optimizer = torch.optim.Adam(world.model.parameters(), lr=2e-3)
    torch.manual_seed(world.seed)
    for _ in range(6):
        for rows in torch.randperm(len(world.x)).split(32):
            optimizer.zero_grad()
            functional.cross_entropy(world.model(world.x[rows]), world.y[rows]).backward()
            optimizer.step()
    return world


@healthy
def _trained_with_validation(seed: int) -> World:
    world = _trained(make_world("convolutional", seed=seed))
    world.validation = world.held
    return world


@healthy
def _loader_with_noise_from_torch(seed: int) -> World:
    world = make_world("convolutional", seed=seed)
    world.data = torch.utils.data.DataLoader(_TorchNoise(world.x, world.y), batch_size=32, shuffle=True)
    return world


class _TorchNoise(torch.utils.data.Dataset):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.x[row] + 0.1 * torch.randn_like(self.x[row]), self.y[row]


@healthy
def _binary_with_one_output(seed: int) -> World:
    world = make_world("convolutional", seed=seed)
    torch.manual_seed(seed)
    world.model, world.y = Convolutional(classes=1), (world.y > 4).long()
    world.loss_fn = lambda out, y: functional.binary_cross_entropy_with_logits(out[:, 0], y.float())
    return world


@healthy
def _log_softmax_and_nll(seed: int) -> World:
    world = make_world("dense", seed=seed)
    world.model, world.loss_fn = nn.Sequential(world.model, nn.LogSoftmax(dim=1)), nn.NLLLoss()
    return world


@healthy
def _squared_error_of_one_hot(seed: int) -> World:
    world = make_world("dense", seed=seed)
    world.loss_fn = lambda out, y: functional.mse_loss(out, functional.one_hot(y, 10).float())
    return world


@healthy
def _sigmoids_with_binary_cross_entropy(seed: int) -> World:
    world = make_world("convolutional", seed=seed)
    world.model = nn.Sequential(world.model, nn.Sigmoid())
    world.loss_fn = lambda out, y: functional.binary_cross_entropy(out, functional.one_hot(y, 10).float())
    return world


@healthy
def _pixels_from_0_to_1(seed: int) -> World:
    world = make_world("convolutional", seed=seed)
    world.x = (world.x - world.x.min()) / (world.x.max() - world.x.min())
    return world


@healthy
def _mild_augmentation(seed: int) -> World:
    world = make_world("convolutional", seed=seed)
    world.augment = lambda x: x + 0.1 * torch.randn_like(x)
    return world


@healthy
def _low_rank_and_depthwise(seed: int) -> World:
    world = make_world("convolutional", seed=seed)
    torch.manual_seed(seed)
    world.model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.Conv2d(12, 24, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(384, 16, bias=False), nn.Linear(16, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip
    return world


@healthy
def _mnist_lenet5(seed: int) -> World:
    from striate import models

    world = _mnist(seed)
    torch.manual_seed(seed)
    world.model = models.create("lenet5", num_classes=10)
    return world


@healthy
def _mnist_small_convolutions(seed: int) -> World:
    world = _mnist(seed)
    torch.manual_seed(seed)
    world.model = Convolutional(side=28)
    return world


@healthy
def _cifar_residual(seed: int) -> World:
    world = _cifar(seed)
    torch.manual_seed(seed)
    world.model = Residual(channels=3)
    return world


@healthy
def _cifar_convolutions(seed: int) -> World:
    world = _cifar(seed)
    torch.manual_seed(seed)
    world.model = Convolutional(side=32, channels=3)
    return world


@healthy
def _cifar_dense(seed: int) -> World:
    world = _cifar(seed)
    torch.manual_seed(seed)
    world.model = Dense(side=32, channels=3)
    world.optimizer = adam(5e-4)
    return world


def _mnist(seed: int) -> World:
    return _of_splits("mnist", seed)


def _cifar(seed: int) -> World:
    return _of_splits("cifar10", seed)


def _of_splits(name: str, seed: int) -> World:
    """Return a part of a published set, normalised, with validation."""
    from striate.data import load

    splits = load(name)
    rows = np.random.default_rng(seed).permutation(len(splits.train))[:2200]
    x = splits.train.images.gather(rows).pixels.float() / 255
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)
    y = splits.train.labels[torch.from_numpy(rows)]
    held = (x[1600:], y[1600:])
    return World(nn.Identity(), x[:1600], y[:1600], held, seed, validation=held)
