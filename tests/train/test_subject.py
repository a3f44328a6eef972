"""What a reader looks at: each way of naming a model, and the image it is shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from striate import models
from striate.errors import ModelError, UsageError
from striate.train import Run
from striate.train.subject import open_subject


def small(num_classes: int = 10) -> nn.Module:
    """A network of the user's own."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))


def test_a_name_gives_the_registrys_sizes_and_the_same_weights_for_the_same_seed():
    before = torch.get_rng_state()
    subject, again, other = (open_subject("lenet5", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert (subject.input_shape, subject.is_trained, subject.network.training) == ((1, 1, 28, 28), False, False)
    weights = [next(iter(s.network.parameters())) for s in (subject, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert open_subject("resnet18", num_classes=4, image_size=64).input_shape == (1, 3, 64, 64)
    assert open_subject("mlp_iris").input_shape == (1, 4)


def test_a_weights_file_is_loaded(tmp_path):
    from striate.files import write_tensors

    network = models.create("lenet5")
    write_tensors(tmp_path / "weights.safetensors", network.state_dict())
    subject = open_subject("lenet5", weights=tmp_path / "weights.safetensors")
    assert subject.is_trained
    assert torch.equal(next(iter(subject.network.parameters())), next(iter(network.parameters())))


@pytest.mark.parametrize("as_object", [False, True])
def test_a_run_brings_its_preprocessing_and_classes(digits_run, as_object):
    folder = digits_run.folder
    subject = open_subject(Run(folder) if as_object else folder)
    assert (subject.name, subject.is_trained) == (str(folder), True)
    assert subject.preprocessing == digits_run.config.preprocessing
    assert subject.class_name(3) == digits_run.class_names[3]


def test_a_module_is_taken_as_it_is():
    network = small().train()
    subject = open_subject(network, image_size=16)
    assert subject.network is network
    assert network.training
    assert (subject.name, subject.input_shape, subject.class_name(3)) == ("class Sequential", (1, 3, 16, 16), "class 3")


def test_a_network_of_the_users_own_by_name(tmp_path, monkeypatch):
    (tmp_path / "own_network.py").write_text(
        "from torch import nn\ndef make(num_classes):\n    return nn.Linear(2, num_classes)\n"
    )
    monkeypatch.chdir(tmp_path)
    subject = open_subject("own_network:make", num_classes=5)
    assert subject.network.out_features == 5
    assert not subject.network.training


def test_an_image_is_prepared_as_in_evaluation(tmp_path, digits_run):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    subject = open_subject(digits_run.folder)
    prepared = subject.prepare(tmp_path / "digit.png")
    # Source: the definition, (pixel / 255 - mean) / std.
    (mean,), (std,) = subject.preprocessing.mean, subject.preprocessing.std
    np.testing.assert_allclose(prepared[0, 0].numpy(), (pixels / 255 - mean) / std, rtol=1e-5, atol=1e-5)
    assert torch.equal(subject.prepare(seed=3), subject.prepare(seed=3))
    assert subject.prepare().shape == (1, 1, 8, 8)
    with pytest.raises(UsageError, match="`image` must be left out, the network takes vectors"):
        open_subject("mlp_iris").prepare(tmp_path / "digit.png")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "Did you mean `resnet18`"),
        ("runs/nothing", "must be a model's name or a run folder. Nothing is at runs/nothing"),
        ("no_such_package:make", "cannot be imported"),
    ],
)
def test_what_is_no_model(name, message):
    with pytest.raises(ModelError, match=message):
        open_subject(name)
