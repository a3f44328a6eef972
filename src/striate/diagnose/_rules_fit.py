"""Rules about what a network has learned: too little of the training images, or too much of them."""

from __future__ import annotations

import math

import torch
from torch import nn

from striate.diagnose._look import Look
from striate.diagnose._rule import Found, percent
from striate.diagnose._samples import Samples
from striate.diagnose._setup import Setup, Trial, share_right
from striate.diagnose.finding import Finding

__all__ = ["overfitting", "underfitting"]


def underfitting(look: Look) -> Found | str | None:
    """Try to learn 32 images by heart at several rates; where that fails, compare with a small reference network."""
    if look.learns:
        return None
    if look.classes is None or look.loss is None or not look.loss.scores_classes:
        return "outputs are no scores of classes"
    few = look.setup.samples.subset(look.rows[:: max(1, len(look.rows) // 32)][:32])
    chance = float(few.classes.bincount().max()) / len(few) if few.classes is not None else 1.0
    enough = chance + 0.6 * (1 - chance)
    tried = [look.setup.edited(rate=look.setup.rate * f).train(samples=few, steps=150) for f in (1.0, 3.0, 10.0)]
    best = max(tried, key=lambda trained: trained.accuracy)
    if best.accuracy >= enough:
        return None
    free = look.setup.edited(_free).train(samples=few, steps=150)
    reference = _reference(look, few)
    if max(free.accuracy, reference) < best.accuracy + 0.2:
        return None
    held_back = free.accuracy >= best.accuracy + 0.2
    finding = Finding(
        cause="underfitting",
        says=f"the network cannot learn even {len(few)} images by heart: {percent(best.accuracy)} are right.",
        evidence=("weight decay and dropout hold it back" if held_back else _narrowest(look),),
        confirmed_by=f"without weight decay and dropout {percent(free.accuracy)}, a reference network of 64 hidden "
        f"units {percent(reference)}",
        fix="Lower weight decay and dropout." if held_back else "Widen the narrowest layers, or add some.",
        numbers={"accuracy": best.accuracy, "without_regularisation": free.accuracy, "reference": reference},
    )
    return Found(finding, look.setup)


def _free(trial: Trial) -> None:
    for group in trial.optimizer.param_groups:
        if "weight_decay" in group:
            group["weight_decay"] = 0.0
    for module in trial.model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0


def _narrowest(look: Look) -> str:
    layers = [(n, m) for n, m in look.setup.model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not layers:
        return "it has no layers with weights"
    name, layer = min(layers[:-1] or layers, key=lambda pair: len(pair[1].weight))
    return f"its narrowest layer, `{name}`, has {len(layer.weight)} units"


def _reference(look: Look, few: Samples) -> float:
    """Return the share of the images that a network of one hidden layer learns in as many steps."""
    inputs = look.setup.prepare(few.inputs.to(look.setup.device)).flatten(1).float().cpu()
    inputs = (inputs - inputs.mean()) / inputs.std().clamp(min=1e-6)
    classes = few.classes
    if classes is None:
        return 0.0
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(inputs.shape[1], 64), nn.ReLU(), nn.Linear(64, int(classes.max()) + 1))
    samples = Samples(inputs=inputs, targets=classes, batch_size=len(inputs))
    setup = Setup(model=model, loss_fn=nn.functional.cross_entropy, samples=samples,
                  optimizer=torch.optim.Adam(model.parameters(), lr=3e-3))  # fmt: skip
    return setup.train(steps=150).accuracy


def overfitting(look: Look) -> Found | str | None:
    """Compare a trained network on training and validation images."""
    held, samples = look.setup.validation, look.setup.samples
    if held is None:
        return "no validation data was given"
    if look.classes is None or held.classes is None or look.loss is None or not look.loss.scores_classes:
        return "outputs are no scores of classes"
    with torch.no_grad():
        scores = []
        for data in (samples, held):
            outputs = torch.cat([look.calm.outputs(part) for part in data.inputs.split(256)])
            targets = data.targets.to(outputs.device)
            scores.append((float(look.calm.loss(outputs, targets)), share_right(outputs, data.targets)))
    (loss, right), (loss_held, right_held) = scores
    error = math.sqrt(max(right_held * (1 - right_held), 0.01) / len(held))
    # Every network knows its training images better; a fifth of all images and five times the loss is another matter.
    if not (right > 0.9 and right - right_held > max(0.2, 4 * error) and loss_held > 5 * max(loss, 0.02)):
        return None
    finding = Finding(
        cause="overfitting",
        says=f"{percent(right)} of the training images are right, and {percent(right_held)} of the others.",
        evidence=(f"loss {loss:.3g} on training images, {loss_held:.3g} on validation images",),
        confirmed_by=f"both were evaluated in evaluation mode: {len(samples)} and {len(held)} images",
        numbers={"accuracy": right, "accuracy_held_out": right_held, "loss": loss, "loss_held_out": loss_held},
    )
    return Found(finding, look.setup)
