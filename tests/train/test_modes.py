from __future__ import annotations

import pytest
from torch import nn

from striate.train.modes import modes_kept


def test_modes_and_gradients_come_back_after_an_error_too():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).train()
    network[1].eval()
    network[2].bias.requires_grad_(False)
    modes = [module.training for module in network.modules()]

    def change() -> None:
        with modes_kept(network):
            network.eval()
            network.requires_grad_(True)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert [module.training for module in network.modules()] == modes
    assert [name for name, p in network.named_parameters() if not p.requires_grad] == ["2.bias"]
