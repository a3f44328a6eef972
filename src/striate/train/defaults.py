"""What `striate train DATA` takes when it is not told: the network, the image size, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from striate import models
from striate.data import Splits, load
from striate.data.named import NAMES
from striate.errors import ModelError
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
"""Side in pixels to which a folder's images are brought: a compromise between detail and the speed of a CPU."""


def choose_model(splits: Splits) -> str:
    """Name the network for a data set: its own, or by the size of the images."""
    if splits.name in MODEL_BY_DATA:
        return MODEL_BY_DATA[splits.name]
    if splits.kind == "vectors":
        raise ModelError(
            "train: `model` must be given for vectors: striate's own MLPs have fixed inputs (mlp_iris, mlp_boston). "
            "Pass your nn.Module, or package.module:callable."
        )
    size = splits.train.images.image_size
    if size is not None and max(size) <= 16:
        return "cnn_cifar"
    return "resnet20" if size is not None and max(size) <= 64 else "resnet18"


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
        return data
    info = models.info(model) if isinstance(model, str) and ":" not in model else None
    is_named = isinstance(data, str) and data.lower() in NAMES  # even where a folder here is called the same
    if image_size is None and not is_named and isinstance(data, str | Path) and Path(data).exists():
        image_size = _photograph_size(info)
    splits = load(data, image_size=image_size, report=_Report(show), **arguments)
    for name, reason in splits.skipped[:10]:
        show.warning(f"left out {name}: {reason}")
    if image_size is not None or info is None or splits.kind == "vectors":
        return splits
    size = splits.train.images.image_size
    needs = _needed_size(info, size)
    return splits if needs is None else load(data, image_size=needs, **arguments)


def _photograph_size(info: models.ModelInfo | None) -> int:
    if info is None or len(info.input_size) != 3:
        return PHOTOGRAPH_SIZE
    return min(PHOTOGRAPH_SIZE, info.input_size[1]) if not _is_fixed(info) else info.input_size[1]


def _needed_size(info: models.ModelInfo, size: tuple[int, int] | None) -> int | None:
    """Return the size to resize to where a network cannot take the images as they are."""
    if size is None or len(info.input_size) != 3:
        return None
    smallest = info.min_image_size or 1
    if size[0] != size[1] or min(size) < smallest or (_is_fixed(info) and size[0] != info.input_size[1]):
        return info.input_size[1]
    return None


def _is_fixed(info: models.ModelInfo) -> bool:
    """Whether the network exists for one image size only."""
    return info.min_image_size == info.input_size[1]


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
