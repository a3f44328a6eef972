"""The loss against its formulas, written out in float64."""

from __future__ import annotations

import pytest
import torch

from striate.data.batches import Batch
from striate.train.loss import AUXILIARY_WEIGHT, balanced_class_weights, training_loss


def _batch(targets, *, partners=None, weight=None) -> Batch:
    count = len(targets)
    return Batch(torch.zeros(count, 1), torch.tensor(targets), partners, weight, torch.arange(count))


def _hand_written(logits, targets, *, smoothing=0.0, weights=None):
    """Return the loss of each sample: minus the sum over classes of target times log-probability."""
    log_probabilities = logits.double() - logits.double().exp().sum(dim=1, keepdim=True).log()
    classes = logits.shape[1]
    wanted = torch.full_like(log_probabilities, smoothing / classes)
    wanted[torch.arange(len(targets)), torch.tensor(targets)] += 1 - smoothing
    losses = -(wanted * log_probabilities).sum(dim=1)
    return losses if weights is None else losses * weights.double()[torch.tensor(targets)]


LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0], [1.0, 1.0, 1.0], [-2.0, 4.0, 0.0]])
TARGETS = [0, 2, 1, 1]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 4.0])])
def test_smoothing_and_class_weights(smoothing, weights):
    loss = training_loss(LOGITS, _batch(TARGETS), smoothing=smoothing, class_weights=weights)
    expected = _hand_written(LOGITS, TARGETS, smoothing=smoothing, weights=weights).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_mix_up_weighs_both_targets():
    partners, weight = [1, 0, 2, 1], torch.tensor([0.9, 0.25, 0.5, 1.0])
    batch = _batch(TARGETS, partners=torch.tensor(partners), weight=weight)
    own = _hand_written(LOGITS, TARGETS, smoothing=0.1)
    other = _hand_written(LOGITS, partners, smoothing=0.1)
    expected = (weight * own + (1 - weight) * other).mean()
    assert training_loss(LOGITS, batch, smoothing=0.1).item() == pytest.approx(expected.item(), rel=1e-6)


def test_auxiliary_heads_count_three_tenths():
    heads = (LOGITS, LOGITS + 1.5 * torch.eye(4, 3), -LOGITS)
    main, first, second = (_hand_written(head, TARGETS).mean().item() for head in heads)
    # Szegedy et al. 2015, section 5: the losses of the auxiliary classifiers are weighed by 0.3.
    assert AUXILIARY_WEIGHT == 0.3
    assert training_loss(heads, _batch(TARGETS)).item() == pytest.approx(main + 0.3 * (first + second), rel=1e-6)


def test_shares_of_two_processes_add_up_to_the_whole():
    whole = training_loss(LOGITS, _batch(TARGETS), smoothing=0.1)
    shares = [
        training_loss(LOGITS[:3], _batch(TARGETS[:3]), smoothing=0.1, num_samples=4),
        training_loss(LOGITS[3:], _batch(TARGETS[3:]), smoothing=0.1, num_samples=4),
    ]
    assert sum(share.item() for share in shares) == pytest.approx(whole.item(), rel=1e-6)


def test_bfloat16_logits_are_summed_in_float32():
    loss = training_loss(LOGITS.bfloat16(), _batch(TARGETS))
    assert loss.dtype == torch.float32


def test_balanced_weights_have_mean_one_over_the_samples():
    targets = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = balanced_class_weights(targets, num_classes=3)
    assert weights[targets].mean().item() == pytest.approx(1.0)
    assert (weights[2] / weights[0]).item() == pytest.approx(6.0)


def test_a_class_without_samples_has_a_finite_weight():
    assert torch.isfinite(balanced_class_weights(torch.tensor([0, 0]), num_classes=2)).all()
