"""All networks of striate, captured and run again."""

from __future__ import annotations

import pytest
import torch

from striate import models

SIZES = {"googlenet": 64, "googlenet_2014": 96, "densenet121": 64}


QUICK = (
    "mlp_iris", "lecun1989", "lenet5_1998", "lenet5", "cnn_cifar", "resnet20", "mobilenet_v2_cifar", "airbench94",
    "googlenet", "googlenet_2014", "densenet121",
)  # fmt: skip


def _assert_network(assert_reruns, name, *, training):
    torch.manual_seed(0)
    info = models.info(name)
    if len(info.input_size) == 1:
        network, shape = models.create(name), info.input_size
    else:
        size = info.input_size[-1] if name.startswith("le") else SIZES.get(name, min(info.input_size[-1], 64))
        network, shape = models.create(name, image_size=size), (info.input_size[0], size, size)
    assert_reruns(network, shape, captured=2, counts=(2, 3), training=(training,), passes=1)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", QUICK)
def test_networks_run_again_as_they_are(assert_reruns, name, training):
    _assert_network(assert_reruns, name, training=training)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in models.list() if name not in QUICK])
def test_all_other_networks_run_again_as_they_are(assert_reruns, name):
    for training in (False, True):
        _assert_network(assert_reruns, name, training=training)
