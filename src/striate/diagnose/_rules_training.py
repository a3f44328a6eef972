"""Rules about the training: first weights, activations, gradients by layer, learning rate, capacity, normalisation."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn

from striate.diagnose._look import Look
from striate.diagnose._repairs import rescaled
from striate.diagnose._rule import Found, percent
from striate.diagnose._setup import Setup, Trained, Trial, is_clearly_better
from striate.diagnose.finding import Finding

__all__ = [
    "bad_initialisation", "batch_norm_misuse", "dead_relu", "exploding_gradient", "learning_rate_too_high",
    "learning_rate_too_low", "saturated_activation", "vanishing_gradient",
]  # fmt: skip

MEANINGFUL = (0.001, 0.5)
"""Momenta of batch normalisation outside are useless: 1 keeps the last batch only, 0 nothing."""


def bad_initialisation(look: Look) -> Found | str | None:
    """Find first weights that are all alike, or so large that the loss starts far above ln C."""
    loss = look.loss
    if loss is None or not loss.scores_classes or loss.refusal is not None:
        return "outputs are no scores of classes"
    alike = _alike(look.setup.model)
    uniform = math.log(loss.outputs.shape[1])
    is_far = loss.is_shift_invariant and loss.squashed is None and loss.value > 3 * uniform
    if not alike and not is_far:
        return None
    repaired = look.setup.edited(rescaled(look.batch[0]))
    trained = repaired.train()
    if not is_clearly_better(trained, look.baseline):
        return None
    evidence = [f"the loss starts at {loss.value:.3g}; for {loss.outputs.shape[1]} classes it should at ln C = "
                f"{uniform:.3g}"]  # fmt: skip
    says = f"the loss starts {loss.value / uniform:.3g} times as high as for a guess: the first weights are too large."
    if alike:
        says = f"the first weights of `{alike[0]}` are all alike, so its units can never differ."
        evidence.append(f"layers whose units are equal: {', '.join(f'`{name}`' for name in alike[:4])}")
    finding = Finding(
        cause="bad-initialisation",
        says=says,
        evidence=tuple(evidence),
        confirmed_by=f"drawn again by fan-in: {trained.text()}; as they are: {look.baseline.text()}",
        numbers={"loss": loss.value, "ln_C": uniform, "alike": alike},
    )
    return Found(finding, repaired)


def _alike(model: nn.Module) -> list[str]:
    """Return layers all of whose units have the same weights; a head that starts at 0 is no fault by itself."""
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d) and len(m.weight) > 1]
    same = [name for name, m in layers if bool((m.weight == m.weight[:1]).all())]
    return same if [name for name in same if layers and name != layers[-1][0]] else []


def saturated_activation(look: Look) -> Found | str | None:
    """Find sigmoids and tanhs most of whose outputs lie at their ends."""
    worst = max(look.activity, key=lambda a: a.saturated, default=None)
    if worst is None or worst.saturated < 0.5:
        return None
    repaired = look.setup.edited(rescaled(look.batch[0]))
    trained = repaired.train()
    if not is_clearly_better(trained, look.baseline):
        return None
    finding = Finding(
        cause="saturated-activation",
        says=f"{percent(worst.saturated)} of the outputs of `{worst.name}` lie at its ends, where it has no slope.",
        evidence=(f"measured on {worst.images} images",),
        confirmed_by=f"with smaller weights: {trained.text()}; as they are: {look.baseline.text()}",
        numbers={"layer": worst.name, "share": worst.saturated},
    )
    return Found(finding, repaired)


def dead_relu(look: Look) -> Found | str | None:
    """Count channels of each ReLU that are 0 for every image, and see whether waking them helps."""
    if look.learns:  # narrow layers have silent units at the start, and learn all the same
        return None
    relus = [a for a in look.activity if a.call.startswith("relu")]
    worst = max(relus, key=lambda a: len(a.dead) / len(a.largest), default=None)
    if worst is None or len(worst.dead) < max(2, 0.5 * len(worst.largest)):
        return None
    repaired = look.setup.edited(rescaled(look.batch[0]))
    trained = repaired.train()
    if not is_clearly_better(trained, look.baseline):
        return None
    by_layer = {a.name: a.dead for a in relus if a.dead}
    counts = ", ".join(f"`{name}` {len(dead)}" for name, dead in [*by_layer.items()][:5])
    finding = Finding(
        cause="dead-relu",
        says=f"{len(worst.dead)} of {len(worst.largest)} channels of `{worst.name}` are 0 for each of "
        f"{worst.images} images, and get no gradient.",
        evidence=(f"dead channels by layer: {counts}", "no image moves their own weights: they come back only if the "
                  "layers before them change"),
        confirmed_by=f"drawn again with bias 0: {trained.text()}; as they are: {look.baseline.text()}",
        numbers={"dead": by_layer, "images": worst.images},
    )  # fmt: skip
    return Found(finding, repaired)


def vanishing_gradient(look: Look) -> Found | str | None:
    """Find gradients that shrink from the output to the input."""
    sizes = [layer for layer in look.layers if math.isfinite(layer.size)]
    if look.learning_graph is None:
        return "the network and its loss cannot be captured as a graph"
    if len(sizes) < 3 or look.learns:
        return None
    last, first = sizes[-1], sizes[0]
    # He's variance rule keeps the size; sigmoid networks of three layers are at 1e-2 and learn.
    # Exactly 0 is another matter: dead units stop it altogether.
    if last.size == 0 or first.size == 0 or first.size > 1e-3 * last.size:
        return None
    calls = {name: (lambda func, x, *args, **options: torch.relu(x)) for name in ("sigmoid", "tanh")}
    repaired = look.setup.edited(rescaled(look.batch[0]), calls={**look.setup.calls, **calls})
    trained, before = (setup.train(steps=2 * look.setup.steps) for setup in (repaired, look.setup))
    if not is_clearly_better(trained, before):
        return None
    factor = (first.size / last.size) ** (1 / (len(sizes) - 1))
    finding = Finding(
        cause="vanishing-gradient",
        says=f"of the gradient at `{last.name}` only {first.size / last.size:.1e} arrives at `{first.name}`.",
        evidence=(f"each of {len(sizes)} layers leaves {percent(factor)} of it on average",),
        confirmed_by=f"with ReLU and weights of variance 1 a layer: {trained.text()}; as it is: {before.text()}",
        numbers={"by_layer": {layer.name: layer.size for layer in sizes}},
    )
    return Found(finding, repaired)


def exploding_gradient(look: Look) -> Found | str | None:
    """Find gradients that grow from the output to the input."""
    sizes = [layer for layer in look.layers if not math.isnan(layer.size)]
    if look.learning_graph is None:
        return "the network and its loss cannot be captured as a graph"
    if len(sizes) < 3 or look.learns:
        return None
    last, first = sizes[-1], max(sizes[:-1], key=lambda layer: layer.size)
    if not first.size > 1e2 * max(last.size, 1e-12):
        return None
    repaired = look.setup.edited(rescaled(look.batch[0]))
    trained = repaired.train()
    if not is_clearly_better(trained, look.baseline):
        return None
    finding = Finding(
        cause="exploding-gradient",
        says=f"the gradient grows by {first.size / max(last.size, 1e-12):.1e} from `{last.name}` to `{first.name}`.",
        evidence=(f"norm at `{first.name}` {first.size:.2e}, at `{last.name}` {last.size:.2e}",),
        confirmed_by=f"with weights of variance 1 a layer: {trained.text()}; as it is: {look.baseline.text()}",
        numbers={"by_layer": {layer.name: layer.size for layer in sizes}},
    )
    return Found(finding, repaired)


def batch_norm_misuse(look: Look) -> Found | str | None:
    """Find batch normalisation with a useless momentum, frozen first statistics, or batches of one image."""
    norms = look.batch_norms
    if not norms:
        return None
    odd = [(n, m) for n, m in norms if m.momentum is not None and m.track_running_stats
           and not MEANINGFUL[0] <= m.momentum <= MEANINGFUL[1]]  # fmt: skip
    frozen = [(n, m) for n, m in norms if not m.training and m.num_batches_tracked is not None
              and int(m.num_batches_tracked) == 0 and look.setup.model.training]  # fmt: skip
    if look.setup.samples.batch_size == 1 and len(look.setup.samples) > 1:
        return _single(look)
    if not odd and not frozen:
        return None
    name, module = (odd or frozen)[0]

    def mend(trial: Trial) -> None:
        for own in trial.model.modules():
            if isinstance(own, nn.modules.batchnorm._BatchNorm):
                own.momentum = 0.1 if odd else own.momentum

    def stay(trial: Trial) -> None:
        for own_name, _ in frozen:
            own = trial.model.get_submodule(own_name).eval()
            vars(own)["train"] = lambda mode=True, own=own: own

    repaired, as_is = look.setup.edited(mend), look.setup.edited(stay)
    after, before = (_evaluated(setup.train(), look) for setup in (repaired, as_is))
    if not after < 0.95 * before and not frozen:
        return None
    says = f"`{name}` averages its statistics with momentum {module.momentum:g}, which keeps "
    says += "only the last batch." if (module.momentum or 0) > 0.5 else "nothing of the batches."
    if not odd:
        says = (
            f"`{name}` is in evaluation mode in a network that trains, with statistics of no batch: mean 0, variance 1."
        )
    finding = Finding(
        cause="batch-norm-misuse", says=says, evidence=(f"{len(odd or frozen)} of {len(norms)} layers",),
        confirmed_by=f"loss in evaluation mode after a brief training: {before:.3g}; mended: {after:.3g}",
        numbers={"layers": [name for name, _ in odd or frozen]},
    )  # fmt: skip
    return Found(finding, repaired)


def _single(look: Look) -> Found | str | None:
    samples = look.setup.samples
    repaired = replace(look.setup, samples=replace(samples, batch_size=min(32, len(samples))))
    finding = Finding(
        cause="batch-norm-misuse",
        says=f"batches hold one image, so `{look.batch_norms[0][0]}` normalises each image by itself.",
        evidence=("the loader yields batches of 1", f"{len(look.batch_norms)} layers of batch normalisation"),
        confirmed_by=f"with 32 images a batch: {repaired.train().text()}; with 1: {_or_error(look.setup)}",
        numbers={"batch_size": 1},
    )
    return Found(finding, repaired)


def _or_error(setup: Setup) -> str:
    try:
        return setup.train().text()
    except ValueError as error:  # PyTorch refuses one value a channel
        return f"{error}"[:80]


@torch.no_grad()
def _evaluated(trained: Trained, look: Look) -> float:
    trained.trial.model.eval()
    loss = float(trained.trial.loss(trained.trial.outputs(look.batch[0]), look.batch[1]))
    return loss if math.isfinite(loss) else math.inf


def learning_rate_too_high(look: Look) -> Found | str | None:
    """Lower the rate tenfold, then again, where the loss does not fall."""
    if look.setup.optimizer is None:
        return "no optimizer was given"
    baseline = look.baseline
    # Noise of a batch moves its loss by some 15 %: one that rises by a third, or stays where it was, is thrown about.
    has_risen = not baseline.is_finite or max(baseline.losses) > 1.33 * baseline.start
    if not has_risen and baseline.end < 0.8 * baseline.start:
        return None
    best, factor = _best(look, (0.1, 0.01, 0.001))
    if best is None or not is_clearly_better(best, baseline):
        return None
    if baseline.is_finite and not best.end < 0.7 * baseline.end:
        return None
    return _rate(look, best, factor, "learning-rate-too-high", f"the loss does not fall: {baseline.text()}.")


def learning_rate_too_low(look: Look) -> Found | str | None:
    """Raise the rate where the loss stands still."""
    if look.setup.optimizer is None:
        return "no optimizer was given"
    baseline = look.baseline
    if look.learns or not baseline.is_finite or baseline.end < 0.93 * baseline.start:
        return None
    best, factor = _best(look, (10.0, 1e2, 1e3, 1e4, 1e5, 1e6))
    # Ten times slower than could be is a matter of patience; what needs thirty times the rate is a slip.
    if best is None or factor < 30 or not best.end < 0.75 * baseline.end:
        return None
    return _rate(look, best, factor, "learning-rate-too-low", f"the loss stands still: {baseline.text()}.")


def _best(look: Look, factors: tuple[float, ...]) -> tuple[Trained | None, float]:
    tried = [(replace(look.setup, rate=look.setup.rate * factor).train(), factor) for factor in factors]
    finite = [(trained, factor) for trained, factor in tried if trained.is_finite]
    return min(finite, key=lambda pair: pair[0].end, default=(None, 1.0))


def _rate(look: Look, best: Trained, factor: float, cause: str, what: str) -> Found:
    optimizer = look.setup.optimizer
    rate = 1e-3 if optimizer is None else float(optimizer.param_groups[0]["lr"])
    finding = Finding(
        cause=cause,
        says=f"at a learning rate of {rate:g} {what}",
        evidence=(f"range test, best of the rates tried: {rate * factor:.2g}",),
        confirmed_by=f"at {rate * factor:.2g}: {best.text()}; at {rate:g}: {look.baseline.text()}",
        fix=f"Set the learning rate to about {rate * factor:.2g}.",
        numbers={"rate": rate, "suggested": rate * factor},
    )
    return Found(finding, replace(look.setup, rate=look.setup.rate * factor))
