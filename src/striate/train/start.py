"""From a few words to a running training: `train` and `resume`, which prepare everything `loop.fit` needs."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from striate.data import Splits, load
from striate.errors import DataError, UsageError
from striate.train import checkpoint as checkpoints
from striate.train import prepare
from striate.train.choice import choose_configuration
from striate.train.defaults import prepare_splits
from striate.train.distributed import Processes, process_group, share_text
from striate.train.engine import is_usable
from striate.train.finish import finish
from striate.train.journal import Journal
from striate.train.loop import fit
from striate.train.machine import (
    Configuration,
    describe_machine,
    keep_freed_memory,
    select_device,
    thread_count,
)
from striate.train.network import build_network
from striate.train.progress import Progress
from striate.train.recipe import Recipe
from striate.train.recipes import check_overrides, get_recipe
from striate.train.run import MODELS, Run, RunConfig, new_run_folder
from striate.train.tracking import open_tracker
from striate.train.training import Training

__all__ = ["resume", "train", "typed_command"]


def train(
    data: Any,
    *,
    model: MODELS | None = None,
    recipe: str | Recipe | None = None,
    output: str | Path = "runs",
    experiment: str | None = None,
    weights: str | Path | None = None,
    image_size: int | None = None,
    in_channels: int | None = None,
    skip_bad: bool = False,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    bf16: bool | None = None,
    channels_last: bool | None = None,
    compile: bool | None = None,
    engine: str = "auto",
    tracker: str | None = None,
    keep_epochs: bool = False,
    progress: Progress | None = None,
    **overrides: Any,
) -> Run:
    """Train a network on images and return its run folder, evaluated and reported.

    Args:
        data: Anything `striate.data.load` takes: a name, a folder of class folders, a CSV, or ``(images, labels)``.
        model: Name in `striate.models`, ``package.module:callable``, a callable or a module; None picks by the data.
        recipe: Name in `RECIPES` or a `Recipe`; None picks by the model and the data.
        output: Folder in which the run folder is made; nothing in it is ever overwritten.
        experiment: Name of the run folder; None makes ``DATA-MODEL``.
        weights: A weights file, or ``imagenet`` for the published ones, to start from. A head of another size is left
            out, and an input layer is adapted from RGB to grey images or the other way round.
        image_size: Side of the network's input in pixels; None picks by the data and the model.
        in_channels: 1 for grey, 3 for colour; None keeps what the data has.
        skip_bad: Leave unreadable images out and list them, instead of stopping.
        seed: Decides the split, the initial weights, the order and the augmentation.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: CPU threads of PyTorch; None keeps its own choice.
        bf16: Compute in bfloat16 with float32 weights; None measures.
        channels_last: Memory layout of images; None measures.
        compile: Use `torch.compile`; None measures on a GPU and is False on a CPU.
        engine: ``striate`` computes in striate's own engine, ``torch`` in PyTorch, ``auto`` in the faster of the two.
        tracker: ``tensorboard`` writes its event files into the run folder too.
        keep_epochs: Keep the weights before the first epoch and after each, as ``weights/epoch-000.safetensors`` ...,
            for `striate.see.evolution`; a resumed run goes on with it.
        progress: Where to show what happens; None prints to standard error.
        **overrides: Single values of the recipe and its augmentation, such as ``epochs=5, lr=0.05, cutout=8``.

    Raises:
        StriateError: one of its kinds, each with what is wrong and what to do.

    Example:
        ``striate.train("digits", epochs=3).evaluation.top1``
    """
    base = get_recipe(recipe) if isinstance(recipe, str) else recipe
    checked = check_overrides(overrides, base=base)  # a wrong key stops here, before any data is read
    device = select_device(device)
    is_usable(engine, device=device, bf16=bf16)  # what cannot be had is said now
    choices = {"bf16": bf16, "channels_last": channels_last, "compile": compile}
    with _session(progress, device=device, threads=threads) as session:
        data_options = {
            "val_fraction": checked.val_fraction,
            "skip_bad": skip_bad,
            "seed": seed,
            "in_channels": in_channels,
        }
        splits = prepare_splits(data, model=model, image_size=image_size, options=data_options, show=session.show)
        start = prepare.start(
            splits,
            model=model,
            recipe=base,
            overrides=overrides,
            weights=weights,
            seed=seed,
            device=device,
            show=session.show,
        )
        config = _measured_config(start, splits, session=session, choices=choices, engine=engine, seed=seed)
        folder = session.run_folder(Path(output), experiment or f"{splits.name}-{start.spec.name}")
        run = Run(folder, model=start.source, config=config)
        if session.processes.is_main:
            run.save_config()
        torch.set_num_threads(config.machine.threads)
        training = Training(run=run, splits=splits, network=start.network, processes=session.processes)
        _announce(training, session.show)
        if keep_epochs:
            training.save_epoch()
        return _run_to_the_end(training, session=session, tracker=tracker)


def resume(
    folder: str | Path,
    *,
    model: MODELS | None = None,
    data: Any = None,
    tracker: str | None = None,
    progress: Progress | None = None,
) -> Run:
    """Go on with an interrupted training where it stopped: the same steps as if it never had.

    Args:
        folder: The run folder.
        model: Only for a network of your own, see `Run`.
        data: Only for a run that was trained on arrays: the same arrays.
        tracker: ``tensorboard`` or None.
        progress: Where to show what happens; None prints to standard error.

    Raises:
        ModelError: the folder is no run, or holds no usable checkpoint.
    """
    run = Run(folder, model=model)
    machine = run.config.machine
    select_device(machine.device)
    with _session(progress, device=machine.device, threads=machine.threads) as session:
        splits = run.load_data() if data is None else load(data, **_split_options(run))
        keep_freed_memory()
        network = build_network(run.config.model, source=model)
        prepare.set_dropout(network, run.config.recipe)
        checkpoint, faults = checkpoints.load_newest(run.folder / "checkpoints")
        if len(splits.train) != run.config.num_train:
            raise DataError(
                f"resume: the data must be what the run began with, {run.config.num_train:,} training samples, "
                f"got {len(splits.train):,}. Put back what was added or removed, or start again with `striate train`."
            )
        training = Training(run=run, splits=splits, network=network, processes=session.processes)
        training.restore(checkpoint)
        for fault in faults:
            session.show.warning(f"passed over a newer checkpoint: {fault}")
        journal = Journal(run.folder, enabled=session.processes.is_main)
        journal.keep(lambda event: not _is_done_again(event, after_epoch=training.epoch))
        journal.add("resume", epoch=training.epoch, step_in_epoch=training.step_in_epoch)
        session.show.note(f"resuming {run.folder} after epoch {training.epoch}, step {training.step_in_epoch}")
        return _run_to_the_end(training, session=session, tracker=tracker)


def _measured_config(
    start: prepare.Start,
    splits: Splits,
    *,
    session: _Session,
    choices: Mapping[str, bool | None],
    engine: str,
    seed: int,
) -> RunConfig:
    """Find the fastest way to compute on this machine, and write down everything the run is made of."""
    # Not before the data is loaded: what a training needs once is cheaper from fresh pages, given back afterwards.
    first = Configuration(device=start.device, threads=torch.get_num_threads(), keeps_freed_memory=keep_freed_memory())
    machine, measured = choose_configuration(
        start.network,
        start.example,
        recipe=start.recipe,
        start=first,
        choices=choices,
        engine=engine,
        num_samples=len(splits.train),
    )
    # Processes that measured for themselves could choose differently, and DDP needs equal layouts.
    shared = share_text(json.dumps(machine.to_dict()), processes=session.processes)
    return RunConfig(
        model=start.spec,
        data=dict(splits.source),
        class_names=splits.class_names,
        preprocessing=start.preprocessing,
        recipe=start.recipe,
        machine=Configuration.from_dict(json.loads(shared)),
        seed=seed,
        num_train=len(splits.train),
        num_params=sum(parameter.numel() for parameter in start.network.parameters()),
        environment=describe_machine(),
        measured=measured,
        command=typed_command(),
    )


def _is_done_again(event: Mapping[str, Any], *, after_epoch: int) -> bool:
    return event.get("event") == "evaluation" or (event.get("event") == "epoch" and event["epoch"] > after_epoch)


def _split_options(run: Run) -> dict[str, Any]:
    """The options of `load` that divide arrays as they were divided when the run began."""
    return {key: value for key, value in run.config.data.items() if key not in ("source", "root")}


def typed_command() -> str:
    """Return the command line that started this, or nothing where it was not striate's."""
    is_command = Path(sys.argv[0]).name in ("striate", "__main__.py")
    return shlex.join(["striate", *sys.argv[1:]]) if is_command else ""


def _announce(training: Training, show: Progress) -> None:
    """Say before the first step what will happen: data, network, recipe, machine, folder."""
    config, splits = training.run.config, training.splits
    parts = (("train", splits.train), ("validation", splits.val), ("test", splits.test))
    counts = ", ".join(f"{len(part):,} {name}" for name, part in parts if part is not None)
    spec, recipe = config.model, config.recipe
    shape = f"{spec.in_channels} x {spec.image_size} x {spec.image_size}" if spec.image_size else "vectors"
    show.note(f"data     {splits.name}: {counts}; {len(splits.class_names)} classes")
    show.note(f"model    {spec.name}: {config.num_params:,} parameters, input {shape}")
    show.note(f"recipe   {recipe.name}: {recipe.summary()}")
    compared = ("", ", in which the training is too short to time others:", ", the fastest of those tried:")
    show.note(f"machine  {config.machine.describe()}{compared[min(2, len(config.measured))]}")
    for name, speed in config.measured.items():
        show.note(f"         {speed:>10,.0f} images/s  {name}")
    show.note(f"run      {training.run.folder}")


def _run_to_the_end(training: Training, *, session: _Session, tracker: str | None) -> Run:
    """Fit, evaluate, report."""
    run, is_main = training.run, session.processes.is_main
    journal = Journal(run.folder, enabled=is_main)
    tracking = open_tracker(tracker if is_main else None, run.folder / "tensorboard")
    best = training.best_accuracy if training.best_epoch else None
    session.show.start(epochs=run.config.recipe.epochs, first_epoch=training.epoch + 1, best=best)
    try:
        fit(training, progress=session.show, journal=journal, tracker=tracking)
    finally:
        session.show.finish()
        tracking.close()
    finish(training, journal=journal, show=session.show)
    return run


@dataclass(frozen=True, kw_only=True)
class _Session:
    """What holds for the whole of a call: the processes, the progress display, the process's settings."""

    processes: Processes
    show: Progress

    def run_folder(self, output: Path, name: str) -> Path:
        """Create the run folder in the main process and tell the others its name."""
        if self.processes.world_size == 1:
            return new_run_folder(output, name)
        made = str(new_run_folder(output, name)) if self.processes.is_main else ""
        return Path(share_text(made, processes=self.processes))


@contextlib.contextmanager
def _session(progress: Progress | None, *, device: str, threads: int | None) -> Iterator[_Session]:
    if threads is not None and threads < 1:
        raise UsageError(f"train: `threads` must be at least 1, got {threads}.")
    with (
        process_group(cuda=torch.device(device).type == "cuda") as processes,
        thread_count(threads or torch.get_num_threads()),
    ):
        show = progress or Progress(quiet=not processes.is_main)
        if not processes.is_main:
            show = Progress(quiet=True)
        yield _Session(processes=processes, show=show)
