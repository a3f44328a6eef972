from __future__ import annotations

import pytest

from striate.tune.modes import modes_kept


def test_modes_and_gradients_come_back_after_an_error_too(small):
    network = small().train()
    network.stem[1].eval()
    network.fc.bias.requires_grad_(False)
    modes = [module.training for module in network.modules()]

    def change() -> None:
        with modes_kept(network):
            network.eval()
            network.requires_grad_(True)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert [module.training for module in network.modules()] == modes
    assert [name for name, p in network.named_parameters() if not p.requires_grad] == ["fc.bias"]
