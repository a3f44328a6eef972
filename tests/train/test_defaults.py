"""What is taken when nothing is said."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import striate
from striate.errors import ModelError, UsageError
from striate.train import Progress
from striate.train.defaults import choose_model, prepare_splits


def _splits(name, *, size=None, kind="images"):
    return SimpleNamespace(name=name, kind=kind, image_size=size)


@pytest.mark.parametrize(
    ("data", "size", "expected"),
    [
        ("digits", 8, "cnn_cifar"),
        ("mnist", 28, "lenet5"),
        ("cifar10", 32, "resnet20"),
        ("glyphs", 12, "cnn_cifar"),
        ("icons", 64, "resnet20"),
        ("photos", 128, "resnet18"),
        ("photos", None, "resnet18"),
    ],
)
def test_the_network_follows_from_the_data(data, size, expected):
    assert choose_model(_splits(data, size=size)) == expected


def test_each_default_network_exists():
    from striate.train.defaults import MODEL_BY_DATA

    assert set(MODEL_BY_DATA.values()) <= set(striate.models.list())


def test_vectors_need_a_network():
    assert choose_model(_splits("iris", kind="vectors")) == "mlp_iris"
    with pytest.raises(
        ModelError, match=r"`model` must be given for vectors.*Pass your nn\.Module, or package\.module:"
    ):
        choose_model(_splits("arrays", kind="vectors"))


def _prepare(data, *, model=None, image_size=None, **options):
    return prepare_splits(data, model=model, image_size=image_size, options=options, show=Progress(quiet=True))


def test_images_are_brought_to_what_a_network_can_take():
    assert _prepare("digits").train.images.image_size == (8, 8)
    assert _prepare("digits", model="lenet5").train.images.image_size == (28, 28)
    assert _prepare("digits", model="lenet5", image_size=32).train.images.image_size == (32, 32)


def test_a_folder_called_like_a_data_set_does_not_change_its_size(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert _prepare("digits").train.images.image_size == (8, 8)


def test_small_pictures_of_a_folder_stay_small(image_folder):
    sides = []
    for path in image_folder.rglob("*.png"):
        with Image.open(path) as image:
            sides.append(min(image.size))
    splits = _prepare(image_folder)
    assert splits.image_size == int(np.median(sides))
    assert choose_model(splits) == "resnet20"


def test_splits_are_taken_as_they_are():
    splits = striate.data.load("digits")
    assert _prepare(splits) is splits
    with pytest.raises(
        UsageError, match=r"`image_size` must be left out for data that is loaded already, got 16\. Give"
    ):
        _prepare(splits, image_size=16)


def test_what_was_left_out_is_said(tmp_path, image_folder):
    import shutil

    folder = tmp_path / "colours"
    shutil.copytree(image_folder, folder)
    (folder / "red" / "broken.jpg").write_text("not an image")
    stream = io.StringIO()
    show = Progress(stream=stream, environ={})
    splits = prepare_splits(folder, model=None, image_size=16, options={"skip_bad": True}, show=show)
    assert "warning: left out red/broken.jpg: " in stream.getvalue()
    assert len(splits.skipped) == 1
