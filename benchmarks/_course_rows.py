"""The table of accuracies to reach, as data, and the folds of the one row that is cross-validated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ROWS", "Row", "stratified_folds"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table: what is trained, what course texts report, what is to be reached."""

    key: str
    title: str
    model: str
    """Name in `striate.models`."""
    data: str
    recipe: str
    """Name in `striate.train.RECIPES`."""
    course: str
    """What the course texts report."""
    reach: float | None
    """Mean test accuracy to reach, 0 to 1; None where only the interval is asked for."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    folds: int = 0
    """Folds of a stratified cross-validation; 0 uses the data set's own test split."""


ROWS = (
    Row(key="mlp-mnist", title="MLP 109,386", model="mlp_mnist", data="mnist", recipe="mlp-mnist",
        course="98.36 %", reach=0.984),
    Row(key="lenet5-mnist", title="LeNet-5 44,426", model="lenet5", data="mnist", recipe="lenet5-mnist",
        course="99.36 %", reach=0.9945),
    Row(key="mlp-cifar", title="MLP 6,246,410", model="mlp_cifar", data="cifar10", recipe="mlp-cifar",
        course='55 %, "65 % with tuning"', reach=0.60),
    Row(key="cnn-cifar", title="CNN 545,098", model="cnn_cifar", data="cifar10", recipe="cnn-cifar",
        course="78 %", reach=0.79),
    Row(key="cifar-fast", title="a shipped recipe", model="airbench95", data="cifar10", recipe="cifar-fast",
        course='"state of the art above 97 %"', reach=0.915, seeds=(0, 1, 2)),
    Row(key="mlp-iris", title="MLP 115", model="mlp_iris", data="iris", recipe="vectors",
        course="98 %", reach=None, folds=10),
)  # fmt: skip


def stratified_folds(labels: npt.NDArray[np.int64], *, folds: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Divide rows into folds that hold the same number of each class, give or take one.

    Args:
        labels: Class of each row (N,).
        folds: How many.
        seed: Of the order within each class.

    Returns:
        The rows of each fold, ascending; each row is in exactly one of them.

    Example:
        >>> folds = stratified_folds(np.repeat([0, 1, 2], 50), folds=10, seed=0)
        >>> len(folds), np.bincount(np.repeat([0, 1, 2], 50)[folds[0]]).tolist()
        (10, [5, 5, 5])
    """
    random = np.random.default_rng(seed)
    fold_of = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        fold_of[rows] = np.arange(len(rows)) % folds
    return [np.flatnonzero(fold_of == fold) for fold in range(folds)]
