"""`Run`: the folder as an object, and what is said when it is none."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import striate
from striate.errors import DataError, ModelError, ResourceError, UsageError
from striate.train import Progress
from striate.train.run import Run, RunConfig, new_run_folder


@pytest.fixture
def copied(tmp_path, digits_run):
    folder = tmp_path / "runs" / "copy"
    shutil.copytree(digits_run.folder, folder)
    return folder


def test_the_configuration_comes_back(digits_run):
    again = Run(digits_run.folder)
    assert again.config == digits_run.config
    assert again.class_names == tuple("0123456789")
    assert again.history == digits_run.history
    assert repr(again) == f"Run('{digits_run.folder}')"


def test_best_and_last_weights(digits_run):
    for name in ("best", "last"):
        network = digits_run.model(weights=name)
        assert not network.training
        stored = striate.files.read_tensors(digits_run.folder / "weights" / f"{name}.safetensors")
        assert all(torch.equal(tensor, stored[key]) for key, tensor in network.state_dict().items())
    with pytest.raises(ModelError, match=r"other\.safetensors` is not there\. .*striate resume"):
        digits_run.model(weights="other")


def test_evaluate_repeats_the_evaluation_of_the_training(digits_run):
    again = Run(digits_run.folder).evaluate()
    assert again.to_dict() == digits_run.evaluation.to_dict()


@pytest.mark.parametrize(("split", "samples"), [("train", 1259), ("val", 179), ("test", 359)])
def test_evaluate_a_split(digits_run, split, samples):
    assert digits_run.evaluate(split=split).num_samples == samples


def test_evaluate_an_unknown_split(digits_run):
    with pytest.raises(UsageError, match="Did you mean `test`"):
        digits_run.evaluate(split="tset")


def test_evaluate_arrays(digits_run):
    test = striate.data.load("digits").test
    images = test.images.gather(np.arange(100)).pixels[:, 0].numpy()
    evaluation = digits_run.evaluate((images, test.labels[:100].numpy()))
    assert evaluation.num_samples == 100
    assert evaluation.top1 > 0.5


def test_evaluate_data_of_other_classes(digits_run, image_folder):
    with pytest.raises(DataError, match=r"red|blue|green"):
        digits_run.evaluate(image_folder)


def test_no_run_at_all(tmp_path, copied):
    with pytest.raises(ModelError, match=r"nothing` does not exist\. Runs nearby: .*runs/copy\."):
        Run(tmp_path / "runs" / "nothing")
    with pytest.raises(ModelError, match=r"runs` is not a run folder: it holds no config\.json\. Runs nearby: .*copy"):
        Run(tmp_path / "runs")
    with pytest.raises(ModelError, match="is a file; a run is the folder that holds it"):
        Run(copied / "config.json")
    with pytest.raises(ModelError, match=r"does not exist\. `striate train` makes one"):
        Run(tmp_path / "far" / "away")


def _change(folder, change):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(format=2), r"must have format 1, got 2\. Use the striate version that wrote it"),
        (lambda v: v.clear(), "must have format 1, got None"),
        (lambda v: v.pop("recipe"), r"lacks the key 'recipe'\. Restore the file from a copy"),
        (lambda v: v["recipe"].update(lrr=1), "`lrr` is not a key"),
        (lambda v: v["recipe"].update(lr="NaN"), "`lr` must be a finite number"),
        (lambda v: v.update(recipe=[]), r"cannot be used"),
        (lambda v: v.update(recipe=3), r"cannot be used"),
        (lambda v: v["model"].update(code="os.system"), "unexpected keyword argument"),
        (lambda v: v["model"].update(name=["x"]), "must be a name and whole numbers"),
        (lambda v: v["model"].update(num_classes="ten"), "must be a name and whole numbers"),
        (lambda v: v["model"].pop("name"), "missing 1 required keyword-only argument"),
        (lambda v: v["machine"].pop("device"), "`machine` must have the keys"),
        (lambda v: v.update(machine=[]), "`machine` must have the keys|cannot be used"),
        (lambda v: v["preprocessing"].update(mean=[]), "`mean` must be"),
        (lambda v: v.update(preprocessing=[]), "must hold|cannot be used"),
        (lambda v: v.update(class_names=3), "cannot be used"),
        (lambda v: v.update(data=3), "cannot be used"),
        (lambda v: v.update(seed="x"), "cannot be used"),
    ],
)
def test_a_config_that_cannot_be_used(copied, change, message):
    _change(copied, change)
    with pytest.raises(ModelError, match=message):
        Run(copied)


def test_a_config_that_is_a_list(copied):
    (copied / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="must have format 1, got 'list'"):
        Run(copied)


def test_a_config_naming_a_network_that_does_not_exist(copied):
    _change(copied, lambda values: values["model"].update(name="resnet21"))
    with pytest.raises(ModelError, match="Did you mean `resnet"):
        Run(copied).model()


def test_a_config_naming_code(copied):
    _change(copied, lambda values: values["model"].update(name="os:system"))
    with pytest.raises(ModelError, match="`os:system` is not one of striate's, and files are never executed"):
        Run(copied).model()


def test_weights_of_another_network(copied):
    _change(copied, lambda values: values["model"].update(num_classes=7))
    with pytest.raises(
        ModelError, match=r"holds weights of another network \(size mismatch.*Check that config\.json belongs"
    ):
        Run(copied).model()


def test_weights_cut_short(copied):
    path = copied / "weights" / "best.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match="is not a whole safetensors file"):
        Run(copied).model()


def test_a_run_of_another_device_works_here(copied):
    _change(copied, lambda values: values["machine"].update(device="cuda:99", bf16=True))
    run = Run(copied)
    assert run.machine == dataclasses.replace(run.config.machine, device="cpu", bf16=False)
    assert run.predict(np.zeros((8, 8), dtype=np.uint8))[0].probabilities
    with pytest.raises(ResourceError, match="'cuda:99' is not on this machine"):
        striate.resume(copied, progress=Progress(quiet=True))


def test_a_new_folder_never_takes_an_old_one(tmp_path):
    names = [new_run_folder(tmp_path, "a/b: ç").name for _ in range(3)]
    assert names == ["a-b", "a-b-2", "a-b-3"]
    assert new_run_folder(tmp_path, "../..").name == "run"
    assert {path.name for path in (tmp_path / "a-b").iterdir()} == {"weights", "checkpoints"}


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"file` is a file\. Choose a folder with --output"):
        new_run_folder(tmp_path / "file", "run")


@pytest.mark.usefixtures("unmeasured")
def test_a_module_of_the_users_own(tmp_path, fast, quiet):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    run = striate.train("digits", model=network, output=tmp_path, progress=quiet, **(fast | {"epochs": 1}))
    assert run.config.model.name == "class Sequential"
    before = network[1].weight.detach().clone()
    answers = run.predict(np.zeros((8, 8), dtype=np.uint8))
    assert torch.equal(network[1].weight.detach(), before)
    again = Run(run.folder, model=nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    assert again.predict(np.zeros((8, 8), dtype=np.uint8)) == answers
    with pytest.raises(ModelError, match="`class Sequential` is not one of striate's"):
        Run(run.folder).predict(np.zeros((8, 8), dtype=np.uint8))
    with pytest.raises(ModelError, match="holds weights of another network"):
        Run(run.folder, model=nn.Sequential(nn.Flatten(), nn.Linear(64, 7))).model()


@pytest.mark.usefixtures("unmeasured")
def test_a_run_on_arrays_asks_for_them(tmp_path, fast, quiet):
    images = np.zeros((40, 8, 8), dtype=np.uint8)
    images[::2] = 200
    options = fast | {"epochs": 1, "batch_size": 8}
    run = striate.train((images, np.arange(40) % 2), model="cnn_cifar", output=tmp_path, progress=quiet, **options)
    with pytest.raises(DataError, match=r"this data was given as arrays\. Give the arrays \(images, labels\) again"):
        Run(run.folder).evaluate()
    assert Run(run.folder).evaluate((images, np.arange(40) % 2)).num_samples == 40


def test_plain_values_only(digits_run):
    values = digits_run.config.to_dict()
    assert json.loads(json.dumps(values)) == values
    path = digits_run.folder / "config.json"
    assert RunConfig.from_dict(values, path=path) == digits_run.config
