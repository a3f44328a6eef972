"""Softmax, entropy and cross-entropy: how certain a network says it is, and what being right costs."""

from __future__ import annotations

import itertools

import numpy as np

from striate.ops.information import categorical_cross_entropy, entropy
from striate.ops.loss import cross_entropy, cross_entropy_backward
from striate.ops.softmax import normalize, softmax
from striate.work._scene import Scene
from striate.work.measurement import Finding, Measurement, counted, equal, unequal, value_text, valued

__all__ = ["better_predictions", "less_certain", "softmax_differences"]


def softmax_differences(scene: Scene) -> Finding:
    """Multiply and move scores before softmax and before plain normalisation."""
    scores = np.array([1.0, 2.0])
    factors = (1, 2, 5, 10)
    larger = {
        "softmax": tuple(float(softmax(factor * scores)[1]) for factor in factors),
        "plain": tuple(float(normalize(factor * scores)[1]) for factor in factors),
    }
    drawn = scene.generator("scores").normal(size=(100, 10))
    moved = float(np.abs(softmax(drawn + 100) - softmax(drawn)).max())
    positive = np.abs(drawn)
    plain_moved = float(np.abs(normalize(positive + 100) - normalize(positive)).max())
    negative = float(normalize([-1.0, 3.0]).min())
    spread = max(larger["plain"]) - min(larger["plain"])
    return Finding(
        method="Scores 1 and 2, times a factor: share of the second. Then 100 x 10 random scores, all raised by 100.",
        rows=(
            Measurement(what="softmax, share of the second", values=larger["softmax"]),
            Measurement(what="plain normalisation", values=larger["plain"]),
            equal("plain: share changed by a factor", spread),
            equal("softmax: share changed by raising all scores", moved),
            unequal("plain: share changed by raising all scores", plain_moved),
            Measurement(what="plain: smallest share of the scores -1 and 3", values=(negative,), most=-0.01),
        ),
        columns=tuple(f"times {factor}" for factor in factors),
        verdict=f"Softmax goes from {value_text(larger['softmax'][0])} to {value_text(larger['softmax'][-1])} as the "
        f"difference grows, plain normalisation moves by {value_text(spread)}. Softmax sees differences only: raising "
        f"all scores changes {value_text(moved)}.",
    )


def less_certain(scene: Scene) -> Finding:
    """Measure the entropy of the texts' containers and of random predictions made less and less certain."""
    containers = {"1 and 29": (1, 29), "4 and 26": (4, 26), "15 and 15": (15, 15)}
    bits = [float(entropy(np.array(counts) / sum(counts))) for counts in containers.values()]
    scores = scene.generator("scores").normal(size=(1000, 10))
    temperatures = (0.25, 0.5, 1, 2, 4)
    curves = np.stack([entropy(softmax(scores / temperature)) for temperature in temperatures])
    falls = int((np.diff(curves, axis=0) < 0).sum())
    uniform = float(entropy(np.full(10, 0.1)))
    rise = min(after - before for before, after in itertools.pairwise(bits))
    return Finding(
        method="In bits: containers with things of two kinds; mean of 1,000 random predictions, scores divided by T.",
        rows=(
            *(valued(f"container with {name}", b) for name, b in zip(containers, bits, strict=True)),
            valued("smallest rise from container to container", rise, least=0.001),
            valued("predictions, mean", *(float(v) for v in curves.mean(axis=1))),
            counted("predictions whose entropy fell", falls, most=0),
            valued("ten equal shares", uniform, least=float(curves.max())),
        ),
        columns=tuple(f"T = {temperature:g}" for temperature in temperatures),
        verdict=f"{bits[0]:.4f} < {bits[1]:.4f} < {bits[2]:.4f} bits: the evener the shares, the higher. Of 1,000 "
        f"predictions {falls} became lower when made less certain; ten equal shares have the most, {uniform:.4f}.",
    )


def better_predictions(scene: Scene) -> Finding:
    """Let the probability of the right class grow, and training improve a prediction."""
    shares = (0.1, 0.5, 0.775, 0.938, 1.0)
    losses = tuple(_loss(share) for share in shares)
    fine = [_loss(float(share)) for share in np.linspace(0.001, 1, 1000)]
    rises = sum(later >= sooner for sooner, later in itertools.pairwise(fine))
    # The texts' other half: a step of gradient descent raises the probability of the right class and lowers the loss.
    generator = scene.generator("scores")
    scores, targets = generator.normal(size=(1000, 10)), generator.integers(0, 10, size=1000)
    before = cross_entropy(scores, targets, reduction="none")
    stepped = scores - 0.5 * cross_entropy_backward(1.0, scores, targets, reduction="sum")
    raised = int((cross_entropy(stepped, targets, reduction="none") >= before).sum())
    return Finding(
        method="Target (1, 0, 0, 0), the rest of the prediction spread evenly, in bits; 1,000 random scores of ten "
        "classes.",
        rows=(
            valued("cross-entropy", *losses),
            counted("of 999 steps from 0.001 to 1, those without a fall", rises, most=0),
            valued("a perfect prediction", *losses[-1:], least=0, most=0),
            counted("of 1,000 steps of descent, those without a fall", raised, most=0),
        ),
        columns=tuple(f"p = {share:g}" for share in shares),
        verdict=f"{losses[2]:.4f} bits at 0.775, {losses[3]:.4f} at 0.938, {losses[4]:.4g} at 1: it fell in "
        f"{len(fine) - 1 - rises} of {len(fine) - 1} steps. A step of gradient descent lowered it for "
        f"{1000 - raised:,} of 1,000 random predictions.",
    )


def _loss(share: float) -> float:
    """Return the cross-entropy in bits of a prediction for four classes that gives the right one some share."""
    rest = (1 - share) / 3
    return float(categorical_cross_entropy([1.0, 0, 0, 0], [share, rest, rest, rest]))
