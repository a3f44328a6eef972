"""Tuning beside training from scratch, on the same images: learning curves over the number of training images."""

from __future__ import annotations

import statistics as numbers
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from striate.data import Splits
from striate.errors import UsageError
from striate.files import write_json, write_text
from striate.train.machine import select_device, thread_count
from striate.train.progress import Progress
from striate.train.run import MODELS, Run, new_run_folder
from striate.tune.fitting import accuracy_of
from striate.tune.modes import MODES as TUNED
from striate.tune.modes import run_mode
from striate.tune.page import comparison_page
from striate.tune.source import Source, open_source
from striate.tune.task import Options, few_of, load_for, prepare

__all__ = ["COMPARED", "SIZES", "Comparison", "Point", "compare"]

COMPARED = ("scratch", "features", "head", "gradual")
SIZES = (5, 10, 50, 200, None)
"""Training images of a class; None: all."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """Test accuracies of one mode at one number of training images."""

    mode: str
    images_per_class: int
    """At most: a class that has fewer gives all it has."""
    is_all: bool
    accuracies: tuple[float, ...]
    """One for each seed."""
    seconds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return numbers.fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds; 0 of one."""
        return numbers.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` returns."""

    source: str
    data: str
    test_images: int
    points: tuple[Point, ...]

    def __str__(self) -> str:
        sizes = sorted({(p.images_per_class, p.is_all) for p in self.points})
        head = ["images a class", *(f"{n:,}{' (all)' if is_all else ''}" for n, is_all in sizes)]
        rows = [head]
        for mode in dict.fromkeys(p.mode for p in self.points):
            own = {p.images_per_class: p for p in self.points if p.mode == mode}
            cells = [f"{100 * own[n].mean:.1f} ± {100 * own[n].deviation:.1f}" if n in own else "" for n, _ in sizes]
            rows.append([mode, *cells])
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "source": self.source,
            "data": self.data,
            "test_images": self.test_images,
            "points": [
                {
                    "mode": p.mode,
                    "images_per_class": p.images_per_class,
                    "is_all": p.is_all,
                    "accuracies": list(p.accuracies),
                    "mean": p.mean,
                    "deviation": p.deviation,
                    "seconds": list(p.seconds),
                }
                for p in self.points
            ],
        }


def compare(
    source: str | Path | Run | nn.Module,
    data: Any,
    *,
    modes: Sequence[str] = COMPARED,
    sizes: Sequence[int | None] = SIZES,
    seeds: Sequence[int] = (0,),
    model: MODELS | None = None,
    head: str | None = None,
    image_size: int | None = None,
    in_channels: int | None = None,
    unfreeze: int | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    pull: float = 0.0,
    minutes: float = 2.0,
    output: str | Path | None = "runs",
    skip_bad: bool = False,
    device: str = "auto",
    threads: int | None = None,
    engine: str = "auto",
    progress: Progress | None = None,
) -> Comparison:
    """Tune in several modes, and train from scratch, with few and many images; all are measured on the same test split.

    Args:
        source: As for `tune`.
        data: As for `tune`; it must have a test split, or one is divided off.
        modes: Of ``scratch``, ``features``, ``head``, ``full``, ``gradual``.
        sizes: Training images of a class; None: all. More hold those that fewer hold.
        seeds: Each decides which images, the head, the order and the augmentation.
        model: As for `tune`.
        head: As for `tune`.
        image_size: As for `tune`.
        in_channels: As for `tune`.
        unfreeze: As for `tune`.
        epochs: As for `tune`; the same for all modes.
        lr: As for `tune`.
        pull: As for `tune`.
        minutes: For the choice within each mode at each size.
        output: Folder for ``comparison.json`` and ``comparison.html``; None writes nothing.
        skip_bad: As for `tune`.
        device: As for `tune`.
        threads: As for `tune`.
        engine: As for `tune`.
        progress: As for `tune`.

    Raises:
        StriateError: as for `tune`.
    """
    known = (*TUNED, "scratch")
    if not modes or any(mode not in known for mode in modes) or not sizes or not seeds:
        raise UsageError(f"compare: `modes` must be of {', '.join(known)}, with sizes and seeds, got {modes!r}.")
    options = Options(
        head=head, unfreeze=unfreeze, epochs=epochs, lr=lr, pull=pull, minutes=minutes, device=select_device(device),
        engine=engine,
    )  # fmt: skip
    show = progress or Progress()
    with thread_count(threads or torch.get_num_threads()):
        opened = open_source(source, model=model, image_size=image_size, in_channels=in_channels)
        splits = load_for(opened, data, skip_bad=skip_bad, seed=0, show=show)
        points = _measured(opened, splits, options, modes=modes, sizes=sizes, seeds=seeds, show=show)
    test = splits.train if splits.test is None else splits.test
    comparison = Comparison(source=opened.name, data=splits.name, test_images=len(test), points=points)
    if output is not None:
        folder = new_run_folder(Path(output), f"{splits.name}-{Path(opened.name).name}-comparison")
        write_json(folder / "comparison.json", comparison.to_dict())
        write_text(folder / "comparison.html", comparison_page(comparison))
        show.note(f"report   {folder / 'comparison.html'}")
    return comparison


def _measured(
    source: Source,
    splits: Splits,
    options: Options,
    *,
    modes: Sequence[str],
    sizes: Sequence[int | None],
    seeds: Sequence[int],
    show: Progress,
) -> tuple[Point, ...]:
    """Tune in each mode with each number of images and each seed; how to compute is measured once."""
    most = int(np.bincount(splits.train.labels.numpy()).max())
    found: dict[tuple[str, int, bool], list[tuple[float, float]]] = {}
    machine = None
    for seed in seeds:
        for size in sizes:
            few = splits if size is None else replace(splits, train=few_of(splits.train, size, seed=seed))
            task = prepare(source, few, replace(options, seed=seed), show=Progress(quiet=True), machine=machine)
            machine = task.setting.machine
            images = most if size is None else min(size, most)
            for mode in modes:
                begin = time.monotonic()
                network = run_mode(task, mode).network
                seconds = time.monotonic() - begin
                accuracy = accuracy_of(network, task.evaluated[1], setting=task.setting)
                found.setdefault((mode, images, size is None), []).append((accuracy, seconds))
                show.note(
                    f"{mode}, {images:,} images a class, seed {seed}: {100 * accuracy:.1f} % of the test images, "
                    f"{seconds:.0f} s"
                )
    return tuple(
        Point(
            mode=mode,
            images_per_class=images,
            is_all=is_all,
            accuracies=tuple(accuracy for accuracy, _ in own),
            seconds=tuple(seconds for _, seconds in own),
        )
        for (mode, images, is_all), own in found.items()
    )
