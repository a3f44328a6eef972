"""Rules about numbers that are not finite, and about the loss: whether it fits the outputs and the labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from striate.diagnose._look import Look
from striate.diagnose._loss_probe import LossProbe
from striate.diagnose._rule import Found, percent
from striate.diagnose._setup import Setup, is_clearly_better
from striate.diagnose.finding import Finding
from striate.graph import Graph
from striate.graph.graph import Node

__all__ = ["loss_broadcast", "nan_origin", "softmax_before_loss", "wrong_loss"]


def nan_origin(look: Look) -> Found | str | None:
    """Find the first image, layer or gradient that is not finite, with the first weights."""
    samples = look.setup.samples
    if samples.inputs.is_floating_point():
        bad = (~samples.inputs.flatten(1).isfinite().all(1)).nonzero()[:, 0].tolist()
        if bad:
            kept = torch.tensor([r for r in range(len(samples)) if r not in set(bad)], dtype=torch.long)
            repaired = look.setup.edited(samples=samples.subset(kept)) if len(kept) else None
            return _not_finite(
                f"{len(bad)} of {len(samples)} images hold numbers that are not finite, first image {bad[0]}",
                f"images {_some(bad)}", "every image was looked at", repaired, rows=bad[:100])  # fmt: skip
    if not isinstance(look.outputs, Tensor):
        return "the network returns no single tensor"
    if not bool(look.outputs.isfinite().all()):
        node = None if look.graph is None else _first_not_finite(look.graph)
        where = f"`{node.name}` ({node.call})" if node is not None else "the network"
        return _not_finite(
            f"{where} is the first to answer with numbers that are not finite, on finite inputs",
            f"first of {0 if look.graph is None else len(look.graph.nodes)} nodes in the order of execution",
            "the forward pass was repeated and each node's inputs and output compared", None,
            layer=None if node is None else node.name)  # fmt: skip
    if look.loss is not None and look.loss.refusal is None and not math.isfinite(look.loss.value):
        return _not_finite("the loss is not finite for finite outputs", f"loss {look.loss.value}",
                           "the loss was computed from finite outputs", None, layer="loss")  # fmt: skip
    if look.loss is None or look.loss.refusal is not None or not look.parameters.not_finite:
        return None
    names = look.parameters.not_finite
    node = None if look.learning_graph is None else _first_bad_gradient(look.learning_graph)
    where = f"`{node.name}` ({node.call})" if node is not None else f"the way to `{names[-1]}`"
    return _not_finite(
        f"the backward pass through {where} gives gradients that are not finite, though the loss is",
        f"{len(names)} parameters, among them `{names[0]}`", "one backward pass with the first weights", None,
        layer=None if node is None else node.name)  # fmt: skip


def _not_finite(
    says: str, evidence: str, confirmed: str, repaired: Setup | None, *, layer: str | None = None,
    rows: list[int] | None = None,
) -> Found:  # fmt: skip
    numbers = {"layer": layer, "images": rows or []}
    return Found(
        Finding(cause="nan-origin", says=says + ".", evidence=(evidence,), confirmed_by=confirmed, numbers=numbers),
        repaired,
    )


def _some(rows: list[int]) -> str:
    return ", ".join(map(str, rows[:10])) + (" ..." if len(rows) > 10 else "")


def _first_not_finite(graph: Graph) -> Node | None:
    for node in graph.nodes:
        value = graph.value(node)
        if value.is_floating_point() and not bool(value.isfinite().all()):
            return node
    return None


def _first_bad_gradient(graph: Graph) -> Node | None:
    """Return the node nearest the loss that hands a gradient down which is not finite."""
    for node in reversed(graph.nodes):
        own = graph.gradient(node)
        if own is None or not bool(own.isfinite().all()):
            continue
        for source in node.inputs:
            gradient = graph.gradient(source)
            if gradient is not None and not bool(gradient.isfinite().all()):
                return node
    return None


def loss_broadcast(look: Look) -> Found | str | None:
    """Find outputs and targets of different shapes that the loss compares all with all."""
    loss = look.loss
    if loss is None:
        return "the network returns no single tensor"
    outputs, targets = loss.outputs, loss.targets
    if loss.refusal is not None or outputs.shape == targets.shape or loss.crosstalk < 1e-3:
        return None
    try:
        together = torch.broadcast_shapes(outputs.shape, targets.shape)
    except RuntimeError:
        return None
    if math.prod(together) <= max(outputs.numel(), targets.numel()):
        return None
    repaired = None
    if outputs.numel() == targets.numel():
        repaired = look.setup.edited(finish=lambda out: look.setup.finish(out).reshape(-1), samples=look.setup.samples)
    finding = Finding(
        cause="loss-broadcast",
        says=f"the loss compares each of the {len(outputs)} outputs with all {len(targets)} targets, "
        "not with its own.",
        evidence=(f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)} are stretched to "
                  f"{tuple(together)}",),
        confirmed_by="the targets of the other images were changed, and the gradient of the first image's output "
        f"turned by {percent(min(1.0, loss.crosstalk))}; it must not",
        numbers={"outputs": list(outputs.shape), "targets": list(targets.shape), "crosstalk": loss.crosstalk},
    )  # fmt: skip
    return Found(finding, repaired)


def wrong_loss(look: Look) -> Found | str | None:
    """Find a loss that refuses the labels, rewards wrong answers, falls below 0 or takes classes for quantities."""
    loss = look.loss
    if loss is None:
        return "the network returns no single tensor"
    if loss.refusal is not None:
        return _wrong(look, "the loss refuses these outputs and labels", _shapes(loss, loss.refusal),
                      "the loss was called on the network's own outputs")  # fmt: skip
    classes = look.classes
    if classes is None:
        return "targets are not classes"
    count = int(classes.max()) + 1
    is_single = loss.outputs.numel() == len(loss.outputs)
    if is_single and count > 2:
        says = f"the loss takes the numbers of {count} classes for quantities: class 9 for more than class 1"
        confirmed = f"labels are {count} classes, and the loss accepted one output an image: a regression"
        return _wrong(look, says, _shapes(loss, "one output an image"), confirmed)
    if not loss.scores_classes:
        return None
    right, wrong = loss.right_and_wrong
    if math.isfinite(right) and math.isfinite(wrong) and right >= wrong:
        words = "is the same for right and wrong answers" if right == wrong else "is smaller for wrong answers"
        return _wrong(look, f"the loss {words}", f"right answers {right:.3g}, wrong answers {wrong:.3g}",
                      "the loss was asked about perfect answers and about answers for the next class")  # fmt: skip
    if loss.unbounded < -10 and not loss.are_log_probabilities:
        better = _with_cross_entropy(look, probabilities=loss.squashed == "softmax")
        wanted = "log-probabilities, and gets " + ("probabilities" if loss.squashed else "logits")
        evidence = f"loss {loss.value:.3g}; for right outputs of 100 it is {loss.unbounded:.3g}: it has no lower end"
        confirmed = f"with cross_entropy: {better.train().text()}; as it is: {look.baseline.text()}"
        return Found(_finding(f"the loss wants {wanted}", evidence, confirmed), better)
    return None


def _with_cross_entropy(look: Look, *, probabilities: bool) -> Setup:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if probabilities:
            outputs = outputs.clamp(min=1e-12).log()
        return functional.cross_entropy(outputs, targets.long())

    return look.setup.edited(loss_fn=loss)


def _finding(says: str, evidence: str, confirmed: str) -> Finding:
    return Finding(cause="wrong-loss", says=says + ".", evidence=(evidence,), confirmed_by=confirmed)


def _wrong(look: Look, says: str, evidence: str, confirmed: str) -> Found:
    return Found(_finding(says, evidence, confirmed))


def _shapes(loss: LossProbe, words: str) -> str:
    return f"outputs {tuple(loss.outputs.shape)}, labels {tuple(loss.targets.shape)} {loss.targets.dtype}: {words}"


def softmax_before_loss(look: Look) -> Found | str | None:
    """Find outputs that are probabilities already, under a loss that makes them from logits."""
    loss = look.loss
    if loss is None:
        return "the network returns no single tensor"
    if loss.refusal is not None or loss.squashed is None or look.classes is None:
        return None
    squashed, (at_best, at_logits) = loss.squashed, loss.best_of_squashed
    # A loss that wants probabilities is 0 for perfect ones; one that applies softmax or sigmoid cannot come near it.
    if not (math.isfinite(at_logits) and at_best > 0.1 and at_logits < 0.1 * at_best):
        return None
    undone = torch.log if squashed == "softmax" else torch.logit
    finish = look.setup.finish
    repaired = look.setup.edited(finish=lambda out: undone(finish(out).clamp(1e-7, 1 - 1e-7)))
    trained = repaired.train()
    lower = trained.end < 0.95 * look.baseline.end
    if not is_clearly_better(trained, look.baseline) and not (lower and trained.is_finite):
        return None
    finding = Finding(
        cause="softmax-before-loss",
        says=f"the network's outputs have gone through a {squashed}, and the loss applies it again.",
        evidence=(f"even for perfect answers the loss is {at_best:.3g}; from logits it would be {at_logits:.2g}",),
        confirmed_by=f"without the {squashed}: {trained.text()}; as it is: {look.baseline.text()}",
        numbers={"squashed": squashed, "loss_of_perfect_answers": at_best},
    )
    return Found(finding, repaired)
