"""Rules about a finished run: its history, and its trained network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from striate.diagnose._look import Look
from striate.diagnose._rule import percent
from striate.diagnose.finding import Finding
from striate.train.run import Run

__all__ = ["HISTORY", "TRAINED", "final_accuracy", "of_history", "roots"]

HISTORY = ("overfitting", "nan-origin")
Rows = Sequence[Mapping[str, Any]]


def final_accuracy(history: Rows) -> float | None:
    """Return the training accuracy of the last epoch."""
    return None if not history else history[-1].get("train_accuracy")


def of_history(history: Rows) -> list[Finding]:
    """Apply the rules that need nothing but ``metrics.jsonl``."""
    rows = [row for row in history if row.get("val_loss") is not None]
    if len(rows) < 4:
        return []
    best = min(range(len(rows)), key=lambda i: float(rows[i]["val_loss"]))
    first, last = rows[best], rows[-1]
    # Between epochs of a healthy run the held-out loss moves by a few percent, and late in a run it may creep up.
    rises = best < 0.75 * len(rows) and last["val_loss"] > 1.33 * first["val_loss"]
    learned = last["train_loss"] < 0.33 * last["val_loss"] and last["train_loss"] < 0.7 * first["train_loss"]
    if not rises or not learned or last["train_accuracy"] - (last["val_accuracy"] or 0.0) < 0.05:
        return []
    finding = Finding(
        cause="overfitting",
        says=f"the validation loss rises from {first['val_loss']:.3g} in epoch {first['epoch']} to "
        f"{last['val_loss']:.3g}, while the training loss falls to {last['train_loss']:.3g}.",
        evidence=(f"right at the end: {percent(last['train_accuracy'])} of the training images, "
                  f"{percent(last['val_accuracy'] or 0.0)} of the others",),
        confirmed_by=f"{len(rows)} evaluations in the run's record",
        fix=f"Stop at epoch {first['epoch']} (--patience); use augmentation, weight decay, dropout or more data.",
        numbers={"best_epoch": first["epoch"], "val_loss": [row["val_loss"] for row in rows]},
    )  # fmt: skip
    return [finding]


def dead_relu(look: Look, run: Run) -> Finding | None:
    """Count channels of the trained network that are 0 for all images."""
    relus = [a for a in look.activity if a.call.startswith("relu") and a.dead]
    worst = max(relus, key=lambda a: len(a.dead) / len(a.largest), default=None)
    if worst is None or len(worst.dead) < max(2, 0.5 * len(worst.largest)):
        return None
    counts = ", ".join(f"`{a.name}` {len(a.dead)} of {len(a.largest)}" for a in relus[:5])
    return Finding(
        cause="dead-relu",
        says=f"{len(worst.dead)} of {len(worst.largest)} channels of `{worst.name}` are 0 for each of "
        f"{worst.images} images.",
        evidence=(f"dead channels by layer: {counts}",),
        confirmed_by="the largest value of each channel over all images and positions is 0: no gradient either",
        numbers={"dead": {a.name: a.dead for a in relus}, "images": worst.images},
    )


@torch.no_grad()
def label_noise(look: Look, run: Run) -> Finding | None:
    """List training labels that the network and the nearest images contradict, both."""
    near, samples = look.neighbours, look.setup.samples
    if near is None or look.classes is None:
        return None
    rows, count = near.suspects, len(near.nearest)
    if len(rows) < 0.10 * count:
        return None
    answers = look.calm.outputs(samples.inputs[rows]).softmax(1).max(1)
    agree = answers.indices.cpu() == near.suggested(rows)
    if float(agree.float().mean()) < 0.5:
        return None
    order = answers.values.argsort(descending=True)[:20]
    listed = [{"row": int(rows[i]), "label": run.class_names[int(look.classes[rows[i]])],
               "looks_like": run.class_names[int(answers.indices[i])]} for i in order]  # fmt: skip
    shown = ", ".join(f"{entry['row']}: {entry['label']}, looks like {entry['looks_like']}" for entry in listed[:6])
    share = percent(float(agree.float().mean()))
    return Finding(
        cause="label-noise",
        says=f"about {percent(len(rows) / count)} of the labels disagree with what the images show.",
        evidence=(f"{len(rows)} of {count} images lie among images of one other class", f"rows {shown} ..."),
        confirmed_by=f"the trained network sides with the neighbours for {share} of them",
        numbers={"share": len(rows) / count, "most_likely": listed},
    )


@torch.no_grad()
def underfitting(look: Look, run: Run) -> Finding | None:
    """Find a network that knows its training images worse than the nearest neighbour does."""
    near, samples = look.neighbours, look.setup.samples
    if near is None or look.classes is None:
        return None
    # Evaluated, not taken from the record: there the accuracy is a mean over the epoch, dropout and augmentation in it.
    answers = torch.cat([look.calm.outputs(part).argmax(1).cpu() for part in samples.inputs.split(256)])
    right, reference = float((answers == look.classes).float().mean()), near.agreement()
    error = math.sqrt(reference * (1 - reference) / len(near.nearest))
    if reference < right + max(0.15, 4 * error):
        return None
    return Finding(
        cause="underfitting",
        says=f"{percent(right)} of the training images are right at the end.",
        evidence=(f"training accuracy by epoch: {', '.join(percent(r['train_accuracy']) for r in run.history[-5:])}",),
        confirmed_by=f"the five nearest images alone are right for {percent(reference)}",
        numbers={"accuracy": right, "nearest_neighbours": reference},
    )


TRAINED: tuple[Callable[[Look, Run], Finding | None], ...] = (dead_relu, label_noise, underfitting)


def roots(findings: Sequence[Finding]) -> list[Finding]:
    """Leave out what other findings explain: learning by heart follows from wrong labels, and so on."""
    causes = {finding.cause for finding in findings}
    gone = set[str]()
    if causes & {"shuffled-labels", "label-noise"}:
        gone |= {"overfitting", "underfitting"}
    if causes & {"learning-rate-too-high", "learning-rate-too-low", "dead-relu", "no-activation", "bad-initialisation",
                 "vanishing-gradient", "exploding-gradient", "saturated-activation"}:  # fmt: skip
        gone |= {"underfitting"}
    once = {finding.cause: finding for finding in reversed(findings)}
    return [finding for finding in dict.fromkeys(once[f.cause] for f in findings) if finding.cause not in gone]
