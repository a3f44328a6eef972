"""What a frozen base makes of images, computed once and kept on disk under the content of both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.data import Dataset, Preprocessing
from striate.files import cache_folder, read_tensors, write_tensors
from striate.train.evaluate import predict_logits
from striate.train.machine import Configuration
from striate.train.optimizer import without_compiler
from striate.tune.head import Head, put

__all__ = ["DECAYS", "accuracy_of_scikit_learn", "base_features", "choose_decay", "fit_head"]

FORMAT = b"striate features 1"
"""Changes where the same network and images would give other numbers."""
HASHED_AT_ONCE = 256
DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)
"""L2 terms that are tried."""


def base_features(
    network: nn.Module,
    head: Head,
    dataset: Dataset,
    *,
    preprocessing: Preprocessing,
    machine: Configuration,
    cache: Path | None = None,
) -> tuple[Tensor, bool]:
    """Return what the head would read for each image, in evaluation mode.

    Args:
        network: Left as it is.
        head: Its head, whose inputs are wanted.
        dataset: N images.
        preprocessing: Of the source.
        machine: Device, engine and number format.
        cache: Folder of kept features; None: ``features`` in striate's cache.

    Returns:
        Features (N, D), float32, and whether they were found on disk.
    """
    key = content_key(network, head, dataset, preprocessing=preprocessing, machine=machine)
    path = (cache or cache_folder("features")) / f"{key}.safetensors"
    if path.is_file():
        return read_tensors(path)["features"], True
    with _without_head(network, head):
        features, _ = predict_logits(network, dataset, preprocessing=preprocessing, configuration=machine)
    features = features.flatten(1).contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, {"features": features})
    return features, False


def content_key(
    network: nn.Module, head: Head, dataset: Dataset, *, preprocessing: Preprocessing, machine: Configuration
) -> str:
    """Return a hash of all that features depend on: weights, structure, pixels, preprocessing, number format."""
    digest = hashlib.blake2b(FORMAT, digest_size=20)
    digest.update(repr((str(network), head.name, preprocessing.to_dict(), machine.bf16)).encode())
    for name, tensor in network.state_dict().items():
        if not name.startswith(f"{head.name}."):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    for first in range(0, len(dataset), HASHED_AT_ONCE):
        canvas = dataset.images.gather(np.arange(first, min(first + HASHED_AT_ONCE, len(dataset))))
        digest.update(canvas.sizes.numpy().tobytes())
        for image, (height, width) in zip(canvas.pixels, canvas.sizes.tolist(), strict=True):
            own = image[:, :height, :width] if image.ndim == 3 else image
            digest.update(own.contiguous().numpy().tobytes())
    return digest.hexdigest()


def fit_head(
    features: Tensor, targets: Tensor, *, num_classes: int, decay: float, bias: bool = True, steps: int = 200
) -> nn.Linear:
    """Fit a linear head to features: logistic regression, whose minimum is unique.

    Features are standardised while it is fitted (scaled only, without a bias), and the head takes them as they are.

    Args:
        features: (N, D).
        targets: Classes (N,).
        num_classes: Outputs.
        decay: Factor of half the squared weights of standardised features, added to the mean cross-entropy.
        bias: Whether the head has one.
        steps: At most.
    """
    mean, std = features.mean(0) * bias, features.std(0, unbiased=False).clamp_min(1e-6)
    standard = (features - mean) / std
    head = nn.Linear(features.shape[1], num_classes, bias=bias)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    with without_compiler():
        optimizer = torch.optim.LBFGS(head.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(head(standard), targets) + 0.5 * decay * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        head.weight.div_(std)
        if bias:
            head.bias.sub_(head.weight @ mean)
    return head


def choose_decay(
    features: Tensor, targets: Tensor, *, num_classes: int, parts: list[tuple[Tensor, Tensor]]
) -> dict[float, float]:
    """Return the accuracy on held-out images of a head with each decay of `DECAYS`.

    Args:
        features: (N, D).
        targets: Classes (N,).
        num_classes: Outputs.
        parts: Indices to learn from and to hold out, one pair for each fold.
    """
    found = {}
    for decay in DECAYS:
        right = held = 0
        for learned, out in parts:
            head = fit_head(features[learned], targets[learned], num_classes=num_classes, decay=decay)
            with torch.no_grad():
                right += int((head(features[out]).argmax(1) == targets[out]).sum())
            held += len(out)
        found[decay] = right / held
    return found


def accuracy_of_scikit_learn(
    features: Tensor, targets: Tensor, *, decay: float, parts: list[tuple[Tensor, Tensor]]
) -> float:
    """Return the same accuracy of scikit-learn's logistic regression, as a check."""
    from sklearn.linear_model import LogisticRegression

    x, y = features.numpy(), targets.numpy()
    mean, std = x.mean(0), np.maximum(x.std(0), 1e-6)
    right = held = 0
    for learned, out in parts:
        regression = LogisticRegression(C=1 / (decay * len(learned)), max_iter=1000)
        regression.fit((x[learned] - mean) / std, y[learned])
        right += int((regression.predict((x[out] - mean) / std) == y[out]).sum())
        held += len(out)
    return right / held


@contextmanager
def _without_head(network: nn.Module, head: Head) -> Iterator[None]:
    put(network, head.name, nn.Identity())
    try:
        yield
    finally:
        put(network, head.name, head.module)
