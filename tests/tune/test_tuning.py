from __future__ import annotations

import json

import pytest
import torch

import striate
from striate.errors import DataError, ModelError, UsageError
from striate.tune.tuning import tune


@pytest.fixture
def source(small, arrays, tmp_path, silent):
    """A run that has learned bars at four angles."""
    options = {**silent, "epochs": 6, "batch_size": 16, "lr": 0.02, "val_fraction": 0.0}
    return striate.train(arrays(400, classes=4, seed=0), model=small(4), output=tmp_path / "source", **options)


@pytest.mark.parametrize("mode", ["features", "head", "full", "gradual"])
def test_modes(source, arrays, tmp_path, silent, mode):
    weights = {key: value.clone() for key, value in source.model().state_dict().items()}
    options = {} if mode == "features" else {"epochs": 20}
    run = tune(source, arrays(160, classes=3, seed=1), mode=mode, output=tmp_path, **options, **silent)
    assert run.class_names == ("0", "1", "2")
    assert run.evaluation.top1 > 0.9
    facts = json.loads((run.folder / "tune.json").read_text(encoding="utf-8"))
    assert facts["mode"] == mode
    assert (run.folder / "report.html").is_file()
    tuned = run.model().state_dict()
    assert tuned["fc.weight"].shape == (3, 16)
    frozen = mode in ("features", "head")
    for key in ("stem.0.weight", "stem.1.running_mean", "top.1.running_var", "top.1.num_batches_tracked"):
        if frozen:
            assert torch.equal(tuned[key], weights[key]), key
    if mode == "full":
        assert not torch.equal(tuned["stem.0.weight"], weights["stem.0.weight"])
    assert all(torch.equal(value, weights[key]) for key, value in source.model().state_dict().items())
    changes = facts["changes"]
    assert changes["fc"] > 0
    assert (changes["stem"] == 0) == (tuned["stem.0.weight"] == weights["stem.0.weight"]).all()


def test_a_run_that_was_tuned_predicts_and_is_a_source_itself(source, arrays, tmp_path, silent):
    run = tune(source, arrays(90, classes=3, seed=1), mode="features", output=tmp_path, **silent)
    images, _ = arrays(6, classes=3, seed=7)
    assert len(run.predict([*images])) == 6
    again = tune(run, arrays(60, classes=2, seed=2), mode="features", output=tmp_path, **silent)
    assert again.class_names == ("0", "1")


def test_the_images_are_prepared_as_those_of_the_source(source, arrays, tmp_path, silent):
    run = tune(source, arrays(60, classes=2, seed=1, size=16), mode="features", output=tmp_path, **silent)
    assert run.config.preprocessing == source.config.preprocessing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "half"}, "`mode` must be one of features, head, full, gradual, got 'half'"),
        ({"unfreeze": 9}, r"`unfreeze` must be at most 4, the stages of the network \(stem, middle, top, fc\), got 9"),
        ({"mode": "features", "lr": 0.1}, "`lr` must be left out with mode features"),
        ({"mode": "head", "pull": 0.1}, "`pull` must be left out with mode head"),
        ({"mode": "full", "unfreeze": 2}, "`unfreeze` must be left out with mode full"),
        ({"unfreeze": 0}, "`unfreeze` must be at least 1, the head, got 0"),
        ({"images_per_class": 1}, "at least 2, to learn from one and hold one out"),
        ({"minutes": -1}, "`minutes` must be 0 or more"),
        ({"lr": 0.0}, "`lr` must be above 0"),
        ({"pull": -0.1}, "`pull` must be 0 or more"),
    ],
)
def test_what_is_refused(small, arrays, tmp_path, silent, options, message):
    with pytest.raises(UsageError, match=message):
        tune(small(), arrays(60, classes=3, seed=0), output=tmp_path, **{**silent, **options})


def test_a_head_that_is_not_there(small, arrays, tmp_path, silent):
    with pytest.raises(ModelError, match=r"path of a layer, got 'head'"):
        tune(small(), arrays(60, classes=3, seed=0), head="head", output=tmp_path, **silent)


def test_a_class_without_images(small, arrays, tmp_path, silent):
    images, labels = arrays(60, classes=3, seed=0)
    folder = tmp_path / "train"
    from PIL import Image

    for label in range(3):
        (folder / str(label)).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        if label:
            Image.fromarray(image).save(folder / str(label) / f"{number}.png")
    with pytest.raises(DataError, match=r"each class folder must hold images, but `0`"):
        tune(small(in_channels=3), folder, output=tmp_path, **silent)


def test_images_that_are_too_small_for_the_network(arrays, tmp_path, silent):
    network = striate.models.create("alexnet", num_classes=5)
    with pytest.raises(ModelError, match=r"images of shape|at least"):
        tune(network, arrays(60, classes=3, seed=0), output=tmp_path, **silent)
