"""What autograd keeps against a run of the network itself, and live values by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate import models
from striate.anatomy.memory import captured, inference_bytes
from striate.graph import capture


def _kept_by_autograd(model: nn.Module, x: torch.Tensor) -> int:
    """Add up what a plain run saves, by memory, without the model's own."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    found: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(x)
    del output
    return sum(storage.nbytes() for storage in found.values())


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenet_v2"])
@pytest.mark.parametrize("is_training", [True, False])
def test_a_training_step_keeps_what_autograd_keeps(name, is_training):
    model = models.create(name).train(is_training)
    x = torch.rand(2, *((1, 28, 28) if name == "lenet5" else (3, 32, 32)))
    kept = captured(model, x)[1]
    assert kept.total == _kept_by_autograd(model, x)
    assert sum(kept.by_node.values()) == kept.total


def test_in_place_calls_and_masks():
    network = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    graph, kept = captured(network, torch.rand(1, 1, 6, 6))
    found = {node.name: kept.by_node.get(node.index, 0) for node in graph.nodes}
    # The input, 36 numbers; what ReLU wrote, 16; the places of the 4 maxima, whole numbers of 8 bytes.
    assert found == {"input": 144, "0": 0, "1": 64, "2": 32}


def test_frozen_networks_keep_nothing():
    network = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid()).requires_grad_(False)
    assert captured(network, torch.rand(1, 3))[1].total == 0


def test_inference_by_hand():
    network = nn.Sequential(nn.Linear(10, 100), nn.ReLU(inplace=True), nn.Linear(100, 10), nn.Linear(10, 1))
    graph = capture(network, torch.rand(1, 10), keep_values=True)
    # The input stays, 10; at the second layer 100 and its 10 are alive too.
    assert inference_bytes(graph) == 4 * (10 + 100 + 10)
