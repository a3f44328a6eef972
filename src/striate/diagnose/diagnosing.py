"""`diagnose`: looks at a training before it is run, or at a run that is finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from striate.diagnose import _rules_data, _rules_fit, _rules_loss, _rules_network, _rules_training
from striate.diagnose._look import Look
from striate.diagnose._rule import Rule
from striate.diagnose._samples import gather
from striate.diagnose._setup import Setup
from striate.diagnose.finding import Diagnosis, Finding
from striate.errors import UsageError
from striate.graph._untouched import untouched
from striate.train.modes import modes_kept
from striate.train.run import Run

__all__ = ["RULES", "diagnose"]

RULES: tuple[tuple[str, Rule], ...] = (
    ("nan-origin", _rules_loss.nan_origin),
    ("loss-broadcast", _rules_loss.loss_broadcast),
    ("wrong-loss", _rules_loss.wrong_loss),
    ("gradient-not-reaching", _rules_network.gradient_not_reaching),
    ("batch-norm-misuse", _rules_training.batch_norm_misuse),
    ("softmax-before-loss", _rules_loss.softmax_before_loss),
    ("not-in-optimizer", _rules_network.not_in_optimizer),
    ("batch-mixing", _rules_network.batch_mixing),
    ("dropout-at-evaluation", _rules_network.dropout_at_evaluation),
    ("identical-augmentation", _rules_data.identical_augmentation),
    ("train-validation-leak", _rules_data.train_validation_leak),
    ("unnormalised-input", _rules_data.unnormalised_input),
    ("no-activation", _rules_network.no_activation),
    ("bad-initialisation", _rules_training.bad_initialisation),
    ("saturated-activation", _rules_training.saturated_activation),
    ("exploding-gradient", _rules_training.exploding_gradient),
    ("vanishing-gradient", _rules_training.vanishing_gradient),
    ("dead-relu", _rules_training.dead_relu),
    ("shuffled-labels", _rules_data.shuffled_labels),
    ("learning-rate-too-high", _rules_training.learning_rate_too_high),
    ("learning-rate-too-low", _rules_training.learning_rate_too_low),
    ("label-noise", _rules_data.label_noise),
    ("label-noise", _rules_data.destroying_augmentation),
    ("class-imbalance", _rules_data.class_imbalance),
    ("underfitting", _rules_fit.underfitting),
    ("overfitting", _rules_fit.overfitting),
)
"""In the order in which causes explain away what comes after them."""
LOOP_ONLY = {"missing-zero-grad", "eval-in-train-mode"}
NEEDS_LOOP = "shows only in the loop: use `with striate.watch(model, optimizer)`"


def diagnose(
    model: nn.Module | Run | str | Path,
    data: Any = None,
    *,
    loss_fn: Callable[..., Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    validation: Any = None,
    augment: Callable[..., Any] | None = None,
    seconds: float = 60.0,
    seed: int = 0,
) -> Diagnosis:
    """Say what keeps a network from learning, by its name; nothing that is given is changed.

    Everything is tried on copies; modes, weights, ``.grad``, the optimizer and random generators stay to the bit.

    Args:
        model: The network as it is about to be trained, or a `Run` (or its folder) that is finished.
        data: ``(x, y)``, x (N, ...) and y (N,), or a loader of such pairs; for a run, None: its own data.
        loss_fn: ``loss_fn(outputs, targets)``; None: cross-entropy.
        optimizer: The one of the loop, with its learning rate.
        validation: As `data`, for leaks and overfitting.
        augment: Maps a batch of images to augmented ones.
        seconds: What the brief trainings may take together, about.
        seed: Of the order of the batches in them.

    Raises:
        UsageError: an argument cannot be used, or the network does not run on the images.

    Example:
        >>> x, y = torch.randn(64, 4), torch.arange(64) % 2
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.Softmax(dim=1))
        >>> diagnose(net, (x + y[:, None], y), optimizer=torch.optim.Adam(net.parameters(), 0.05)).causes
        ('softmax-before-loss',)
    """
    if isinstance(model, Run | str | Path):
        from striate.diagnose._finished import diagnose_run

        return diagnose_run(model if isinstance(model, Run) else Run(model), data=data, seconds=seconds)
    _check(model, data, seconds=seconds)
    begin = time.perf_counter()
    with untouched(model), modes_kept(model):
        setup = Setup(
            model=model,
            loss_fn=loss_fn or nn.functional.cross_entropy,
            optimizer=optimizer,
            samples=gather(data),
            validation=None if validation is None else gather(validation, argument="validation"),
            augment=augment,
            seed=seed,
        )
        findings, checked, missed = examine(_timed(setup, seconds=seconds))
    return Diagnosis(
        subject=type(model).__name__,
        findings=tuple(findings),
        checked=tuple(checked),
        not_checked=missed | dict.fromkeys(LOOP_ONLY, NEEDS_LOOP),
        seconds=time.perf_counter() - begin,
    )


def _check(model: Any, data: Any, *, seconds: float) -> None:
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"diagnose: `model` must be an nn.Module or a run, got {type(model).__name__}. Give the network."
        )
    if data is None:
        raise UsageError("diagnose: `data` must be (x, y) or a loader, got None. Give what the network trains on.")
    if not seconds > 0:
        raise UsageError(f"diagnose: `seconds` must be above 0, got {seconds}. A minute is usual.")


def examine(
    setup: Setup, *, rules: tuple[tuple[str, Rule], ...] = RULES
) -> tuple[list[Finding], list[str], dict[str, str]]:
    """Apply the rules one after the other, each to what the findings before it leave.

    Args:
        setup: What to look at.
        rules: Names and rules, in order.

    Returns:
        Findings, causes that were looked for, and causes that were not, each with the reason.
    """
    look, findings, checked, missed = Look(setup), list[Finding](), list[str](), dict[str, str]()
    for position, (cause, rule) in enumerate(rules):
        found = rule(look)
        if isinstance(found, str):
            missed[cause] = found
            continue
        checked += [cause] if cause not in checked else []
        if found is None:
            continue
        findings.append(found.finding)
        if found.repaired is None:
            missed |= {name: f"{found.finding.cause} comes first" for name, _ in rules[position + 1 :]}
            break
        look = look if found.repaired is look.setup else Look(found.repaired)
    return findings, checked, {cause: why for cause, why in missed.items() if cause not in checked}


def _timed(setup: Setup, *, seconds: float) -> Setup:
    """Choose how many steps a brief training has, from the time of two."""
    trial = setup.trial()
    try:
        with torch.no_grad():
            trial.model.eval()
            trial.outputs(setup.samples.inputs[:4])
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        first = str(error).splitlines()[0][:200] if str(error) else ""
        raise UsageError(
            f"diagnose: `model` must run on the images, got {type(error).__name__}: {first}. "
            "striate.check_shapes(model, x) says where and why."
        ) from error
    begin = time.perf_counter()
    with torch.no_grad():
        trial.outputs(setup.samples.inputs[: min(32, len(setup.samples))])
    # Forward and backward are three times the forward pass; about twelve brief trainings share the time.
    step = 3 * (time.perf_counter() - begin)
    return replace(setup, steps=int(min(80, max(20, seconds / 12 / max(step, 1e-6)))))
