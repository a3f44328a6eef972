"""striate's side of `benchmarks.training_speed`: its own loop, `striate.train.loop.fit`, stopped after some steps.

The configuration is chosen as `striate train` chooses it. What is timed is a call of `fit` from its first line to the
end of the last step: shuffling the epoch, gathering, augmentation, normalisation, the step, the losses, the progress.
The optimizer, the augmentation and the network are those of `benchmarks.peers.stock_pytorch`.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks._rounds import answer_rounds
from benchmarks._support import make_parser, parse
from striate import Recipe, Run, models
from striate.data import Augmentation, Batches, load, statistics
from striate.train import Progress
from striate.train.choice import choose_configuration
from striate.train.journal import Journal
from striate.train.loop import fit
from striate.train.machine import Configuration, describe_machine, keep_freed_memory
from striate.train.network import ModelSpec
from striate.train.run import RunConfig
from striate.train.tracking import open_tracker
from striate.train.training import Training

__all__ = ["Rounds", "main"]


class EnoughStepsError(Exception):
    """The round is over."""


class StopAfter(Progress):
    """A progress display that shows nothing, and ends the training after a number of steps.

    Args:
        steps: How many.
    """

    def __init__(self, steps: int) -> None:
        super().__init__(quiet=True)
        self.steps = steps
        self.stopped_at = 0.0

    def step(self, *position: Any, **values: Any) -> None:
        """Count one step."""
        super().step(*position, **values)
        self.steps -= 1
        if self.steps == 0:
            self.stopped_at = time.perf_counter()
            raise EnoughStepsError


class Rounds:
    """A training that is started again for each round, each in an epoch of its own.

    Args:
        model: Name in `striate.models`.
        data: Name of a data set of images.
        batch_size: Images a step.
        folder: Temporary; nothing is written to it in a round.
        fixed: Settings to take as given instead of measured: ``bf16``, ``channels_last``.
    """

    def __init__(
        self, *, model: str, data: str, batch_size: int, folder: Path, fixed: dict[str, bool | None] | None = None
    ) -> None:
        splits = load(data, val_fraction=0.0)
        augmentation = Augmentation(crop_padding=4, horizontal_flip="random") if data == "cifar10" else Augmentation()
        recipe = Recipe(
            name="benchmark",
            epochs=10_000,
            batch_size=batch_size,
            lr=0.01,
            nesterov=False,
            sched="constant",
            augmentation=augmentation,
        )
        preprocessing = statistics(splits.train)
        size, channels = preprocessing.image_size, preprocessing.channels
        torch.manual_seed(0)
        network = models.create(model, num_classes=len(splits.class_names), in_channels=channels, image_size=size)
        batches = Batches(
            splits.train, batch_size=batch_size, preprocessing=preprocessing, seed=0, epoch=0, shuffle=True
        )
        with contextlib.closing(iter(batches)) as iterator:
            example = next(iterator)
        start = Configuration(threads=torch.get_num_threads(), keeps_freed_memory=keep_freed_memory())
        machine, measured = choose_configuration(network, example, recipe=recipe, start=start, choices=fixed or {})
        torch.set_num_threads(machine.threads)
        config = RunConfig(
            model=ModelSpec(name=model, num_classes=len(splits.class_names), in_channels=channels, image_size=size),
            data=dict(splits.source),
            class_names=splits.class_names,
            preprocessing=preprocessing,
            recipe=recipe,
            machine=machine,
            seed=0,
            num_train=len(splits.train),
            num_params=sum(parameter.numel() for parameter in network.parameters()),
            environment=describe_machine(),
            measured=measured,
        )
        self.training = Training(run=Run(folder, config=config), splits=splits, network=network)
        self._folder = folder
        for part in ("weights", "checkpoints"):  # a round of several minutes is saved by the loop
            (folder / part).mkdir()

    def run_round(self, *, steps: int) -> float:
        """Train for some steps at the start of a new epoch and return images per second."""
        training = self.training
        if not 0 < steps < training.steps_per_epoch:
            raise ValueError(f"run_round: `steps` must be from 1 to {training.steps_per_epoch - 1}, got {steps}.")
        progress, journal = StopAfter(steps), Journal(self._folder, enabled=False)
        begin = time.perf_counter()
        with contextlib.suppress(EnoughStepsError):
            fit(training, progress=progress, journal=journal, tracker=open_tracker(None, self._folder))
        training.epoch, training.step_in_epoch = training.epoch + 1, 0
        return steps * training.run.config.recipe.batch_size / (progress.stopped_at - begin)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve rounds to `benchmarks.training_speed`."""
    parser = make_parser("benchmarks._striate_side", __doc__)
    parser.add_argument("--model", default="lenet5", help="name in striate.models (lenet5)")
    parser.add_argument("--data", default="mnist", help="(mnist)")
    parser.add_argument("--batch-size", type=int, default=64, help="images a step (64)")
    parser.add_argument("--float32", action="store_true", help="do not measure bf16, compute in float32")
    options = parse(parser, arguments)
    with tempfile.TemporaryDirectory() as folder:
        rounds = Rounds(
            model=options.model,
            data=options.data,
            batch_size=options.batch_size,
            folder=Path(folder),
            fixed={"bf16": False} if options.float32 else {},
        )
        config = rounds.training.run.config
        about = {"torch": torch.__version__, "configuration": config.machine.describe(), "tried": config.measured}
        answer_rounds(about, rounds.run_round)


if __name__ == "__main__":
    main()
