"""A tuned network as a run: the folder that `striate predict`, `evaluate` and the rest read."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from striate.files import write_json, write_tensors
from striate.train import metrics
from striate.train.evaluate import predict_logits
from striate.train.finish import first_filters, mistakes_of
from striate.train.journal import Journal
from striate.train.machine import describe_machine
from striate.train.network import ModelSpec
from striate.train.recipe import Recipe
from striate.train.report import write_report
from striate.train.run import Run, RunConfig, new_run_folder
from striate.train.start import typed_command
from striate.tune.changes import changes_of
from striate.tune.features import base_features

if TYPE_CHECKING:
    from striate.tune.modes import Outcome
    from striate.tune.task import Task

__all__ = ["measure", "save_run"]


def save_run(task: Task, outcome: Outcome, *, output: Path, experiment: str | None) -> Run:
    """Write the run folder, look at the test split once, and say what came of it."""
    splits, show = task.splits, task.show
    folder = new_run_folder(output, experiment or f"{splits.name}-{Path(task.source.name).name}-{outcome.mode}")
    spec = ModelSpec(
        name=task.source.spec.name, num_classes=task.num_classes, in_channels=task.setting.preprocessing.channels,
        image_size=task.source.spec.image_size,
    )  # fmt: skip
    run = Run(folder, model=None if spec.in_registry else outcome.network, config=_config(task, outcome, spec))
    run.save_config()
    for name in ("best", "last"):
        write_tensors(folder / "weights" / f"{name}.safetensors", outcome.network.state_dict())
    journal = Journal(folder)
    for row in outcome.rows:
        journal.add("epoch", **row)
    split_name, dataset = task.evaluated
    evaluation, probabilities = measure(outcome.network, task, dataset, base_is_kept=outcome.mode == "features")
    write_json(folder / "evaluation.json", evaluation.to_dict())
    journal.add("evaluation", split=split_name, accuracy=evaluation.top1, loss=evaluation.loss)
    changes = changes_of(task.network, outcome.network, task.stages)
    write_json(folder / "tune.json", _facts(task, outcome, changes))
    report = write_report(
        folder, config=run.config.to_dict(), history=run.history, evaluation=evaluation,
        mistakes=mistakes_of(dataset, probabilities, class_names=splits.class_names),
        filters=first_filters(outcome.network), notes=_notes(task, outcome, changes), skipped=splits.skipped,
        split=split_name,
    )  # fmt: skip
    low, high = evaluation.intervals["top1"]
    for stage, change in changes.items():
        show.note(f"{stage}: {'as it was' if change == 0 else f'changed by {100 * change:.2f} %'}")
    show.note(
        f"{split_name} accuracy {100 * evaluation.top1:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f}, "
        f"{evaluation.num_samples:,} images)"
    )
    show.note(f"report   {report}")
    return run


def measure(
    network: nn.Module, task: Task, dataset: Any, *, base_is_kept: bool = False
) -> tuple[metrics.Evaluation, Any]:
    """Return the evaluation of a network on a data set, and its probabilities.

    Args:
        network: What was tuned.
        task: Where it comes from.
        dataset: Images with labels.
        base_is_kept: The base is the source's, so its features are taken from disk where they are there.
    """
    setting = task.setting
    options: dict[str, Any] = {"preprocessing": setting.preprocessing}
    if base_is_kept:
        features, _ = base_features(task.network, task.head, dataset, machine=setting.machine, **options)
        head: Any = network.get_submodule(task.head.name)
        with torch.no_grad():
            logits = F.linear(features, head.weight.flatten(1).cpu(), None if head.bias is None else head.bias.cpu())
        targets = dataset.labels
    else:
        logits, targets = predict_logits(network, dataset, configuration=setting.machine, **options)
    probabilities = logits.softmax(1)
    names = task.splits.class_names
    return metrics.measure(probabilities.numpy(), targets.numpy(), class_names=names), probabilities


def _config(task: Task, outcome: Outcome, spec: ModelSpec) -> RunConfig:
    setting, splits = task.setting, task.splits
    recipe = Recipe(
        name=f"tune-{outcome.mode}", epochs=max(1, len(outcome.rows)), batch_size=setting.batch_size, opt="adamw",
        lr=task.rates[0], weight_decay=setting.weight_decay, augmentation=setting.augmentation, val_fraction=0.0,
    )  # fmt: skip
    return RunConfig(
        model=spec,
        data=dict(splits.source),
        class_names=splits.class_names,
        preprocessing=setting.preprocessing,
        recipe=recipe,
        machine=copy.deepcopy(setting.machine),
        seed=setting.seed,
        num_train=len(splits.train),
        num_params=sum(parameter.numel() for parameter in outcome.network.parameters()),
        environment=describe_machine(),
        command=typed_command(),
    )


def _facts(task: Task, outcome: Outcome, changes: dict[str, float]) -> dict[str, Any]:
    return {
        "source": task.source.name,
        "mode": outcome.mode,
        "head": task.head.name,
        "stages": [stage.name for stage in task.stages],
        "source_classes": list(task.source.class_names or ()),
        "folds": len(task.divisions),
        "trials": [trial.to_dict() for trial in outcome.trials],
        "changes": changes,
        **outcome.facts,
    }


def _notes(task: Task, outcome: Outcome, changes: dict[str, float]) -> list[str]:
    """What the report says beside its figures."""
    tried = [f"{trial.name}: {trial.result}" for trial in outcome.trials]
    moved = [f"{stage} {100 * change:.2f} %" if change else f"{stage} as it was" for stage, change in changes.items()]
    return [
        f"Tuned from {task.source.name}, mode {outcome.mode}.",
        *tried,
        f"Change of the weights: {', '.join(moved)}.",
    ]
