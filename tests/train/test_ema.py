"""The moving average against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate.train.ema import ModelEma


def test_weights_follow_the_formula_with_its_warm_up():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(1.0)
    ema = ModelEma(network, decay=0.5)
    expected = 1.0
    for step, value in enumerate((3.0, -1.0, 2.0, 7.0, 0.5, 4.0, 4.0, 1.0, 2.0, 6.0)):
        network.weight.data.fill_(value)
        ema.update(network, step=step)
        decay = min(0.5, (1 + step) / (10 + step))  # 0.1, 0.18, ... until step 8 reaches 0.5
        expected = decay * expected + (1 - decay) * value
        assert ema.model.weight.item() == pytest.approx(expected, rel=1e-6)


def test_buffers_are_copied():
    network = nn.BatchNorm1d(2)
    ema = ModelEma(network, decay=0.9)
    network(torch.randn(8, 2))
    ema.update(network, step=0)
    assert torch.equal(ema.model.running_mean, network.running_mean)
    assert ema.model.num_batches_tracked.item() == 1


def test_the_average_is_a_frozen_copy_in_eval_mode():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout()).to(memory_format=torch.channels_last).train()
    ema = ModelEma(network, decay=0.9)
    assert not ema.model.training
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    assert ema.model[0].weight.data_ptr() != network[0].weight.data_ptr()
    assert all(parameter.requires_grad for parameter in network.parameters())
