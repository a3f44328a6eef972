"""The training loss: softmax cross-entropy with smoothing, class weights, mix-up and auxiliary heads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.data.batches import Batch

__all__ = ["AUXILIARY_WEIGHT", "balanced_class_weights", "training_loss"]

# Weight of each auxiliary head's loss. Source: Szegedy et al. 2015, arXiv:1409.4842, sec. 5.
AUXILIARY_WEIGHT = 0.3


def training_loss(
    outputs: Tensor | tuple[Tensor, ...],
    batch: Batch,
    *,
    smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    num_samples: int | None = None,
) -> Tensor:
    r"""Return the mean loss of a batch.

    $L = -\frac{1}{N} \sum_n w_{t_n} \sum_k q_{nk} \log p_{nk}$ with $q$ the (smoothed) target distribution;
    with mix-up, the same for both targets, weighed by the mixing weight; auxiliary heads are added with weight 0.3.

    Args:
        outputs: Logits (N, K), or a tuple of them whose first is the main head.
        batch: Targets (N,), and for mix-up the partners' targets (N,) and the weights of the first image (N,).
        smoothing: Share of the target spread evenly over the K classes.
        class_weights: Weight of each class, (K,), mean 1 over the training samples.
        num_samples: N in the formula; more than the batch holds when several processes share one.

    Source: label smoothing: Szegedy et al. 2016, arXiv:1512.00567, sec. 7; mix-up: Zhang et al. 2018, arXiv:1710.09412.
    """
    if isinstance(outputs, tuple):
        main, *auxiliary = (
            training_loss(head, batch, smoothing=smoothing, class_weights=class_weights, num_samples=num_samples)
            for head in outputs
        )
        return main + AUXILIARY_WEIGHT * torch.stack(auxiliary).sum()
    logits = outputs.float()
    total = num_samples or len(batch.targets)
    losses = _losses(logits, batch.targets, smoothing=smoothing, class_weights=class_weights)
    if batch.mix_targets is not None and batch.mix_weight is not None:
        partners = _losses(logits, batch.mix_targets, smoothing=smoothing, class_weights=class_weights)
        losses = batch.mix_weight * losses + (1 - batch.mix_weight) * partners
    return losses.sum() / total


def balanced_class_weights(targets: Tensor, *, num_classes: int) -> Tensor:
    """Return one weight a class, inversely proportional to its frequency, with mean 1 over the samples.

    Example:
        >>> balanced_class_weights(torch.tensor([0, 0, 0, 1]), num_classes=2)
        tensor([0.6667, 2.0000])
    """
    counts = torch.bincount(targets, minlength=num_classes).clamp(min=1)
    return len(targets) / (num_classes * counts.float())


def _losses(logits: Tensor, targets: Tensor, *, smoothing: float, class_weights: Tensor | None) -> Tensor:
    """Return the loss of each sample, (N,). PyTorch's own `weight` would divide by the weights of the batch."""
    losses = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    return losses if class_weights is None else losses * class_weights[targets]
