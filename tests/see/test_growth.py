import numpy as np
import pytest
import torch

import striate
from striate.errors import UsageError
from striate.see.growth import evolution
from striate.see.maps import feature_maps
from striate.train.progress import Progress


def test_maps_of_every_epoch(run):
    assert run.kept_epochs == (0, 1, 2)
    x = torch.randn(2, 1, *[run.config.preprocessing.image_size] * 2)
    node = feature_maps(run.model(), x)[0].node
    found = evolution(run, x, node=node)
    assert found.epochs == (0, 1, 2)
    for place, epoch in enumerate(found.epochs):
        (own,) = feature_maps(run.model(weights=epoch), x, nodes=node)
        np.testing.assert_array_equal(found.maps[place], own.values)
    assert found.changes().shape == (2, found.maps.shape[2])
    assert (found.changes() > 0).any()
    assert found.filters.shape[0] == 3
    assert len(found.figure(channels=2).axes) == 8


def test_the_last_epoch_is_the_last_network(run):
    last = run.model(weights="last").state_dict()
    assert all(torch.equal(tensor, last[name]) for name, tensor in run.model(weights=2).state_dict().items())


def test_some_epochs_and_epochs_that_are_not_there(run):
    x = torch.randn(1, 1, *[run.config.preprocessing.image_size] * 2)
    node = feature_maps(run.model(), x)[0].node
    assert evolution(run, x, node=node, epochs=[0, 2]).maps.shape[0] == 2
    with pytest.raises(UsageError, match=r"got those of 0, 1, 2\. Train with keep_epochs=True"):
        evolution(run, x, node=node, epochs=[5])


def test_a_run_that_kept_nothing(tmp_path):
    run = striate.train("digits", epochs=1, engine="torch", output=tmp_path, progress=Progress(quiet=True))
    assert run.kept_epochs == ()
    with pytest.raises(UsageError, match="got none"):
        evolution(run, torch.randn(1, 1, 28, 28), node="conv1")
