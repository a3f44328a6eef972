"""The ways to tune: what each tries, and the network it leaves."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from striate.data import Dataset
from striate.errors import ModelError
from striate.train.metrics import wilson_interval
from striate.tune.choosing import Trial, choose, gradual_phases
from striate.tune.features import accuracy_of_scikit_learn, base_features, choose_decay, fit_head
from striate.tune.fitting import Phase, fit
from striate.tune.task import Task

__all__ = ["MODES", "Outcome", "run_mode"]


@dataclass(kw_only=True)
class Outcome:
    """A tuned network, and how it came about."""

    network: nn.Module
    mode: str
    trials: list[Trial] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of each epoch, as a run keeps them."""
    facts: dict[str, Any] = field(default_factory=dict)


def run_mode(task: Task, mode: str) -> Outcome:
    """Tune in one of `MODES`, or train the same network from scratch (``scratch``)."""
    return {**_MODES, "scratch": _scratch}[mode](task)


def _features(task: Task) -> Outcome:
    train, setting = task.splits.train, task.setting
    task.show.note("features: the base runs once over the training images")
    values, is_known = base_features(
        task.network, task.head, train, preprocessing=setting.preprocessing, machine=setting.machine
    )
    parts = [(_places(learned, train), _places(out, train)) for learned, out in task.divisions]
    scores = choose_decay(values, train.labels, num_classes=task.num_classes, parts=parts)
    decay = max(scores, key=lambda key: (scores[key], key))
    network = copy.deepcopy(task.network)
    head: Any = network.get_submodule(task.head.name)
    has_bias = head.bias is not None
    fitted = fit_head(values, train.labels, num_classes=task.num_classes, decay=decay, bias=has_bias)
    with torch.no_grad():
        head.weight.copy_(fitted.weight.reshape(head.weight.shape))
        if has_bias:
            head.bias.copy_(fitted.bias)
    held = sum(len(out) for _, out in task.divisions)
    trials = [
        Trial(name=f"L2 {key:g}", phases=(), held_out=held, right=round(score * held)) for key, score in scores.items()
    ]
    for trial in trials:
        task.show.note(f"{trial.name}: {trial.result}")
    check = accuracy_of_scikit_learn(values, train.labels, decay=decay, parts=parts)
    task.show.note(f"scikit-learn's logistic regression with L2 {decay:g}: {100 * check:.1f} %")
    facts = {
        "decay": decay,
        "features": int(values.shape[1]),
        "features_from_cache": is_known,
        "scikit_learn": check,
        "interval": _tell_interval(task, f"L2 {decay:g}", right=round(scores[decay] * held), held_out=held),
    }
    return Outcome(network=network, mode="features", trials=trials, facts=facts)


def _places(part: Dataset, whole: Dataset) -> Tensor:
    """Return where the images of a part stand in the whole."""
    places = {int(sample): place for place, sample in enumerate(whole.sample_ids)}
    return torch.tensor([places[int(sample)] for sample in part.sample_ids])


def _head(task: Task) -> Outcome:
    trials = [
        Trial(name=f"head, rate {lr:g}", phases=(Phase(count=1, epochs=task.epochs, lr=lr),)) for lr in task.rates
    ]
    return _chosen(task, "head", trials)


def _full(task: Task) -> Outcome:
    """Learn everything from the start, at rates that fall from stage to stage: the base has something to lose."""
    count = len(task.stages)
    trials = [
        Trial(name=f"all stages, rate {lr:g}", phases=(Phase(count=count, epochs=task.epochs, lr=lr, decay=0.3),))
        for lr in task.rates
    ]
    return _chosen(task, "full", trials)


def _scratch(task: Task) -> Outcome:
    count = len(task.stages)
    trials = [
        Trial(name=f"from scratch, rate {lr:g}", phases=(Phase(count=count, epochs=task.epochs, lr=lr),))
        for lr in task.rates
    ]
    return _chosen(replace(task, network=_fresh_copy(task)), "scratch", trials)


def _gradual(task: Task) -> Outcome:
    most, unfreeze = len(task.stages), task.options.unfreeze
    counts = {min(2, most), (most + 2) // 2, most, 1} if unfreeze is None else {unfreeze}
    # The middle first: where time is short, it is the one that was tried.
    order = sorted(counts, key=lambda count: (abs(count - (most + 1) / 2), count))
    trials = [
        Trial(
            name=f"{count} of {most} stages learn, rate {lr:g}",
            phases=gradual_phases(count, epochs=task.epochs, lr=lr),
        )
        for lr in task.rates
        for count in order
    ]
    return _chosen(task, "gradual", trials)


def _chosen(task: Task, mode: str, trials: Sequence[Trial]) -> Outcome:
    """Try alternatives; where folds chose, learn from all images with the best one."""
    tried, best, network = choose(
        task.network,
        task.stages,
        trials,
        divisions=task.divisions,
        setting=task.setting,
        seconds=60 * task.options.minutes,
        note=task.show.note,
    )
    interval = _tell_interval(task, best.name, right=best.right, held_out=best.held_out)
    rows = best.rows
    if network is None:
        task.show.note(f"learning from all {len(task.splits.train)} images")
        network = copy.deepcopy(task.network)
        rows = fit(
            network, task.stages, phases=best.phases, train=task.splits.train, val=None, setting=task.setting
        ).rows
    facts = {"chosen": best.name, "stages_that_learn": best.phases[-1].count, "interval": interval}
    return Outcome(network=network, mode=mode, trials=tried, rows=rows, facts=facts)


def _tell_interval(task: Task, name: str, *, right: int, held_out: int) -> list[float]:
    low, high = wilson_interval(right, held_out) or (0.0, 1.0)
    task.show.note(f"chosen: {name} (95 % interval of its accuracy {100 * low:.1f} to {100 * high:.1f} %)")
    return [low, high]


def _fresh_copy(task: Task) -> nn.Module:
    """Return the network with random weights, as its layers draw them.

    Raises:
        ModelError: a layer has parameters and cannot draw them anew.
    """
    network = copy.deepcopy(task.network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.setting.seed)
        for path, module in network.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
            elif [*module.parameters(recurse=False)]:
                raise ModelError(
                    f"tune: `{path}` ({type(module).__name__}) must have reset_parameters() for a comparison with "
                    "training from scratch. Add it, or leave the comparison out."
                )
    return network


_MODES = {"features": _features, "head": _head, "full": _full, "gradual": _gradual}
MODES = tuple(_MODES)
"""Names of the ways to tune."""
