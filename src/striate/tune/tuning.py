"""`tune`: what a network knows, for data that is small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from striate.data import Augmentation
from striate.errors import UsageError
from striate.train.machine import select_device, thread_count
from striate.train.progress import Progress
from striate.train.run import MODELS, Run
from striate.tune.modes import MODES, run_mode
from striate.tune.saving import save_run
from striate.tune.source import open_source
from striate.tune.task import MINUTES, Options, few_of, load_for, prepare

__all__ = ["tune"]


def tune(
    source: str | Path | Run | nn.Module,
    data: Any,
    *,
    mode: str = "gradual",
    model: MODELS | None = None,
    head: str | None = None,
    image_size: int | None = None,
    in_channels: int | None = None,
    images_per_class: int | None = None,
    unfreeze: int | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    pull: float = 0.0,
    minutes: float = MINUTES,
    augmentation: Augmentation | None = None,
    output: str | Path = "runs",
    experiment: str | None = None,
    skip_bad: bool = False,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    engine: str = "auto",
    progress: Progress | None = None,
) -> Run:
    """Tune a trained network to new data and return the run, evaluated and reported.

    Args:
        source: A run, a weights file, the name of a network with published weights, ``timm:NAME``,
            ``torchvision:NAME``, or a module with its weights.
        data: Anything `striate.data.load` takes, whose images are prepared as the source's were; or `Splits`.
        mode: ``features`` fits a linear head to what the frozen base makes of the images, once; ``head`` trains a new
            head on the frozen base with augmentation; ``full`` trains everything from the start; ``gradual`` trains the
            head, then one stage more at a time, and chooses by held-out images how many.
        model: For a weights file: which network it is of. For a run of a network of one's own: that network.
        head: Path of the classifier head, where it is not found.
        image_size: Side of the images in pixels; None for the source's.
        in_channels: 1 or 3; None for the source's.
        images_per_class: Learn from so many images of each class; None: all.
        unfreeze: Stages that learn, the head included; ``gradual`` alone; None chooses.
        epochs: Of each alternative; None: about as many as make 800 steps, from 6 to 60.
        lr: Of the head; the base learns at lower rates. None tries two.
        pull: Factor of the L2 term toward the source weights of the base; ``full`` and ``gradual`` alone.
        minutes: To be spent on choosing; alternatives that do not fit are reported as not tried.
        augmentation: None: strong for small data, by the kind of images.
        output: Folder in which the run folder is made.
        experiment: Its name; None makes one.
        skip_bad: Leave unreadable images out.
        seed: Decides split, head, order and augmentation.
        device: As for `train`.
        threads: As for `train`.
        engine: As for `train`.
        progress: Where to show what happens; None prints to standard error.

    Raises:
        StriateError: one of its kinds, each with what is wrong and what to do.
    """
    if mode not in MODES:
        raise UsageError(f"tune: `mode` must be one of {', '.join(MODES)}, got {mode!r}.")
    if images_per_class is not None and images_per_class < 2:
        raise UsageError(
            f"tune: `images_per_class` must be at least 2, to learn from one and hold one out, got {images_per_class}."
        )
    options = Options(
        head=head,
        unfreeze=unfreeze,
        epochs=epochs,
        lr=lr,
        pull=pull,
        minutes=minutes,
        augmentation=augmentation,
        seed=seed,
        device=select_device(device),
        engine=engine,
    )
    _refuse_idle(options, mode)
    show = progress or Progress()
    with thread_count(threads or torch.get_num_threads()):
        opened = open_source(source, model=model, image_size=image_size, in_channels=in_channels)
        splits = load_for(opened, data, skip_bad=skip_bad, seed=seed, show=show)
        if images_per_class is not None:
            splits = replace(splits, train=few_of(splits.train, images_per_class, seed=seed))
        task = prepare(opened, splits, options, show=show, base_learns=mode != "features")
        return save_run(task, run_mode(task, mode), output=Path(output), experiment=experiment)


def _refuse_idle(options: Options, mode: str) -> None:
    """Refuse what a mode would not look at."""
    idle = {
        "features": ("unfreeze", "epochs", "lr", "pull", "augmentation"),
        "head": ("unfreeze", "pull"),
        "full": ("unfreeze",),
    }
    usual = Options()
    for name in idle.get(mode, ()):
        if getattr(options, name) != getattr(usual, name):
            raise UsageError(
                f"tune: `{name}` must be left out with mode {mode}, which has no use for it. "
                "Leave it out, or take mode gradual."
            )
