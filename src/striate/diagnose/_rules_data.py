"""Rules about the data: labels, leaks, balance, normalisation, augmentation."""

from __future__ import annotations

import copy
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from striate.diagnose._duplicates import overlap
from striate.diagnose._labels import SHIFTS
from striate.diagnose._look import Look
from striate.diagnose._repairs import normaliser
from striate.diagnose._rule import Found, percent
from striate.diagnose._setup import Trained, is_clearly_better, share_right
from striate.diagnose.finding import Finding

__all__ = [
    "class_imbalance", "destroying_augmentation", "identical_augmentation", "label_noise", "shuffled_labels",
    "train_validation_leak", "unnormalised_input",
]  # fmt: skip

LEAST_LEAK = 0.01
"""Share of validation images. Published sets have less: MNIST none that is exact, CIFAR-10 0.1 %."""
LEAST_NOISE = 0.10
"""Share of labels. Under 6 % is what published sets have (Northcutt et al. 2021), and networks bear it."""


def train_validation_leak(look: Look) -> Found | str | None:
    """Compare validation images with training images, by hash and by correlation."""
    held = look.setup.validation
    if held is None:
        return "no validation data was given"
    if held.inputs.shape[1:] != look.setup.samples.inputs.shape[1:]:
        return "validation images have another shape"
    found = overlap(look.setup.samples.inputs, held.inputs)
    exact, near = found.exact / found.count, found.near / found.count
    # Images of one kind are like each other by nature: only what goes far beyond that is a leak.
    is_near = near > max(0.05, 3 * found.natural)
    if not (found.exact >= 3 and exact > LEAST_LEAK) and not is_near:
        return None
    evidence = [f"{found.exact} of {found.count} validation images are training images, to the bit"]
    if is_near:
        evidence.append(f"{found.near} more are near copies; among training images {percent(found.natural)} have one")
    pairs = ", ".join(f"{a} = {b}" for a, b in found.pairs[:5])
    finding = Finding(
        cause="train-validation-leak",
        says=f"{percent(exact + near * is_near)} of the validation images are among the training images.",
        evidence=(*evidence, f"rows of validation and training: {pairs}"),
        confirmed_by="hashes of all pixels" + (" and correlations of pixels above 0.995" if is_near else ""),
        numbers={"exact": found.exact, "near": found.near, "compared": found.count, "pairs": [*map(list, found.pairs)]},
    )
    return Found(finding, look.setup)


def class_imbalance(look: Look) -> Found | str | None:
    """Find rare classes that a brief training does not recognise, and does when the loss is weighted."""
    counts = look.counts
    if counts is None:
        return "targets are not classes"
    present = counts[counts > 0]
    if len(present) < 2 or getattr(look.setup.loss_fn, "weight", None) is not None:
        return None
    if float(present.max()) < 10 * float(present.min()) or look.loss is None or not look.loss.scores_classes:
        return None
    if look.loss.refusal is not None:
        return "the loss refuses the outputs"
    weights = torch.where(counts > 0, counts.sum() / counts.clamp(min=1), 0.0)
    rows = torch.multinomial(weights[look.classes].double(), len(look.setup.samples), replacement=True,
                             generator=torch.Generator().manual_seed(0))  # fmt: skip
    repaired = look.setup.edited(samples=look.setup.samples.subset(rows))
    before, after = (_rare_recall(look, trained) for trained in (look.baseline, repaired.train()))
    if not after > before + 0.15:
        return None
    rare = int(torch.where(counts > 0, counts, counts.max() + 1).argmin())
    finding = Finding(
        cause="class-imbalance",
        says=f"class {rare} has {int(counts[rare])} of {int(counts.sum())} images, the commonest "
        f"{int(counts.max())}, and rare classes are hardly recognised.",
        evidence=(f"recall of the rarer half of the classes after a brief training: {percent(before)}",),
        confirmed_by=f"drawn equally often: recall {percent(after)}",
        numbers={"counts": counts.tolist(), "recall": before, "recall_balanced": after},
    )
    return Found(finding, repaired)


@torch.no_grad()
def _rare_recall(look: Look, trained: Trained) -> float:
    """Return the mean recall of the classes that are at most a fifth of the commonest."""
    classes, counts = look.classes, look.counts
    if classes is None or counts is None or not trained.is_finite:
        return 0.0
    trained.trial.model.eval()
    answers = torch.cat([trained.trial.outputs(part).argmax(1).cpu() for part in look.setup.samples.inputs.split(256)])
    rare = [c for c in range(len(counts)) if 0 < counts[c] <= counts.max() / 5]
    return sum(float((answers[classes == c] == c).float().mean()) for c in rare) / max(1, len(rare))


def unnormalised_input(look: Look) -> Found | str | None:
    """Find inputs far from mean 0 and deviation 1 whose normalisation helps clearly."""
    x = look.setup.samples.inputs
    if x.ndim < 2 or not x.is_floating_point():
        return None
    mean, deviation = float(x.float().mean()), float(x.float().std())
    # Pixels from 0 to 1 have mean and deviation between 0.1 and 0.6, and train well: silence from 1/20 to 5.
    if deviation == 0 or (0.05 < deviation < 5 and abs(mean) < 5 * max(deviation, 0.3)):
        return None
    steps = look.setup.steps
    repaired = look.setup.edited(prepare=normaliser(look.setup.samples))
    trained = repaired.train(steps=steps)
    if not is_clearly_better(trained, look.baseline):
        return None
    finding = Finding(
        cause="unnormalised-input",
        says=f"inputs have mean {mean:.3g} and deviation {deviation:.3g}, not 0 and 1.",
        evidence=(f"smallest {float(x.min()):.3g}, largest {float(x.max()):.3g}",),
        confirmed_by=f"normalised: {trained.text()}; as they are: {look.baseline.text()}",
        numbers={"mean": mean, "deviation": deviation},
    )
    return Found(finding, repaired)


def shuffled_labels(look: Look) -> Found | str | None:
    """Find labels that neither neighbours nor a training on other images can tell."""
    near = look.neighbours
    if near is None or look.classes is None:
        return "fewer than 50 samples with classes"
    plain = near.agreement()
    moved = {shift: near.agreement(shift) for shift in SHIFTS}
    best = max(moved, key=lambda shift: moved[shift])
    evidence = [f"the commonest label of the nearest images is right for {percent(plain)}; chance is at most "
                f"{percent(near.chance)}"]  # fmt: skip
    is_sorted = look.setup.samples.source is None and moved[best] > plain + 0.3 and near.is_above_chance(moved[best])
    if is_sorted and moved[best] > 2 * max(plain, near.chance):
        numbers = {"agreement": plain, "moved_by": best, "agreement_moved": moved[best]}
        confirmed = f"labels moved by {best} rows fit the nearest images in {percent(moved[best])}"
        return Found(_shuffled(f"labels are {abs(best)} rows off their images.", evidence, confirmed, numbers))
    if near.is_above_chance(plain) and plain > near.chance + 0.05:
        return None
    apart = _by_heart(look)
    if apart is None:
        return None
    learned, held, count = apart
    chance = near.chance
    is_chance = held < chance + 3 * math.sqrt(chance * (1 - chance) / count)
    if not is_chance or learned < min(0.9, chance + 0.3):
        return None
    numbers = {"agreement": plain, "learned": learned, "held_out": held}
    confirmed = f"a training knew {percent(learned)} of 96 images by heart and {percent(held)} of {count} others"
    return Found(_shuffled("labels do not belong to their images.", evidence, confirmed, numbers))


def _shuffled(says: str, evidence: list[str], confirmed: str, numbers: dict[str, Any]) -> Finding:
    return Finding(
        cause="shuffled-labels", says=says, evidence=tuple(evidence), confirmed_by=confirmed, numbers=numbers
    )


def _by_heart(look: Look) -> tuple[float, float, int] | None:
    """Train a small network on 96 images until it knows them; return its share right there and on others.

    The network is one of ours, because the user's may be too small or too slow to learn by heart.
    """
    samples = look.setup.samples
    if look.classes is None or len(samples) < 200:
        return None
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    x = samples.inputs[order].float()
    x = ((x - x.mean()) / x.std().clamp(min=1e-6)).flatten(1)
    y = look.classes[order]
    reference = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], 128), torch.nn.ReLU(), torch.nn.Linear(128, int(y.max()) + 1)
    )
    optimizer = torch.optim.Adam(reference.parameters(), lr=3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        functional.cross_entropy(reference(x[:96]), y[:96]).backward()
        optimizer.step()
    with torch.no_grad():
        return share_right(reference(x[:96]), y[:96]), share_right(reference(x[96:]), y[96:]), len(x) - 96


def label_noise(look: Look) -> Found | str | None:
    """Find labels that most neighbours and a network trained without them contradict."""
    near = look.neighbours
    if near is None or look.classes is None:
        return "fewer than 50 samples with classes"
    count = min(len(look.classes), len(near.nearest))
    rows = near.suspects
    if len(rows) < LEAST_NOISE * count or not near.is_above_chance(near.agreement()):
        return None
    clean = torch.tensor(sorted(set(range(count)) - set(rows.tolist())))
    trained = look.setup.train(samples=look.setup.samples.subset(clean))
    trained.trial.model.eval()
    with torch.no_grad():
        outputs = trained.trial.outputs(look.setup.samples.inputs[rows])
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or outputs.shape[1] < 2 or not trained.is_finite:
        return "the network gives no scores of classes"
    agreed = share_right(outputs, near.suggested(rows))
    kept = share_right(outputs, look.classes[rows])
    if agreed < 0.5 or kept > 0.3:
        return None
    answers = outputs.softmax(1).max(1)
    order = answers.values.argsort(descending=True)[:20]
    listed = [{"row": int(rows[i]), "label": int(look.classes[rows[i]]), "looks_like": int(answers.indices[i])}
              for i in order]  # fmt: skip
    share = len(rows) / count
    shown = ", ".join(f"{entry['row']}: {entry['label']}, looks like {entry['looks_like']}" for entry in listed[:6])
    finding = Finding(
        cause="label-noise",
        says=f"about {percent(share)} of the labels disagree with what the images show.",
        evidence=(f"{len(rows)} of {count} images lie among images of one other class", f"rows {shown} ..."),
        confirmed_by=f"trained without them, the network gives {percent(agreed)} of them the neighbours' class and "
        f"{percent(kept)} their label",
        numbers={"share": share, "suspects": rows.tolist()[:500], "most_likely": listed},
    )
    return Found(finding, look.setup.edited(samples=look.setup.samples.subset(clean)))


def destroying_augmentation(look: Look) -> Found | str | None:
    """Find augmentation after which even a network trained on augmented images cannot tell the class."""
    augment, samples = look.setup.augment, look.setup.samples
    if augment is None or look.classes is None:
        return None
    torch.manual_seed(0)
    changed = replace(samples, inputs=torch.cat([torch.as_tensor(augment(p)) for p in samples.inputs.split(64)]))
    half = torch.arange(len(samples)) % 2 == 0
    rates = []
    for data in (samples, changed):
        x = data.inputs.float().flatten(1)
        distance = torch.cdist(x[~half], x[half])
        votes = look.classes[half][distance.topk(5, largest=False).indices]
        rates.append(float((votes.mode(1).values == look.classes[~half]).float().mean()))
    plain, augmented = (look.setup.train(samples=data, steps=3 * look.setup.steps) for data in (samples, changed))
    if not (augmented.accuracy < 0.6 * plain.accuracy and rates[1] < 0.7 * rates[0]):
        return None
    finding = Finding(
        cause="label-noise",
        says="the augmentation changes what images show: their labels are no longer true.",
        evidence=(f"nearest images have the right class for {percent(rates[0])}, augmented {percent(rates[1])}",),
        confirmed_by=f"trained on augmented images: {augmented.text()}; on plain ones: {plain.text()}",
        fix="Leave out the transformation that changes the class; weaken the others.",
        numbers={"accuracy": plain.accuracy, "accuracy_augmented": augmented.accuracy},
    )
    return Found(finding, look.setup.edited(augment=None))


def identical_augmentation(look: Look) -> Found | str | None:
    """Find a data set whose random numbers are the same in each worker: two copies of it are asked, as workers are."""
    loader = look.setup.samples.source
    dataset, workers = getattr(loader, "dataset", None), getattr(loader, "num_workers", 0)
    if loader is None or not hasattr(dataset, "__getitem__"):
        return "no DataLoader was given"
    if not workers:
        return None
    init = getattr(loader, "worker_init_fn", None)
    first, second = (_as_worker(dataset, seed, init) for seed in (1, 2))
    # Random within a worker, and yet the same in two of them.
    is_random = not all(torch.equal(a, b) for a, b in zip(*first, strict=True))
    is_same = all(torch.equal(a, b) for part in range(2) for a, b in zip(first[part], second[part], strict=True))
    if not (is_random and is_same):
        return None
    finding = Finding(
        cause="identical-augmentation",
        says=f"the {workers} workers of the loader draw the same random numbers, and again in each epoch.",
        evidence=("an image differs from one reading to the next, but not from one worker to the next",),
        confirmed_by="two copies of the data set were seeded as PyTorch seeds workers 0 and 1, and read 8 images twice",
        numbers={"workers": int(workers)},
    )
    return Found(finding, look.setup)


def _as_worker(dataset: Any, seed: int, init: Any) -> list[list[Tensor]]:
    """Read some images twice from a copy of a data set, seeded as a worker is."""
    own = copy.deepcopy(dataset)
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 -- what PyTorch does in workers
    if init is not None:
        init(seed)
    return [[torch.as_tensor(own[row][0]).clone() for row in range(min(8, len(own)))] for _ in range(2)]
