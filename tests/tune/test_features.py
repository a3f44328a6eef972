from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from striate.data import statistics
from striate.train.machine import Configuration
from striate.tune.features import DECAYS, accuracy_of_scikit_learn, base_features, choose_decay, content_key, fit_head
from striate.tune.head import find_head

MACHINE = Configuration(device="cpu")


@pytest.fixture
def ready(small, splits):
    data, network = splits(40).train, small().eval()
    return network, find_head(network, torch.zeros(2, 1, 12, 12)), data, statistics(data)


def test_features_are_what_the_head_reads(ready, tmp_path):
    network, head, data, preprocessing = ready
    seen = []
    handle = network.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    x = torch.stack([preprocessing.prepare(data.images.gather(np.array([n])).pixels[0]) for n in range(len(data))])
    with torch.no_grad():
        network(x)
    handle.remove()
    features, is_known = base_features(
        network, head, data, preprocessing=preprocessing, machine=MACHINE, cache=tmp_path
    )
    assert not is_known
    torch.testing.assert_close(features, seen[0], rtol=1e-5, atol=1e-6)
    assert network.fc is head.module
    again, is_known = base_features(network, head, data, preprocessing=preprocessing, machine=MACHINE, cache=tmp_path)
    assert is_known
    assert torch.equal(again, features)


def test_the_key_changes_with_what_features_depend_on_and_nothing_else(ready):
    network, head, data, preprocessing = ready

    def key(data=data, preprocessing=preprocessing):
        return content_key(network, head, data, preprocessing=preprocessing, machine=MACHINE)

    first = key()
    assert key(data=dataclasses.replace(data, labels=data.labels.flip(0))) == first
    assert key(data=data.subset(range(len(data) - 1))) != first
    assert key(preprocessing=dataclasses.replace(preprocessing, mean=(0.5,))) != first
    with torch.no_grad():
        network.fc.weight.add_(1)
        assert key() == first
        network.stem[1].running_mean.add_(1e-3)
    assert key() != first


def test_the_head_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    x = random.normal(size=(150, 6)).astype(np.float32)
    y = (x @ random.normal(size=(6, 3)) + random.gumbel(size=(150, 3))).argmax(1)
    standard = (x - x.mean(0)) / x.std(0)
    decay = 1e-2
    theirs = LogisticRegression(C=1 / (decay * len(x)), tol=1e-8, max_iter=1000).fit(standard, y)
    mine = fit_head(torch.from_numpy(x), torch.from_numpy(y), num_classes=3, decay=decay)
    with torch.no_grad():
        probabilities = mine(torch.from_numpy(x)).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, theirs.predict_proba(standard), atol=2e-3)


def test_the_decay_is_chosen_on_images_that_were_held_out():
    random = torch.Generator().manual_seed(0)
    features = torch.randn(60, 40, generator=random)
    targets = (features[:, 0] > 0).long()  # one number of forty says all: much decay helps
    parts = [(torch.arange(0, 30), torch.arange(30, 60)), (torch.arange(30, 60), torch.arange(0, 30))]
    found = choose_decay(features, targets, num_classes=2, parts=parts)
    assert list(found) == list(DECAYS)
    assert all(0.5 < accuracy <= 1 for accuracy in found.values())
    theirs = accuracy_of_scikit_learn(features, targets, decay=DECAYS[-1], parts=parts)
    assert theirs == pytest.approx(found[DECAYS[-1]], abs=1 / 30)


def test_a_feature_that_is_the_same_everywhere_does_no_harm():
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    features[:, 2] = 5.0
    head = fit_head(features, (features[:, 0] > 0).long(), num_classes=2, decay=1e-3)
    assert bool(torch.isfinite(head.weight).all())
    assert float((head(features).argmax(1) == (features[:, 0] > 0).long()).float().mean()) > 0.9
