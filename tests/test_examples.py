"""The example programs: they run in reduced form, and what they show is so."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from striate import ops

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def module(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


def test_lenet_in_numpy_learns(capsys):
    # 5 epochs on 600 images gave 0.925 to 0.944 for the seeds 0 to 7; the bound leaves room for another BLAS.
    assert module("lenet_in_numpy").train(epochs=5, most_images=600) > 0.88
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all(re.fullmatch(r"epoch  \d  loss \d\.\d{4}  validation \d+\.\d%  \d+ s", line) for line in lines[:5])
    assert re.fullmatch(r"test accuracy \d+\.\d\d% on 359 images", lines[5])


def test_gradient_of_the_whole_network_is_autograds():
    lenet = module("lenet_in_numpy")
    layers = lenet.build(seed=0, dtype=np.float64)
    generator = np.random.default_rng(0)
    x, targets = generator.uniform(size=(3, 1, 32, 32)), np.array([3, 1, 4])
    values = lenet.forward(layers, x)
    gradients = lenet.backward(layers, values, ops.cross_entropy_backward(1.0, values[-1], targets))
    network = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    ).double()  # fmt: skip
    for layer, found in zip(layers, network, strict=True):
        found.load_state_dict({name: torch.tensor(array) for name, array in layer.parameters.items()})
    images = torch.tensor(x, requires_grad=True)
    logits = network(images)
    F.cross_entropy(logits, torch.tensor(targets)).backward()
    assert np.abs(values[-1] - logits.detach().numpy()).max() < 1e-12
    assert np.abs(gradients[0].inputs[0] - images.grad.numpy()).max() < 1e-12
    for gradient, found in zip(gradients, network, strict=True):
        for name, parameter in found.named_parameters():
            assert np.abs(gradient.parameters[name] - parameter.grad.numpy()).max() < 1e-12


def test_step_lowers_the_loss_and_uses_momentum():
    lenet = module("lenet_in_numpy")
    layers = lenet.build(seed=0)
    x, targets = np.random.default_rng(0).uniform(size=(8, 1, 32, 32)).astype(np.float32), np.arange(8)
    losses = [lenet.step(layers, x, targets, lr=0.01) for _ in range(20)]
    assert losses[-1] < losses[0] / 2
    assert all(layer.velocities.keys() == layer.parameters.keys() for layer in layers)
    assert {array.dtype for layer in layers for array in layer.parameters.values()} == {np.dtype(np.float32)}


def test_batches_hold_every_sample_once():
    some = list(module("lenet_in_numpy").batches(10, batch_size=4, generator=np.random.default_rng(0)))
    assert [len(indices) for indices in some] == [4, 4, 2]
    assert sorted(np.concatenate(some).tolist()) == list(range(10))
