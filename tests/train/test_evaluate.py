"""Logits of a whole data set: each sample once, in order, in the mode and with the mirror images asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import striate
from striate.data import statistics
from striate.train.distributed import Processes
from striate.train.evaluate import logits_of, predict_logits
from striate.train.machine import Configuration


def _dataset(count: int = 7):
    images = np.random.default_rng(0).integers(0, 255, size=(count + 8, 6, 6), dtype=np.uint8)
    splits = striate.data.load((images, np.arange(count + 8) % 2), val_fraction=0, test_fraction=0)
    return splits.train.subset(range(count))


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 2))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 256])
def test_each_sample_once_whatever_the_batch(batch_size):
    dataset, network = _dataset(), _network().eval()
    preprocessing = statistics(dataset, image_size=6)
    logits, targets = predict_logits(
        network.train(), dataset, preprocessing=preprocessing, configuration=Configuration(), batch_size=batch_size
    )
    assert network.training
    inputs = preprocessing.from_canvas(dataset.images.gather(np.arange(7)))
    with torch.no_grad():
        torch.testing.assert_close(logits, network.eval()(inputs), rtol=1e-5, atol=1e-5)
    assert torch.equal(targets, dataset.labels)
    assert logits.dtype == torch.float32
    assert not logits.requires_grad


def test_the_mode_comes_back_after_an_error_too():
    class Broken(nn.Module):
        def forward(self, images):
            raise RuntimeError("broken on purpose")

    network, dataset = Broken().train(), _dataset()
    with pytest.raises(RuntimeError, match="broken on purpose"):
        predict_logits(network, dataset, preprocessing=statistics(dataset, image_size=6), configuration=Configuration())
    assert network.training


def test_a_share_that_is_empty(monkeypatch):
    # Rank 2 of 3 with 2 samples has none; alone it would hang in the exchange, so the exchange is left out here.
    monkeypatch.setattr("striate.train.evaluate.gather_rows", lambda rows, processes: rows)
    dataset = _dataset(2)
    logits, targets = predict_logits(
        _network(),
        dataset,
        preprocessing=statistics(dataset, image_size=6),
        configuration=Configuration(),
        processes=Processes(rank=2, world_size=3),
    )
    assert logits.shape == (0, 2)
    assert targets.shape == (0,)


class _Corner(nn.Module):
    """Two logits: the pixels at the top left and the top right."""

    def forward(self, images):
        return torch.stack((images[:, 0, 0, 0], images[:, 0, 0, -1]), dim=1)


def test_test_time_augmentation_by_hand():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    # Pixels of the 3 x 3 image: corners 0 and 2. The mirror image swaps them.
    assert logits_of(_Corner(), image).tolist() == [[0.0, 2.0]]
    assert logits_of(_Corner(), image, tta="flip").tolist() == [[1.0, 1.0]]
    # Reflection repeats rows and columns as 1 0 1 2 1: both shifted images have 4, the centre, at their corners.
    assert logits_of(_Corner(), image, tta="flip-shift").tolist() == [[0.5 * 1 + 0.25 * (4 + 4)] * 2]


def test_vectors_have_no_mirror_image():
    rows = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(logits_of(nn.Identity(), rows, tta="flip"), rows)
