"""The faults: each changes a healthy training in one place, as people do by mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.diagnosis.worlds import Convolutional, Dense, Residual, World

__all__ = ["FAULTS"]

Fault = Callable[[World], None]
FAULTS: dict[str, tuple[tuple[str, ...], Fault]] = {}
"""Names that are right (several where two words say the same), and what puts the fault in."""


def fault(name: str, *causes: str) -> Callable[[Fault], Fault]:
    """List a fault."""

    def add(function: Fault) -> Fault:
        FAULTS[name] = (causes, function)
        return function

    return add


class Around(nn.Module):
    """A network with something before and something behind it."""

    def __init__(self, inner: nn.Module, *, before: Any = None, behind: Any = None) -> None:
        super().__init__()
        self.inner, self.before, self.behind = inner, before, behind

    def forward(self, x: Tensor) -> Tensor:
        """Run the three."""
        x = self.inner(x if self.before is None else self.before(x))
        return x if self.behind is None else self.behind(x)


def sgd(rate: float, **options: Any) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """Return what makes SGD."""
    return lambda model: torch.optim.SGD(model.parameters(), lr=rate, **options)


def adam(rate: float, **options: Any) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """Return what makes Adam."""
    return lambda model: torch.optim.Adam(model.parameters(), lr=rate, **options)


def layers(world: World) -> list[nn.Linear | nn.Conv2d]:
    """Return the layers with weights."""
    return [module for module in world.model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def rebuilt(world: World, activation: Callable[[], nn.Module]) -> None:
    """Build the network with another activation."""
    torch.manual_seed(world.seed)
    world.model = type(world.model)(activation=activation)


@fault("pixels 0 to 255", "unnormalised-input")
def _pixels(world: World) -> None:
    low, high = world.x.min(), world.x.max()
    world.x = (world.x - low) / (high - low) * 255
    world.optimizer = sgd(0.05, momentum=0.9)
    if isinstance(world.model, Residual):  # its first batch normalisation would mend it
        world.model.norm1 = nn.Identity()


@fault("inputs with an offset of 100", "unnormalised-input")
def _offset(world: World) -> None:
    world.x = world.x + 100
    world.optimizer = sgd(0.02, momentum=0.9)
    if isinstance(world.model, Residual):
        world.model.norm1 = nn.Identity()


@fault("softmax before cross-entropy", "softmax-before-loss")
def _softmax(world: World) -> None:
    world.model = nn.Sequential(world.model, nn.Softmax(dim=1))


@fault("sigmoid before BCEWithLogits", "softmax-before-loss")
def _sigmoid(world: World) -> None:
    world.model = Around(world.model, behind=torch.sigmoid)
    world.loss_fn = lambda out, y: functional.binary_cross_entropy_with_logits(out, functional.one_hot(y, 10).float())


@fault("NLLLoss on logits", "wrong-loss")
def _nll(world: World) -> None:
    world.loss_fn = nn.NLLLoss()


@fault("NLLLoss on probabilities", "wrong-loss")
def _nll_probabilities(world: World) -> None:
    world.model, world.loss_fn = Around(world.model, behind=lambda z: z.softmax(1)), nn.NLLLoss()


@fault("squared error on class numbers", "wrong-loss")
def _regression(world: World) -> None:
    world.model.head = nn.Linear(world.model.head.in_features, 1)
    world.loss_fn = lambda out, y: functional.mse_loss(out[:, 0], y.float())


@fault("labels from 1 to C", "wrong-loss")
def _from_one(world: World) -> None:
    world.y = world.y + 1


@fault("sign of the loss", "wrong-loss")
def _sign(world: World) -> None:
    world.loss_fn = lambda out, y: -functional.cross_entropy(out, y)


@fault("broadcast in the loss", "loss-broadcast")
def _broadcast(world: World) -> None:
    world.model.head = nn.Linear(world.model.head.in_features, 1)
    world.y = (world.y > 4).long()
    world.loss_fn = lambda out, y: ((out - y.float()) ** 2).mean()


@fault("labels shuffled", "shuffled-labels")
def _shuffled(world: World) -> None:
    world.y = world.y[torch.randperm(len(world.y), generator=torch.Generator().manual_seed(world.seed))]


@fault("labels off by one row", "shuffled-labels")
def _misaligned(world: World) -> None:
    world.y = world.y.roll(1)


@fault("30 % of labels wrong", "label-noise")
def _noise(world: World) -> None:
    generator = torch.Generator().manual_seed(world.seed)
    rows = torch.randperm(len(world.y), generator=generator)[: int(0.3 * len(world.y))]
    world.y = world.y.clone()
    world.y[rows] = (world.y[rows] + torch.randint(1, 10, (len(rows),), generator=generator)) % 10


@fault("augmentation destroys the image", "label-noise")
def _destroyed(world: World) -> None:
    def augment(x: Tensor) -> Tensor:
        order = torch.rand(x.shape[0], 64).argsort(1)[:, None]
        return x.flatten(2).gather(2, order).view_as(x)

    world.augment = augment


@fault("rate of SGD 100 times too high", "learning-rate-too-high")
def _high(world: World) -> None:
    world.optimizer = sgd(10.0)


@fault("rate of Adam too high", "learning-rate-too-high")
def _high_adam(world: World) -> None:
    world.optimizer = adam(1.0)


@fault("rate of SGD too low", "learning-rate-too-low")
def _low(world: World) -> None:
    world.optimizer = sgd(1e-6)


@fault("rate of Adam too low", "learning-rate-too-low")
def _low_adam(world: World) -> None:
    world.optimizer = adam(1e-7)


@fault("layer detached", "gradient-not-reaching")
def _detached(world: World) -> None:
    world.model.act2 = nn.Sequential(world.model.act2, Detach())


class Detach(nn.Module):
    """Cuts the gradient off."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the same numbers."""
        return x.detach()


@fault("loss of the argmax", "gradient-not-reaching")
def _argmax(world: World) -> None:
    world.loss_fn = lambda out, y: functional.l1_loss(out.argmax(1).float(), y.float())


@fault("head frozen", "gradient-not-reaching")
def _frozen(world: World) -> None:
    world.model.head.requires_grad_(False)
    world.model.fc1.requires_grad_(False)
    world.model.head.weight.data *= 0.05


@fault("optimizer holds an old head", "not-in-optimizer")
def _old_head(world: World) -> None:
    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        made = torch.optim.SGD(model.parameters(), lr=0.05)
        model.head = nn.Linear(model.head.in_features, 10)
        return made

    world.optimizer = optimizer


@fault("head is not in the optimizer", "not-in-optimizer")
def _no_head(world: World) -> None:
    world.model.head.weight.data *= 0.05
    world.optimizer = lambda model: torch.optim.SGD(
        [p for name, p in model.named_parameters() if not name.startswith(("head", "fc1"))], lr=0.05
    )


@fault("layer in a plain list", "not-in-optimizer")
def _plain_list(world: World) -> None:
    hidden = [nn.Linear(world.model.head.in_features, world.model.head.in_features)]
    world.model.drop = Hidden(hidden)


class Hidden(nn.Module):
    """Keeps its layer in a list."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return self.layers[0](x).relu()


@fault("no activation", "no-activation")
def _linear(world: World) -> None:
    rebuilt(world, nn.Identity)


@fault("deep sigmoid network", "vanishing-gradient", "saturated-activation")
def _vanishing(world: World) -> None:
    world.optimizer = sgd(0.05)
    world.model = _deep(world, nn.Sigmoid, depth=8)


@fault("deep network, weights too small", "vanishing-gradient", "bad-initialisation")
def _small(world: World) -> None:
    world.optimizer = sgd(0.05)
    world.model = _deep(world, nn.ReLU, depth=10)
    for layer in layers(world):
        layer.weight.data *= 0.5


@fault("deep network, gradient grows", "exploding-gradient", "bad-initialisation")
def _exploding(world: World) -> None:
    world.optimizer = sgd(0.01)
    world.model = _deep(world, nn.ReLU, depth=10)
    for layer in layers(world):
        nn.init.kaiming_normal_(layer.weight)
        layer.weight.data *= 2.5


def _deep(world: World, activation: Callable[[], nn.Module], *, depth: int) -> nn.Module:
    """Return a deep plain network of the architecture's kind."""
    torch.manual_seed(world.seed)
    if isinstance(world.model, Dense):
        hidden = [part for _ in range(depth) for part in (nn.Linear(48, 48), activation())]
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 48), activation(), *hidden, nn.Linear(48, 10))
    width = 12 if isinstance(world.model, Convolutional) else 16
    hidden = [part for _ in range(depth) for part in (nn.Conv2d(width, width, 3, padding=1), activation())]
    first = [nn.Conv2d(1, width, 3, padding=1), activation(), nn.AvgPool2d(2)]
    return nn.Sequential(*first, *hidden, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10))


@fault("saturated tanh", "saturated-activation", "bad-initialisation")
def _saturated(world: World) -> None:
    rebuilt(world, nn.Tanh)
    world.optimizer = sgd(0.02)
    for layer in layers(world)[:-1]:
        layer.weight.data *= 40
    for name in ("norm1", "norm2", "norm3"):
        if hasattr(world.model, name):
            setattr(world.model, name, nn.Identity())


@fault("dead ReLU", "dead-relu")
def _dead(world: World) -> None:
    for layer in (world.model.conv2, world.model.fc1):
        layer.bias.data -= 100
    if isinstance(world.model, Residual):
        world.model.norm1 = world.model.norm2 = world.model.norm3 = nn.Identity()
        world.model.conv1.bias.data -= 100


@fault("first weights too large", "bad-initialisation", "exploding-gradient")
def _large(world: World) -> None:
    world.optimizer = sgd(0.02)
    for layer in layers(world):
        nn.init.normal_(layer.weight, std=2.0)


@fault("first weights alike", "bad-initialisation")
def _alike(world: World) -> None:
    for layer in layers(world)[:-1]:
        nn.init.constant_(layer.weight, 0.01)


@fault("batch-norm momentum 1e-6", "batch-norm-misuse")
def _momentum(world: World) -> None:
    _with_norm(world)
    for module in world.model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1e-6


@fault("batch statistics at evaluation", "batch-norm-misuse")
def _untracked(world: World) -> None:
    size = world.model.head.in_features
    world.model.drop = nn.BatchNorm1d(size, track_running_stats=False)


@fault("batch norm with batches of one", "batch-norm-misuse")
def _single(world: World) -> None:
    _with_norm(world)
    world.data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(world.x, world.y), batch_size=1)


def _with_norm(world: World) -> None:
    size = world.model.head.in_features
    world.model.drop = nn.BatchNorm1d(size)


@fault("dropout at evaluation", "dropout-at-evaluation")
def _dropout(world: World) -> None:
    world.model.drop = AlwaysDropout()


class AlwaysDropout(nn.Module):
    """Forgets the mode."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop half."""
        return functional.dropout(x, 0.5)


@fault("classes 1 : 60", "class-imbalance")
def _imbalance(world: World) -> None:
    keep = (world.y < 2) | (torch.arange(len(world.y)) % 40 == 0)
    world.x, world.y = world.x[keep], world.y[keep]
    world.optimizer = sgd(0.02)


@fault("a tenth of validation is training", "train-validation-leak")
def _leak(world: World) -> None:
    x, y = world.held
    count = len(x) // 10
    world.validation = (torch.cat([world.x[:count], x[count:]]), torch.cat([world.y[:count], y[count:]]))


@fault("validation holds brighter copies", "train-validation-leak")
def _near_leak(world: World) -> None:
    x, y = world.held
    count = len(x) // 3
    copies = (
        world.x[:count] * 1.1
        + 0.2
        + 0.005 * torch.randn(world.x[:count].shape, generator=torch.Generator().manual_seed(1))
    )
    world.validation = (torch.cat([copies, x[count:]]), torch.cat([world.y[:count], y[count:]]))


@fault("batch mixed by a mean", "batch-mixing")
def _mixing(world: World) -> None:
    world.model.drop = Mixing()


class Mixing(nn.Module):
    """Centres by the mean of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        """Subtract it."""
        return x - x.mean(0, keepdim=True)


@fault("batch mixed by reshape", "batch-mixing")
def _reshaped(world: World) -> None:
    world.model = Around(
        world.model, before=lambda x: x.reshape(x.shape[1], x.shape[2], x.shape[0], -1).permute(2, 0, 1, 3)
    )


@fault("NaN in an image", "nan-origin")
def _nan_image(world: World) -> None:
    world.x = world.x.clone()
    world.x[17, 0, 3, 3] = float("nan")


@fault("log of 0", "nan-origin")
def _log(world: World) -> None:
    world.model.drop = Logarithm()


class Logarithm(nn.Module):
    """Takes the logarithm of what ReLU leaves."""

    def forward(self, x: Tensor) -> Tensor:
        """Return -inf for 0."""
        return torch.log(x.relu() * 0)


@fault("root of 0 in the backward pass", "nan-origin")
def _root(world: World) -> None:
    world.model.drop = Root()


class Root(nn.Module):
    """Takes the root of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """Its slope at 0 is infinite."""
        return torch.sqrt((x - x.detach()) ** 2) + x


@fault("workers with equal random numbers", "identical-augmentation")
def _workers(world: World) -> None:
    world.data = torch.utils.data.DataLoader(Noisy(world.x, world.y), batch_size=32, num_workers=2)
    world.loop = {"in_process": True}


class Noisy(torch.utils.data.Dataset):
    """Adds noise from a generator of its own."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.random = x, y, np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        """Return a noisy image and its class."""
        noise = torch.from_numpy(self.random.normal(0, 0.1, self.x[row].shape)).float()
        return self.x[row] + noise, self.y[row]


@fault("one unit in a hidden layer", "underfitting")
def _narrow(world: World) -> None:
    world.model.head = nn.Sequential(nn.Linear(world.model.head.in_features, 1), nn.Tanh(), nn.Linear(1, 10))


@fault("weight decay far too strong", "underfitting")
def _decayed(world: World) -> None:
    world.optimizer = adam(2e-3, weight_decay=5.0)


@fault("network trained too long on little", "overfitting")
def _overfitted(world: World) -> None:
    generator = torch.Generator().manual_seed(world.seed)
    world.x = world.x[:60] + 1.2 * torch.randn(60, 1, 8, 8, generator=generator)
    world.y = world.y[:60]
    world.held = (world.held[0] + 1.2 * torch.randn(world.held[0].shape, generator=generator), world.held[1])
    world.validation = world.held
    optimizer = torch.optim.Adam(world.model.parameters(), lr=3e-3)
    world.model.train()
    for _ in range(300):
        optimizer.zero_grad()
        functional.cross_entropy(world.model(world.x), world.y).backward()
        optimizer.step()
