"""What `striate train DATA` takes when it is not told: the network, the image size, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from striate import models
from striate.data import Splits, load
from striate.errors import ModelError, UsageError
from striate.train.progress import Progress

__all__ = ["choose_model", "prepare_splits"]

MODEL_BY_DATA = {
    "digits": "cnn_cifar",
    "iris": "mlp_iris",
    "mnist": "lenet5",
    "fashion-mnist": "lenet5",
    "cifar10": "resnet20",
    "cifar100": "resnet20",
}
"""Networks for the named data sets."""

PHOTOGRAPH_SIZE = 128
"""Side in pixels to which larger images of a folder are brought: a compromise between detail and the speed of a CPU."""


def choose_model(splits: Splits) -> str:
    """Name the network for a data set: its own, or by the size of the images."""
    if splits.name in MODEL_BY_DATA:
        return MODEL_BY_DATA[splits.name]
    if splits.kind == "vectors":
        raise ModelError(
            "train: `model` must be given for vectors: striate's own MLPs have fixed inputs (mlp_iris, mlp_boston). "
            "Pass your nn.Module, or package.module:callable."
        )
    size = splits.image_size or PHOTOGRAPH_SIZE
    if size <= 16:
        return "cnn_cifar"
    return "resnet20" if size <= 64 else "resnet18"


def prepare_splits(
    data: Any, *, model: Any, image_size: int | None, options: Mapping[str, Any], show: Progress
) -> Splits:
    """Load data at a size that the network can take.

    Args:
        data: As `striate.data.load`.
        model: As `train`; a name in the registry brings its smallest and its published image size.
        image_size: What the user asked for; None finds one.
        options: Further arguments of `striate.data.load`; None stands for its default.
        show: Progress of decoding.
    """
    arguments = {key: value for key, value in options.items() if value is not None}
    if isinstance(data, Splits):
        if image_size is not None:
            raise UsageError(
                f"train: `image_size` must be left out for data that is loaded already, got {image_size}. "
                "Give it to striate.data.load."
            )
        return data
    info = models.info(model) if isinstance(model, str) and ":" not in model else None
    splits = load(data, image_size=image_size, largest_size=PHOTOGRAPH_SIZE, report=_Report(show), **arguments)
    for name, reason in splits.skipped[:10]:
        show.warning(f"left out {name}: {reason}")
    if image_size is not None or info is None or splits.kind == "vectors":
        return splits
    needs = _needed_size(info, splits.image_size)
    return splits if needs is None else load(data, image_size=needs, **arguments)


def _needed_size(info: models.ModelInfo, size: int | None) -> int | None:
    """Return the size to resize to where a network cannot take the images as they are."""
    if size is None or info.image_size is None or info.min_image_size is None:
        return None
    if size < info.min_image_size or (_is_fixed(info) and size != info.image_size):
        return info.image_size
    return None


def _is_fixed(info: models.ModelInfo) -> bool:
    """Whether the network exists for one image size only."""
    return info.min_image_size == info.image_size


class _Report:
    """Shows the decoding of a folder, in steps of a tenth."""

    def __init__(self, show: Progress) -> None:
        self._show = show
        self._tenths = 0

    def __call__(self, done: int, total: int) -> None:
        tenths = 10 * done // max(1, total)
        if tenths > self._tenths:
            self._tenths = tenths
            self._show.note(f"decoding images: {done:,} of {total:,}")
