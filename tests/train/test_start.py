"""`train` and `resume`: what is checked before the first step, and a folder that is left whole."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
import torch
from torch import nn

import striate
from striate.errors import DataError, ModelError, ResourceError, UsageError
from striate.files import write_tensors
from striate.train import RECIPES, Progress, Recipe, resume
from striate.train.stop import Interrupted

pytestmark = pytest.mark.usefixtures("unmeasured")


@pytest.fixture
def train(tmp_path, fast, quiet):
    """Train for one epoch into a folder of the test's own."""

    def call(data="digits", **options):
        options = {"output": tmp_path / "runs", "progress": quiet} | fast | {"epochs": 1} | options
        return striate.train(data, **options)

    return call


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lrr": 1}, UsageError, "`lrr` is not a key. Did you mean `lr`"),
        ({"lr": float("nan")}, UsageError, "`lr` must be a finite number above 0"),
        ({"epochs": 0}, UsageError, "`epochs` must be at least 1"),
        ({"recipe": "smal"}, UsageError, "Did you mean `small`"),
        ({"device": "gpu"}, UsageError, "`device` must be auto"),
        ({"device": "cuda:99"}, ResourceError, "is not on this machine"),
        ({"threads": 0}, UsageError, "`threads` must be at least 1, got 0"),
        ({"model": "lenet6"}, ModelError, "Did you mean `lenet5"),
        ({"model": 5}, ModelError, "must be a name, a module or a callable"),
        ({"data": "digitz"}, DataError, "Did you mean `digits`"),
        ({"data": "no/such/folder"}, DataError, "Nothing is at"),
        ({"in_channels": 2}, UsageError, "`in_channels` must be 1 .grey. or 3"),
        ({"image_size": 0}, UsageError, "image_size"),
        ({"seed": -1}, UsageError, "`seed` must be 0 or more"),
        ({"batch_size": 5000}, UsageError, r"`batch_size` must be at most 1259, .* got 5000\. Use --batch-size 314"),
        ({"init": "hee"}, UsageError, "Did you mean `he`"),
        ({"model": "lenet5", "image_size": 8}, ModelError, "`image_size` must be at least"),
        ({"weights": "nothing.safetensors"}, ModelError, "nothing.safetensors"),
        ({"early_size": 4, "early_epochs": 1}, UsageError, "`early_size` must be a size that `cnn_cifar` takes, got 4"),
        ({"early_size": 4}, UsageError, "`early_epochs` and `early_size` must be given together, got 0 and 4"),
        ({"val_fraction": 0.9}, UsageError, "must be less than 1"),
        (
            {"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 3))},
            ModelError,
            r"must return logits of shape \(2, 10\)",
        ),
    ],
)
def test_refused_before_anything_is_written(train, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        train(**options)
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written(train, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"file` is a file\. Choose a folder with --output"):
        train(output=tmp_path / "file")


def test_a_second_run_never_touches_the_first(train):
    first, second = train(), train()
    assert (first.folder.name, second.folder.name) == ("digits-cnn_cifar", "digits-cnn_cifar-2")
    assert train(experiment="named").folder.name == "named"


def test_the_same_call_gives_the_same_weights(train):
    first, second = ((train().folder / "weights" / "last.safetensors").read_bytes() for _ in range(2))
    assert first == second


def test_values_reach_the_configuration(train):
    run = train(recipe="cifar", lr="0.02", cutout=2, val_fraction="0.2", seed=3, channels_last=True)
    recipe = run.config.recipe
    assert (recipe.name, recipe.lr, recipe.augmentation.cutout, recipe.val_fraction) == ("cifar", 0.02, 2, 0.2)
    assert recipe.smoothing == RECIPES["cifar"].smoothing
    assert run.config.machine.channels_last
    assert run.config.seed == 3
    assert run.config.data["seed"] == 3
    assert run.config.data["val_fraction"] == 0.2
    assert len(run.load_data().val) == pytest.approx(0.2 * 1797, abs=10)  # rounded class by class
    assert run.config.num_params == 53_002  # 1x32x9+32 + 32x64x9+64 + 256x128+128 + 128x10+10
    assert train(recipe=Recipe(epochs=9, lr=0.03)).config.recipe.lr == 0.03


def test_a_recipe_of_its_own_size_fits_small_data(tmp_path, quiet):
    images = np.random.default_rng(0).integers(0, 255, size=(30, 8, 8), dtype=np.uint8)
    run = striate.train(
        (images, np.arange(30) % 2),
        model="cnn_cifar",
        recipe=Recipe(batch_size=64, epochs=1),
        output=tmp_path,
        progress=quiet,
        threads=1,
    )
    assert run.config.recipe.batch_size == 5  # a quarter of the 21 images to train on


def test_options_of_the_network(train):
    assert train(model="lenet5").config.preprocessing.image_size == 28
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 10))
    run = train(model=network, dropout=0.4)
    assert run.config.model.name == "class Sequential"
    assert network[1].p == 0.4


def test_initialization_by_name_changes_the_start(train):
    default, he = (train(init=name, lr=1e-8).model().state_dict() for name in ("default", "he"))
    assert not torch.equal(default["features.conv1.weight"], he["features.conv1.weight"])


def test_training_starts_from_a_weights_file(train, tmp_path, digits_run):
    path = digits_run.folder / "weights" / "best.safetensors"
    run = train(weights=path, lr=1e-8)
    stored = striate.files.read_tensors(path)
    for key, tensor in run.model().state_dict().items():
        torch.testing.assert_close(tensor, stored[key], rtol=0, atol=1e-5)


def test_weights_for_other_classes_keep_the_body_and_get_a_new_head(train, tmp_path):
    other = striate.models.create("cnn_cifar", num_classes=3, in_channels=1, image_size=8)
    write_tensors(tmp_path / "other.safetensors", other.state_dict())
    network = train(weights=tmp_path / "other.safetensors", lr=1e-8).model()
    torch.testing.assert_close(network.features.conv1.weight, other.features.conv1.weight, rtol=0, atol=1e-5)
    assert network.classifier.head.weight.shape == (10, 128)


def test_resume_what_is_no_run(tmp_path, digits_run):
    with pytest.raises(ModelError, match="does not exist"):
        resume(tmp_path / "nothing")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text((digits_run.folder / "config.json").read_text())
    with pytest.raises(ModelError, match=r"no usable checkpoint .* Start again with `striate train`"):
        resume(tmp_path / "run", progress=Progress(quiet=True))


class _StopAt(Progress):
    def step(self, epoch, step, *others, **values):
        if (epoch, step) == (1, 3):
            signal.raise_signal(signal.SIGTERM)


class Mine(nn.Sequential):
    def __init__(self, num_classes: int, width: int = 8) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, num_classes))


def test_resume_of_a_network_of_the_users_own(train, tmp_path, quiet):
    with pytest.raises(Interrupted, match="stopped by signal 15"):
        train(model=Mine, experiment="mine", progress=_StopAt(quiet=True))
    folder = tmp_path / "runs" / "mine"
    with pytest.raises(ModelError, match=r"`class type` is not one of striate's|`class Mine` is not one of striate's"):
        resume(folder, progress=quiet)
    with pytest.raises(
        ModelError, match=r"the checkpoint in .*mine` is of another network .*Give the network that was"
    ):
        resume(folder, model=lambda num_classes: Mine(num_classes, width=9), progress=quiet)
    assert len(resume(folder, model=Mine, progress=quiet).history) == 1


def test_resume_needs_the_arrays_again_and_divides_them_alike(train, tmp_path, quiet):
    images = np.random.default_rng(0).integers(0, 255, size=(60, 8, 8), dtype=np.uint8)
    data = images, np.arange(60) % 2
    options = {"model": Mine, "batch_size": 4, "seed": 9, "val_fraction": 0.2}
    straight = train(data, experiment="straight", **options)
    with pytest.raises(Interrupted, match="saved"):
        train(data, experiment="stopped", progress=_StopAt(quiet=True), **options)
    folder = tmp_path / "runs" / "stopped"
    with pytest.raises(DataError, match="Give the arrays"):
        resume(folder, model=Mine, progress=quiet)
    resumed = resume(folder, model=Mine, data=data, progress=quiet)
    for name in ("last", "best"):
        first, second = (run.folder / "weights" / f"{name}.safetensors" for run in (straight, resumed))
        assert first.read_bytes() == second.read_bytes()


def test_tensorboard_files_are_written_beside_the_rest(train):
    pytest.importorskip("tensorboard", reason="needs the extra `track`")
    run = train(tracker="tensorboard")
    assert list((run.folder / "tensorboard").glob("events.out.tfevents.*"))


def test_a_tracker_that_nobody_knows(train):
    with pytest.raises(UsageError, match=r"`kind` must be None or one of tensorboard, got .tensorbord"):
        train(tracker="tensorbord")


def test_the_notes_say_what_will_happen(train, tmp_path, capsys):
    train(progress=Progress())
    err = capsys.readouterr().err
    assert "digits: 1,259 train, 179 validation, 359 test; 10 classes" in err
    assert "cnn_cifar: 53,002 parameters, input 1 x 8 x 8" in err
    chosen = RECIPES["small"].with_overrides({"epochs": 1, "batch_size": 64})
    assert f"recipe   small: {chosen.summary()}" in err
    assert str(tmp_path / "runs" / "digits-cnn_cifar") in err


def test_threads_are_set_back(train):
    before = torch.get_num_threads()
    train("iris", batch_size=16, threads=2)
    assert torch.get_num_threads() == before


def test_a_real_measurement_is_written_down(tmp_path, quiet, monkeypatch):
    monkeypatch.undo()  # measure after all
    run = striate.train("iris", epochs=1, batch_size=16, threads=1, output=tmp_path, progress=quiet)
    measured = json.loads((run.folder / "config.json").read_text())["measured"]
    assert run.config.machine.describe() in measured


def test_resume_notices_other_data(tmp_path, fast, quiet):
    images = np.random.default_rng(0).integers(0, 256, size=(60, 8, 8), dtype=np.uint8)
    labels = np.arange(60) % 2
    run = striate.train((images, labels), output=tmp_path, progress=quiet, **{**fast, "batch_size": 8})
    with pytest.raises(DataError, match=r"the data must be what the run began with, .* got \d+\. Put back"):
        resume(run.folder, data=(images[:50], labels[:50]), progress=quiet)
