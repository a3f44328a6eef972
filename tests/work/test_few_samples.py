"""The bars that two networks learn, and what they make of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.ops.loss import cross_entropy_backward
from striate.work import few_samples
from striate.work._scene import read_scene
from striate.work.few_samples import NETWORKS, Bars

SCENE = read_scene(None, seed=0)


@pytest.mark.parametrize("measure", [few_samples.few_samples, few_samples.moved_task])
@pytest.mark.parametrize("seed", [1, 2])
def test_as_claimed(measure, seed):
    finding = measure(read_scene(None, seed=seed))
    assert [row.what for row in finding.rows if not row.is_as_claimed] == []


@pytest.mark.parametrize(("first", "last"), [(2, 18), (2, 10), (10, 18)])
def test_bars_lie_where_they_should(monkeypatch, first, last):
    monkeypatch.setattr(few_samples, "NOISE", 0.0)
    bars = Bars.draw(np.random.default_rng(0), 300, first=first, last=last)
    assert set(bars.targets.tolist()) == {0, 1}
    columns = np.flatnonzero(bars.x.any(axis=(0, 1, 2)))
    assert (columns[0], columns[-1]) == (first, last - 1)
    for picture, upright in zip(bars.x[:, 0], bars.targets, strict=True):
        rows, columns = np.nonzero(picture)
        assert len(rows) == 5
        assert (len(set(rows)), len(set(columns))) == ((5, 1) if upright else (1, 5))


@pytest.mark.parametrize("name", ["convolution", "dense"])
def test_gradients_by_autograd(name):
    network, generator = NETWORKS[name], np.random.default_rng(1)
    bars = Bars.draw(generator, 6)
    arrays = [generator.normal(size=shape) for shape in network.shapes]
    logits, kept = network.forward(bars.x, arrays)
    gradients = network.backward(cross_entropy_backward(1.0, logits, bars.targets), arrays, kept)
    p = [torch.tensor(array, requires_grad=True) for array in arrays]
    x = torch.tensor(bars.x)
    if name == "convolution":
        features = torch.relu(torch.nn.functional.conv2d(x, p[0], p[1], padding=2)).amax(dim=(2, 3))
    else:
        features = torch.relu(x.reshape(6, -1) @ p[0].T + p[1])
    expected = features @ p[2].T + p[3]
    torch.nn.functional.cross_entropy(expected, torch.tensor(bars.targets)).backward()
    np.testing.assert_allclose(logits, expected.detach().numpy(), atol=1e-12)
    for gradient, tensor in zip(gradients, p, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), atol=1e-12)


def test_the_dense_network_is_the_larger_one():
    finding = few_samples.few_samples(SCENE)
    assert "parameters: 114 and 7,778" in finding.method  # 4 x 25 + 4 + 8 + 2; 240 x 32 + 32 + 64 + 2


def test_a_dense_network_does_not_pass_for_a_convolution(monkeypatch):
    monkeypatch.setitem(few_samples.NETWORKS, "convolution", NETWORKS["dense"])
    assert not all(row.is_as_claimed for row in few_samples.moved_task(SCENE).rows)
