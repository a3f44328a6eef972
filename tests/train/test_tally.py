"""What one epoch adds up to, and the loss that is no number."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from striate.data.batches import Batch
from striate.errors import DivergedError
from striate.train.distributed import Processes
from striate.train.tally import STEPS_BETWEEN_LOOKS_ON_GPU, Losses, Tally


def _training(*, device="cpu", world_size=1):
    train = SimpleNamespace(identify=lambda index: f"picture {index}")
    recipe = SimpleNamespace(batch_size=4)
    return SimpleNamespace(
        device=torch.device(device),
        tally=Tally(),
        processes=Processes(world_size=world_size),
        run=SimpleNamespace(config=SimpleNamespace(recipe=recipe), folder=Path("runs/x")),
        splits=SimpleNamespace(train=train),
        optimizer=SimpleNamespace(param_groups=[{"lr": 0.25}]),
        epoch=1,
        step_in_epoch=6,
        steps_per_epoch=9,
    )


def _batch(count: int = 4) -> Batch:
    return Batch(torch.zeros(count, 1), torch.tensor([0, 1, 0, 1])[:count], None, None, torch.arange(10, 10 + count))


LOGITS = torch.tensor([[2.0, 1.0], [2.0, 1.0], [2.0, 1.0], [0.0, 1.0]])  # right, wrong, right, right


def test_sums():
    training = _training()
    losses = Losses(training)
    losses.add(torch.tensor(0.5), LOGITS, _batch())
    losses.add(torch.tensor(1.5), (LOGITS, -LOGITS), _batch())  # auxiliary heads are not asked
    assert training.tally == Tally(loss=0.5 * 4 + 1.5 * 4, correct=6, samples=8)
    assert losses.shown == 1.5


def test_one_of_two_processes_shows_the_loss_of_the_whole_batch():
    training = _training(world_size=2)
    losses = Losses(training)
    losses.add(torch.tensor(0.5), LOGITS[:2], _batch(2))
    assert losses.shown == 1.0  # its share of the sum is 0.5
    assert training.tally == Tally(loss=2.0, correct=1, samples=2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number(value):
    losses = Losses(_training())
    with pytest.raises(DivergedError) as raised:
        losses.add(torch.tensor(value), LOGITS, _batch())
    assert str(raised.value) == (
        f"train: the loss became {value} in epoch 2 at step 7 of 9 (learning rate 0.25). "
        "The batch holds picture 10, picture 11, picture 12, picture 13. "
        "Lower --lr, or add --clip-grad 1.0; the last good state is in runs/x/checkpoints."
    )


def test_on_a_gpu_the_queue_is_not_stopped_at_every_step():
    training = _training(device="meta")
    losses = Losses(training)
    for _ in range(STEPS_BETWEEN_LOOKS_ON_GPU - 1):
        losses.add(torch.tensor(0.5), LOGITS, _batch())
    assert (losses.shown, training.tally.samples) == (None, 0)
    losses.settle()
    assert training.tally.samples == 4 * (STEPS_BETWEEN_LOOKS_ON_GPU - 1)
    losses.add(torch.tensor(math.nan), LOGITS, _batch())
    with pytest.raises(DivergedError, match="picture 10"):
        losses.settle()
