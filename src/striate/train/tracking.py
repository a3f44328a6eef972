"""Optional tracking of a run's numbers by another tool; striate's own `metrics.jsonl` is always written.

`open_tracker(kind="tensorboard", folder=run_folder)` writes TensorBoard event files: one curve for each name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from striate.errors import MissingExtraError, ResourceError, UsageError, nearest

__all__ = ["KINDS", "Tracker", "open_tracker"]

KINDS = ("tensorboard",)


class Tracker(Protocol):
    """Where the numbers of a run go, beside the run folder's own files."""

    def log(self, step: int, values: Mapping[str, float | None]) -> None:
        """Record named numbers at `step` (optimizer steps or epochs, increasing); None is left out."""

    def close(self) -> None:
        """Write what is still buffered; closing twice is harmless."""


class _NoTracker:
    """Tracks nothing, so that the loop needs no `if`."""

    def log(self, step: int, values: Mapping[str, float | None]) -> None:
        """Ignore the numbers."""

    def close(self) -> None:
        """Do nothing."""


class _TensorBoard:
    """Scalars in TensorBoard event files."""

    def __init__(self, *, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError(
                'open_tracker: `kind` "tensorboard" needs the tensorboard package, which is not installed. '
                'Run `pip install "striate[track]"`.'
            ) from error
        try:
            self._writer = SummaryWriter(log_dir=str(folder))
        except OSError as error:
            raise ResourceError(
                f"open_tracker: `folder` must be a folder that can be written, got {folder} ({error.strerror}). "
                "Choose another folder for the run."
            ) from error

    def log(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add one point to each named curve and flush: once per epoch this costs nothing, and a kill loses nothing."""
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                self._writer.add_scalar(name, value, global_step=step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


def open_tracker(kind: str | None, folder: Path) -> Tracker:
    """Open the tracker named `kind`, or one that does nothing for None.

    Args:
        kind: None or "tensorboard".
        folder: Where its files go; made if it is not there. TensorBoard: ``tensorboard --logdir FOLDER``.

    Raises:
        UsageError: `kind` is not known.
        MissingExtraError: The package behind `kind` is not installed.
        ResourceError: `folder` cannot be written.

    Example:
        >>> open_tracker(None, Path("runs/x")).log(1, {"train_loss": 0.5})
    """
    if kind is None:
        return _NoTracker()
    if kind == "tensorboard":
        return _TensorBoard(folder=folder)
    raise UsageError(
        f'open_tracker: `kind` must be None or one of {", ".join(KINDS)}, got "{kind}".{nearest(kind, KINDS)} '
        "Leave it out to keep only the run folder's own files."
    )
