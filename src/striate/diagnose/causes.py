"""The vocabulary of the diagnosis: every name that `Finding.cause` can have, what it means, and the edit that helps.

It imports nothing heavy, so that the documentation and the command line can read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CAUSES", "Cause", "Severity"]

Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One thing that goes wrong."""

    name: str
    severity: Severity
    """``error``: learning is prevented or a figure is wrong; ``warning``: something is lost."""
    meaning: str
    fix: str


_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    ("unnormalised-input", "error", "Inputs are far from mean 0 and deviation 1, and that costs learning.",
     "Subtract the mean and divide by the deviation of the training images: (x - mean) / std, in evaluation too."),
    ("softmax-before-loss", "error", "The network ends in a softmax or sigmoid, and the loss applies it once more.",
     "Return the logits: remove the last softmax or sigmoid, and use it only to show probabilities."),
    ("wrong-loss", "error", "The loss does not fit the labels or the outputs: it rewards something else.",
     "Use cross_entropy(logits, labels): logits (N, C), labels (N,) integers from 0 to C - 1."),
    ("shuffled-labels", "error", "Labels do not belong to their images: they can be learned by heart only.",
     "Pair images and labels again: shuffle both with one permutation, sort both lists of files alike."),
    ("label-noise", "warning", "Many labels disagree with what images show, or augmentation changes what they show.",
     "Look through the images listed, correct or drop them; leave out the augmentation that changes the class."),
    ("learning-rate-too-high", "error", "Steps are so large that the loss does not fall, or rises.",
     "Lower the learning rate to the one that the range test suggests."),
    ("learning-rate-too-low", "error", "Steps are so small that nearly nothing changes.",
     "Raise the learning rate to the one that the range test suggests."),
    ("missing-zero-grad", "error", "Gradients of earlier steps are still there and add up.",
     "Call optimizer.zero_grad() once before each backward pass (or after each step)."),
    ("gradient-not-reaching", "error", "Parameters get no gradient: detached, frozen, unused, or cleared too early.",
     "Remove detach(), .data, no_grad() or argmax on the way from the layer to the loss; set requires_grad."),
    ("not-in-optimizer", "error", "The optimizer does not hold parameters that should learn, or holds those of another "
     "network.", "Make the optimizer after the last change to the network: Adam(model.parameters(), ...); keep layers "
     "in nn.ModuleList, not in a list."),
    ("no-activation", "error", "Layers with weights follow each other with nothing non-linear between: they are one.",
     "Put an activation such as nn.ReLU() between them."),
    ("vanishing-gradient", "error", "The gradient shrinks from layer to layer, so the first layers do not learn.",
     "Use ReLU instead of sigmoid or tanh, He initialisation, batch normalisation or shortcuts."),
    ("exploding-gradient", "error", "The gradient grows from layer to layer or from step to step.",
     "Initialise by fan-in (He), add batch normalisation, or clip: torch.nn.utils.clip_grad_norm_(params, 1.0)."),
    ("saturated-activation", "error", "Most outputs of a sigmoid or tanh lie at its ends, where its slope is 0.",
     "Start with smaller weights, normalise what comes in, or use ReLU."),
    ("dead-relu", "error", "ReLU channels are 0 for every image and get no gradient.",
     "Set the biases of the dead channels to 0 and draw their weights again; lower the rate, or use LeakyReLU."),
    ("bad-initialisation", "error", "First weights are far too large or all alike: the loss does not start at ln C.",
     "Draw weights by fan-in (nn.init.kaiming_normal_) and start biases at 0."),
    ("batch-norm-misuse", "error", "Batch normalisation uses the wrong statistics: frozen at the start, of one image, "
     "of the batch at evaluation, or averaged with a useless momentum.",
     "Train with model.train(), evaluate with model.eval(), keep momentum near 0.1 and batches of 8 or more."),
    ("dropout-at-evaluation", "error", "Dropout is active in evaluation mode: the same image gets different answers.",
     "Use nn.Dropout, or F.dropout(x, p, training=self.training)."),
    ("overfitting", "warning", "The loss on held-out images rises while that on the training images falls.",
     "Stop at the best epoch; use augmentation, weight decay, dropout or more data."),
    ("underfitting", "warning", "Not even the training images are learned, though a small network learns them.",
     "Widen the narrowest layer, take out weight decay and dropout, train longer."),
    ("class-imbalance", "warning", "Rare classes are drowned by frequent ones, and are hardly recognised.",
     "Weight the loss by 1 / frequency or draw batches with WeightedRandomSampler; look at the recall of each class."),
    ("train-validation-leak", "error", "Validation images are also among the training images, exactly or nearly.",
     "Remove them from one of the two, then split by source (person, video, original), not by image."),
    ("batch-mixing", "error", "What the network says about one image depends on the other images of the batch.",
     "Look at the named operation: reduce over dim >= 1, and keep dim 0 in view and reshape."),
    ("nan-origin", "error", "A number that is not finite appears.",
     "Guard the named operation: log(x + eps), sqrt(x + eps), division by x + eps; remove the named images."),
    ("identical-augmentation", "warning", "Workers, or epochs, draw the same random numbers.",
     "Draw from torch's generator, or seed your own in worker_init_fn from torch.initial_seed()."),
    ("eval-in-train-mode", "error", "The network is evaluated in training mode: dropout, batch statistics are active.",
     "Call model.eval() before evaluation and model.train() after it."),
    ("loss-broadcast", "error", "Outputs and targets differ in shape, and each is compared with all of the others.",
     "Give both one shape: outputs.squeeze(1), or targets.unsqueeze(1)."),
)  # fmt: skip

CAUSES: dict[str, Cause] = {
    name: Cause(name=name, severity=severity, meaning=meaning, fix=fix) for name, severity, meaning, fix in _ROWS
}
"""By name, in the order of the documentation."""
