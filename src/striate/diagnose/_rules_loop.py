"""Rules about a loop that was watched."""

from __future__ import annotations

import math
from statistics import fmean, median
from typing import Any

import torch
from torch import nn

from striate.diagnose._loop_log import LoopLog
from striate.diagnose._rule import percent
from striate.diagnose.finding import Finding

__all__ = ["CAUSES", "explained", "findings"]

CAUSES = ("missing-zero-grad", "eval-in-train-mode", "overfitting", "gradient-not-reaching", "batch-norm-misuse")
CONSEQUENCES = {
    "missing-zero-grad": {"learning-rate-too-high", "overfitting", "nan-origin"},
    "learning-rate-too-high": {"nan-origin"},
    "unnormalised-input": {"nan-origin"},
    "bad-initialisation": {"nan-origin"},
    "batch-norm-misuse": {"nan-origin"},
    "shuffled-labels": {"overfitting"},
    "label-noise": {"overfitting"},
}
"""What a cause explains besides itself."""


def findings(log: LoopLog, model: nn.Module, first: tuple[nn.Module, Any]) -> list[Finding]:
    """Apply all rules about loops.

    Args:
        log: What was seen.
        model: The network after the loop.
        first: Copies of the network and the optimizer from before it.
    """
    found = [_stale(log), _never_stepped(log), _eval_mode(log, model), _train_mode(log, first), _overfitted(log)]
    return [finding for finding in [*found, _not_finite(log)] if finding is not None]


def explained(found: list[Finding]) -> list[Finding]:
    """Leave out what other findings explain."""
    gone = {name for finding in found for name in CONSEQUENCES.get(finding.cause, ())}
    return [finding for finding in found if finding.cause not in gone]


def _stale(log: LoopLog) -> Finding | None:
    # An exact test: with cleared gradients the share is rounding, 1e-6.
    if len(log.stale) < 2 or median(log.stale) < 0.02:
        return None
    return Finding(
        cause="missing-zero-grad",
        says="gradients of earlier steps are not cleared and add up.",
        evidence=(f"zero_grad was called {log.clears} times in {log.steps} steps",),
        confirmed_by=f"at {len(log.stale)} sampled steps .grad was compared with what the backward passes since the "
        f"last step brought: {percent(median(log.stale))} of it is older",
        numbers={"steps": log.steps, "zero_grad_calls": log.clears, "stale_share": median(log.stale)},
    )


def _never_stepped(log: LoopLog) -> Finding | None:
    cleared = log.empty >= 2 and log.backwards >= 2
    if not cleared and not (log.backwards >= 5 and log.steps == 0):
        return None
    why = "gradients are cleared between backward() and step()" if cleared else "optimizer.step() is never called"
    return Finding(
        cause="gradient-not-reaching",
        says=f"no gradient reaches the optimizer: {why}.",
        evidence=(f"{log.backwards} backward passes, {log.steps} steps, {log.empty} sampled steps without a gradient",),
        confirmed_by="gradients were looked at as each sampled step began",
        fix="Order: optimizer.zero_grad(), loss.backward(), optimizer.step().",
        numbers={"backwards": log.backwards, "steps": log.steps},
    )


def _eval_mode(log: LoopLog, model: nn.Module) -> Finding | None:
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    named = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    if not named or log.evaluated_in_training_mode < 1 or log.evaluated_in_training_mode < 0.5 * log.evaluations:
        return None
    outputs = []
    if not log.held_inputs:
        return None
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            for training in (True, False):
                model.train(training)
                device = next(model.parameters()).device
                outputs.append(model(log.held_inputs[0].to(device)))
    finally:
        for module, mode in modes:
            module.training = mode
    moved = float((outputs[0] - outputs[1]).abs().max()) if isinstance(outputs[0], torch.Tensor) else 0.0
    if not moved > 1e-4:
        return None
    return Finding(
        cause="eval-in-train-mode",
        says=f"the network is evaluated in training mode, so `{named[0]}` acts as in training.",
        evidence=(f"{log.evaluated_in_training_mode} of {log.evaluations} forward passes without gradients",),
        confirmed_by=f"a batch was run in both modes: outputs differ by up to {moved:.2g}",
        numbers={"passes": log.evaluated_in_training_mode, "moved": moved},
    )


def _train_mode(log: LoopLog, first: tuple[nn.Module, Any]) -> Finding | None:
    """Find a loop that trains in evaluation mode: always with first statistics, or since an evaluation."""
    norms = [(n, m) for n, m in first[0].named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    share = log.trained_in_eval_mode / max(1, log.forwards)
    fresh = [n for n, m in norms if m.num_batches_tracked is not None and int(m.num_batches_tracked) == 0]
    if not norms or share < 0.1 or not (log.was_in_training_mode or fresh):
        return None
    return Finding(
        cause="batch-norm-misuse",
        says=f"the loop trains in evaluation mode, so `{norms[0][0]}` keeps the statistics it had.",
        evidence=(f"{log.trained_in_eval_mode} of {log.forwards} training passes",),
        confirmed_by="model.training was read at each forward pass",
        fix="Call model.train() at the start of each epoch, after the evaluation.",
        numbers={"passes": log.trained_in_eval_mode},
    )


def _overfitted(log: LoopLog) -> Finding | None:
    blocks = dict[int, list[float]]()
    for step, loss in log.held:
        blocks.setdefault(step, []).append(loss)
    points = [(step, fmean(values)) for step, values in blocks.items()]
    if len(points) < 4 or not all(math.isfinite(loss) for _, loss in points):
        return None
    best = min(range(len(points)), key=lambda i: points[i][1])
    last = fmean(loss for _, loss in points[-2:])
    recent = fmean(loss for step, loss in log.losses if step >= points[-2][0] - 1) if log.losses else math.nan
    then = [loss for step, loss in log.losses if abs(step - points[best][0]) <= max(5, points[0][0])]
    # Noise between evaluations is a few percent; a third more beside a small training loss is not noise.
    rising = best < 0.75 * len(points) and last > 1.33 * points[best][1]
    if not (rising and recent < 0.33 * last and then and recent < 0.7 * fmean(then)):
        return None
    return Finding(
        cause="overfitting",
        says=f"the held-out loss rises from {points[best][1]:.3g} at step {points[best][0]} to {last:.3g}.",
        evidence=(f"the training loss falls to {recent:.3g} meanwhile",),
        confirmed_by=f"{len(points)} evaluations that the loop made",
        numbers={"held_out": points, "best_step": points[best][0]},
    )


def _not_finite(log: LoopLog) -> Finding | None:
    bad = next(((step, loss) for step, loss in log.losses if not math.isfinite(loss)), None)
    if bad is None:
        return None
    return Finding(
        cause="nan-origin",
        says=f"the loss is {bad[1]} at step {bad[0]}, for the first time.",
        evidence=(f"losses before: {', '.join(f'{loss:.3g}' for _, loss in log.losses[: bad[0]][-4:])}",),
        confirmed_by="each loss of the loop was looked at",
        numbers={"step": bad[0]},
    )
