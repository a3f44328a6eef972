"""What the messages of other diagnosis packages mean in our vocabulary: a table, generous on purpose.

A message may stand for several causes: all that it names, or that its advice would mend. A peer has named a fault if
any of its messages stands for a right cause, however many wrong ones stand beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["IGNORED", "INFO", "MEANINGS", "named_by", "warnings_among"]

INFO = "info: "
"""Before a message that a peer gives for information only: it may name a fault, but is no alarm."""
MEANINGS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "torchtest2": (
        (r"^output_finite", ("nan-origin",)),
        (r"^output_varies", ("dead-relu", "saturated-activation", "vanishing-gradient", "bad-initialisation")),
        (r"^eval_determinism", ("dropout-at-evaluation",)),
        (r"^loss: .*(loss raised|must be)", ("wrong-loss",)),
        (r"^loss: .*Expected more than 1 value per channel", ("batch-norm-misuse",)),
        (r"^loss: .*(not connected|leaf tensor)", ("gradient-not-reaching",)),
        (r"^loss: the loss is -?(nan|inf)", ("nan-origin",)),
        (r"^initial_loss: .*much larger", ("unnormalised-input", "bad-initialisation", "wrong-loss")),
        (r"^initial_loss: .*suspiciously low", ("wrong-loss",)),
        (r"^optimizer_coverage", ("not-in-optimizer",)),
        (r"^gradient_flow: .*get no gradient", ("gradient-not-reaching",)),
        (r"^gradient_flow: .*all-zero", ("gradient-not-reaching", "dead-relu", "saturated-activation")),
        (r"^gradient_magnitude: .*NaN", ("nan-origin",)),
        (r"^gradient_magnitude: .*exploding", ("exploding-gradient", "bad-initialisation", "unnormalised-input")),
        (r"^params_change: .*after an optimizer step",
         ("gradient-not-reaching", "not-in-optimizer", "learning-rate-too-low")),
        (r"^params_change: .*exactly zero", ("gradient-not-reaching", "dead-relu", "saturated-activation")),
        (r"^params_change: .*vanishing", ("vanishing-gradient", "learning-rate-too-low")),
        (r"^frozen_params", ("gradient-not-reaching",)),
        (r"^batch_independence", ("batch-mixing", "batch-norm-misuse")),
        (r"^overfit_batch: .*the loss became", ("learning-rate-too-high", "nan-origin")),
        (r"^overfit_batch: .*gradients became", ("nan-origin", "learning-rate-too-high")),
        (r"^overfit_batch: .*did not decrease",
         ("learning-rate-too-high", "learning-rate-too-low", "wrong-loss", "loss-broadcast", "shuffled-labels")),
        (r"^overfit_batch: .*may lack", ("underfitting", "learning-rate-too-low")),
    ),
    "torchmortem": (
        (r"^Vanishing gradients", ("vanishing-gradient",)),
        (r"^Gradient stalling", ("gradient-not-reaching", "vanishing-gradient", "dead-relu")),
        (r"^Exploding gradients", ("exploding-gradient", "learning-rate-too-high", "bad-initialisation")),
        (r"^Dead units", ("dead-relu",)),
        (r"^Activation saturation", ("saturated-activation",)),
        (r"^Update ratio too low", ("learning-rate-too-low", "vanishing-gradient")),
        (r"^Update ratio too high", ("learning-rate-too-high",)),
        (r"^Training divergence", ("learning-rate-too-high", "nan-origin")),
        (r"^Loss plateau", ("learning-rate-too-low", "underfitting")),
        (r"^(Rank collapse|Representation bottleneck)", ("underfitting",)),
        (r"^Weight norm explosion", ("learning-rate-too-high", "exploding-gradient")),
        (r"^Stagnant weight norms",
         ("learning-rate-too-low", "gradient-not-reaching", "not-in-optimizer", "vanishing-gradient")),
        (r"^Inter-layer weight norm imbalance", ("bad-initialisation",)),
        (r"^Instability feedback loop", ("exploding-gradient", "learning-rate-too-high")),
        (r"^Gradient starvation", ("vanishing-gradient", "dead-relu")),
        (r"^Catapult phase", ("learning-rate-too-high",)),
        (r"^Training trapped", ("learning-rate-too-high",)),
    ),
    "torch-audit": (
        (r"^TA100", ("nan-origin",)),
        (r"^TA102", ("exploding-gradient", "learning-rate-too-high", "bad-initialisation")),
        (r"^TA103", ("dead-relu", "gradient-not-reaching")),
        (r"^TA104", ("gradient-not-reaching",)),
        (r"^TA105", ("dead-relu",)),
        (r"^TA30[12]", ("unnormalised-input",)),
        (r"^TA304", ("batch-norm-misuse",)),
        (r"^TA305", ("wrong-loss",)),
        (r"^TA40[123]", ("underfitting",)),
        (r"^TA405", ("dead-relu", "bad-initialisation")),
        (r"^TA500", ("gradient-not-reaching",)),
        (r"^TA501", ("batch-norm-misuse",)),
    ),
    "neural-net-checklist": (
        (r"^Loss at initialization", ("unnormalised-input", "bad-initialisation", "wrong-loss")),
        (r"^Model is not well-calibrated", ("unnormalised-input", "bad-initialisation")),
        (r"^[abc]_out", ("batch-mixing", "batch-norm-misuse", "dropout-at-evaluation")),
        (r"^Gradient for .* is None", ("gradient-not-reaching",)),
        (r"^Gradient for .* is all zeros",
         ("gradient-not-reaching", "dead-relu", "saturated-activation", "vanishing-gradient")),
        (r"^Gradient of .* is not zero", ("batch-mixing", "batch-norm-misuse")),
        (r"^Gradient of .* is all zeros", ("gradient-not-reaching", "dead-relu", "saturated-activation")),
        (r"^Regular loss", ("vanishing-gradient", "dead-relu", "saturated-activation", "shuffled-labels")),
        (r"^Failed to overfit", ("underfitting", "vanishing-gradient", "shuffled-labels")),
        (r"\bnan\b", ("nan-origin",)),
        (r"out of bounds", ("wrong-loss",)),
        (r"does not require grad", ("gradient-not-reaching",)),
        (r"Expected more than 1 value per channel", ("batch-norm-misuse",)),
    ),
}  # fmt: skip
"""For each peer: what is found in a message, and the causes that it then stands for."""

IGNORED: dict[str, str] = {"torch-audit": r"^TA(2\d\d|400|404)"}
"""Advice about speed and style, which is no warning of a fault: left out of faults and healthy trainings alike."""


def warnings_among(peer: str, messages: Iterable[str]) -> list[str]:
    """Return the messages that count as warnings: neither marked `INFO` nor `IGNORED`."""
    ignored = IGNORED.get(peer)
    return [
        message
        for message in messages
        if not message.startswith(INFO) and (ignored is None or not re.search(ignored, message))
    ]


def named_by(peer: str, messages: Iterable[str]) -> list[str]:
    """Return all causes for which any of a peer's messages stands, each once.

    Args:
        peer: A key of `MEANINGS`.
        messages: As the peer gave them.

    Example:
        >>> named_by("torchmortem", ["Dead units in act2"])
        ['dead-relu']
    """
    found = [
        cause
        for message in messages
        for pattern, causes in MEANINGS[peer]
        if re.search(pattern, message.removeprefix(INFO), re.DOTALL)
        for cause in causes
    ]
    return list(dict.fromkeys(found))
