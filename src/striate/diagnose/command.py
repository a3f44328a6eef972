"""What ``striate diagnose`` does: a run, or a network by its name on data by their name."""

from __future__ import annotations

from pathlib import Path

import torch

from striate.data import load, statistics
from striate.diagnose._finished import diagnose_run
from striate.diagnose._samples import of_dataset
from striate.diagnose.diagnosing import diagnose
from striate.diagnose.finding import Diagnosis
from striate.diagnose.page import save_diagnosis
from striate.errors import UsageError, nearest
from striate.train.run import Run
from striate.train.subject import open_subject

__all__ = ["OPTIMIZERS", "diagnose_named"]

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop,
}  # fmt: skip


def diagnose_named(
    model: str, data: str | None = None, *, lr: float = 1e-3, opt: str = "adam", own: str | None = None,
    seconds: float = 60.0,
) -> Diagnosis:  # fmt: skip
    """Diagnose what the command line names; of a run, the folder gets ``diagnosis.json`` and a section in its report.

    Args:
        model: A run folder, a name in `striate.models`, or ``package.module:callable``.
        data: What `striate.data.load` takes; of a run, None is its own.
        lr: Learning rate of the planned training.
        opt: A key of `OPTIMIZERS`.
        own: Of a run of a network of the user's own: what makes it.
        seconds: See `diagnose`.

    Raises:
        UsageError: no data for a network, or an optimizer that is not known.
        StriateError: the network, the run or the data cannot be read.
    """
    if Path(model).is_dir():
        run = Run(model, model=own)
        diagnosis = diagnose_run(run, data=data, seconds=seconds)
        save_diagnosis(diagnosis, run.folder)
        return diagnosis
    if data is None:
        raise UsageError("diagnose: `DATA` must be given for a network that is no run, got none. Try: lenet5 mnist.")
    if opt not in OPTIMIZERS:
        raise UsageError(
            f"diagnose: `--opt` must be one of {', '.join(OPTIMIZERS)}, got {opt!r}.{nearest(opt, OPTIMIZERS)}"
        )
    plain = load(data)
    subject = open_subject(model, num_classes=len(plain.class_names), in_channels=plain.train.images.channels)
    side = subject.preprocessing.image_size
    splits = load(data, image_size=side) if plain.kind == "images" else plain
    preprocessing = statistics(splits.train, image_size=side)
    network = subject.network.train()
    optimizer = OPTIMIZERS[opt](network.parameters(), lr=lr)  # type: ignore[call-arg]
    held = splits.val or splits.test
    return diagnose(
        network, of_dataset(splits.train, preprocessing=preprocessing), optimizer=optimizer,
        validation=None if held is None else of_dataset(held, preprocessing=preprocessing), seconds=seconds,
    )  # fmt: skip
