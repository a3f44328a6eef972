"""The diagnosis of a run folder: its history, its data, its trained network, and where it learned little, a new one."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from striate.data import Dataset
from striate.diagnose import _rules_run
from striate.diagnose._look import Look
from striate.diagnose._samples import Samples, of_dataset
from striate.diagnose._setup import Setup
from striate.diagnose.finding import Diagnosis, Finding
from striate.errors import StriateError
from striate.graph._untouched import _random_state
from striate.train.network import build_network
from striate.train.optimizer import build_optimizer
from striate.train.run import Run

__all__ = ["diagnose_run"]

TRAINED = ("nan-origin", "batch-mixing", "dropout-at-evaluation", "train-validation-leak", "shuffled-labels")
"""Rules that a trained network is asked about, as any other."""
FRESH_ONLY = "asked only of a network that has learned little"
LITTLE = 0.6
"""Of the way from chance to all training images right: below, a fresh network of the run's is looked at as well."""


def diagnose_run(run: Run, *, data: Any = None, seconds: float = 60.0) -> Diagnosis:
    """Diagnose a finished run; the folder is not written on.

    Args:
        run: The run.
        data: As for `Run.load_data`; None: the run's own.
        seconds: What brief trainings may take, about.

    Raises:
        ModelError: the run has no weights.
        DataError: its data cannot be read.
    """
    begin = time.perf_counter()
    with _random_state():
        findings, checked = [*_rules_run.of_history(run.history)], [*_rules_run.HISTORY]
        setups = _setups(run, data)
        if isinstance(setups, str):
            missed = dict.fromkeys(TRAINED, setups)
        else:
            more, others, missed = _of_setups(run, *setups, seconds=seconds)
            findings, checked = [*more, *findings], [*others, *(c for c in checked if c not in others)]
    return Diagnosis(
        subject=str(run.folder),
        findings=tuple(_rules_run.roots(findings)),
        checked=tuple(checked),
        not_checked={cause: why for cause, why in missed.items() if cause not in checked},
        seconds=time.perf_counter() - begin,
    )


def _setups(run: Run, data: Any) -> tuple[Samples, Samples | None] | str:
    """Return training and validation samples, or why there are none."""
    if data is None and not run.config.data:
        return "the run was trained on arrays, which are not stored: give them as `data`"
    splits = run.load_data(data)
    held = splits.val or splits.test
    return _samples(run, splits.train), None if held is None else _samples(run, held)


def _samples(run: Run, dataset: Dataset) -> Samples:
    inputs, targets = of_dataset(dataset, preprocessing=run.config.preprocessing)
    return Samples(inputs=inputs, targets=targets, batch_size=min(run.config.recipe.batch_size, 64))


def _of_setups(
    run: Run, samples: Samples, held: Samples | None, *, seconds: float
) -> tuple[list[Finding], list[str], dict[str, str]]:
    from striate.diagnose.diagnosing import RULES, _timed, examine

    model = run.model()
    setup = Setup(model=model, loss_fn=nn.functional.cross_entropy, optimizer=None, samples=samples, validation=held)
    setup = _timed(setup, seconds=seconds)
    findings, checked, missed = examine(setup, rules=tuple(rule for rule in RULES if rule[0] in TRAINED))
    look = Look(setup)
    findings += [finding for rule in _rules_run.TRAINED for finding in [rule(look, run)] if finding is not None]
    checked += ["dead-relu", "label-noise", "underfitting"]
    right = _rules_run.final_accuracy(run.history)
    chance = 1.0 / max(2, len(run.class_names))
    rest = {cause: FRESH_ONLY for cause, _ in RULES if cause not in checked and cause not in missed}
    if right is None or right > chance + LITTLE * (1 - chance) or findings:
        return findings, checked, missed | rest
    try:
        torch.manual_seed(run.config.seed)
        fresh = build_network(run.config.model, source=run._source)
    except StriateError as error:
        return findings, checked, missed | dict.fromkeys(rest, f"a fresh network cannot be built: {error}"[:160])
    optimizer = build_optimizer(fresh, recipe=run.config.recipe)
    setup = Setup(model=fresh, loss_fn=setup.loss_fn, optimizer=optimizer, samples=samples, steps=setup.steps)
    more, others, also = examine(setup, rules=tuple(rule for rule in RULES if rule[0] in rest))
    return findings + more, checked + others, missed | also
