"""`striate train`: flags, settings files, a network of one's own, and signals from outside."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys

import pytest

from striate.train import Run


@pytest.mark.usefixtures("unmeasured")
def test_flags_reach_the_run(cli, quick, tmp_path):
    answer = cli(
        *("train", "digits", *quick, "--model", "lenet5", "--opt", "adamw", "--lr", "2e-3", "--momentum", 0.8),
        *("--weight-decay", 0.02, "--sched", "cosine", "--warmup-epochs", 0.5, "--smoothing", 0.1, "--model-ema", 0.9),
        *(
            "--clip-grad",
            1,
            "--seed",
            4,
            "--img-size",
            28,
            "--val-fraction",
            0.2,
            "--set",
            "crop-padding=2",
            "--init",
            "he",
        ),
        *("--mixup", 0.2, "--patience", 3, "--class-weights", "balanced", "--l1", 1e-6),
        *("--output", tmp_path, "--experiment", "mine", "--quiet"),
    )
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    config = Run(tmp_path / "mine").config
    recipe = config.recipe
    assert (recipe.opt, recipe.lr, recipe.momentum, recipe.weight_decay) == ("adamw", 2e-3, 0.8, 0.02)
    assert (recipe.sched, recipe.warmup_epochs, recipe.smoothing, recipe.model_ema) == ("cosine", 0.5, 0.1, 0.9)
    assert (recipe.clip_grad, recipe.init, recipe.augmentation.crop_padding) == (1.0, "he", 2)
    assert (recipe.augmentation.mixup, recipe.patience, recipe.class_weights, recipe.l1) == (0.2, 3, "balanced", 1e-6)
    assert (config.seed, config.model.image_size, config.data["val_fraction"]) == (4, 28, 0.2)


@pytest.mark.usefixtures("unmeasured")
def test_the_folder_goes_to_standard_output_and_the_rest_to_standard_error(cli, quick, tmp_path):
    frozen = gc.get_freeze_count()
    answer = cli("train", "digits", *quick, "-o", tmp_path)
    assert answer.out == f"{tmp_path / 'digits-cnn_cifar'}\n"
    assert "epoch 1/1" in answer.err
    assert "test accuracy" in answer.err
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, frozen)  # nothing is hidden from `capture`


@pytest.mark.usefixtures("unmeasured")
def test_json_is_one_document_and_nothing_else(cli, quick, tmp_path):
    answer = cli("train", "digits", *quick, "-o", tmp_path, "--json")
    document = json.loads(answer.out)
    assert document["run"] == str(tmp_path / "digits-cnn_cifar")
    assert document["evaluation"]["num_samples"] == 359
    assert [row["epoch"] for row in document["history"]] == [1]
    assert answer.err == ""


@pytest.mark.usefixtures("unmeasured")
def test_another_process_of_the_group_prints_nothing(cli, quick, tmp_path, monkeypatch):
    from striate.cli._options import write_text

    monkeypatch.setenv("RANK", "1")
    write_text("not to be seen")
    monkeypatch.setenv("RANK", "0")
    assert cli("models", "lenet5").out.startswith("lenet5:")


@pytest.mark.usefixtures("unmeasured")
def test_settings_are_defaults_that_flags_override(cli, quick, tmp_path, digits_run):
    (tmp_path / "run.toml").write_text('model = "lenet5"\nseed = 7\nrecipe = "cifar"\nlr = 0.03\n')
    assert cli("train", "digits", "--config", tmp_path / "run.toml", *quick, "-o", tmp_path, "--lr", 0.02).code == 0
    config = Run(tmp_path / "digits-lenet5").config
    assert (config.seed, config.recipe.lr, config.recipe.smoothing, config.recipe.epochs) == (7, 0.02, 0.1, 1)
    again = (
        "--config",
        digits_run.folder / "config.json",
        "--threads",
        1,
        "--device",
        "cpu",
        "--seed",
        0,
        "--epochs",
        1,
    )
    assert cli("train", "digits", *again, "--no-amp", "--no-channels-last", "-o", tmp_path, "-q").code == 0
    assert Run(tmp_path / "digits-cnn_cifar").config.recipe == digits_run.config.recipe.with_overrides({"epochs": 1})


@pytest.mark.usefixtures("unmeasured")
def test_an_explicit_seed_of_zero_counts(cli, quick, tmp_path):
    (tmp_path / "run.toml").write_text("seed = 7\n")
    cli("train", "digits", "--config", tmp_path / "run.toml", *quick, "--seed", 0, "-o", tmp_path)
    assert Run(tmp_path / "digits-cnn_cifar").config.seed == 0


@pytest.mark.usefixtures("unmeasured")
def test_a_network_of_ones_own(cli, quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ours.py").write_text(
        "from torch import nn\n"
        "def net(num_classes, image_size):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(image_size ** 2, num_classes))\n"
        "def wrong(): return nn.Flatten()\n"
    )
    answer = cli("train", "digits", *quick, "--model", "ours:net", "--experiment", "own")
    assert answer.code == 0
    assert "ours:net: 650 parameters" in answer.err
    folder = tmp_path / "runs" / "own"
    assert json.loads((folder / "config.json").read_text())["model"]["name"] == "ours:net"
    assert cli("evaluate", folder).code == 4  # the name in the file is not imported
    assert "files are never executed. Give it again: --model package.module:callable" in cli("evaluate", folder).err
    assert cli("evaluate", folder, "--model", "ours:net").code == 0
    assert cli("resume", folder).code == 4
    assert cli("resume", folder, "--model", "ours:net").code == 0
    refused = cli("train", "digits", *quick, "--config", folder / "config.json")
    assert (refused.code, "Name it on the command line: --model" in refused.err) == (2, True)
    wrong = cli("train", "digits", *quick, "--model", "ours:wrong")
    assert (wrong.code, "must return logits of shape (2, 10), got (2, 64)" in wrong.err) == (4, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_leaves_with_its_code(tmp_path, number, code):
    command = [
        sys.executable,
        "-m",
        "striate",
        "train",
        "digits",
        "--epochs",
        "5000",
        "--model",
        "mlp_mnist",
        "--threads",
        "1",
    ]
    command += ["--no-amp", "--no-channels-last", "--device", "cpu", "--output", str(tmp_path), "--experiment", "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any(line.startswith("epoch ") for line in process.stderr)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code, err
    assert out == ""
    assert f"stopped by signal {int(number)} after epoch" in err
    assert f"saved. Go on with: striate resume {tmp_path / 'run'}" in err
    assert "Traceback" not in err
    (newest,) = (tmp_path / "run" / "checkpoints").glob("step-*")
    assert (newest / "manifest.json").is_file()


def test_odd_terminals(tmp_path):
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "40", "NO_COLOR": "1"}
    for arguments in (["--help"], ["train", "--help"], ["models", "resnet18"], ["models"]):
        done = subprocess.run(
            [sys.executable, "-m", "striate", *arguments],
            env=os.environ | environment | {"PYTHONIOENCODING": "ascii"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        done.stdout.decode("ascii")
        assert b"\x1b" not in done.stdout


def test_flags_that_exclude_each_other(cli, tmp_path):
    both = cli("train", "digits", "--pretrained", "--weights", "mine.pth", "-o", tmp_path)
    assert (both.code, "exclude each other. Give one of them." in both.err) == (2, True)
    (tmp_path / "mine.toml").write_text("lr = 0.01\n")
    two = cli("train", "digits", "--recipe", "small", "--config", tmp_path / "mine.toml", "-o", tmp_path)
    assert (two.code, 'Write recipe = "small" into the file' in two.err) == (2, True)


@pytest.mark.usefixtures("unmeasured")
def test_weights_for_rgb_are_made_to_fit_grey_images_and_it_is_said(cli, quick, tmp_path, image_folder):
    from striate import models
    from striate.files import write_tensors

    write_tensors(tmp_path / "rgb.safetensors", models.create("cnn_cifar").state_dict())
    arguments = (image_folder, *quick, "--model", "cnn_cifar", "--in-chans", 1, "--img-size", 32, "--batch-size", 16)
    answer = cli("train", *arguments, "--weights", tmp_path / "rgb.safetensors", "-o", tmp_path, "--experiment", "grey")
    assert answer.code == 0, answer.err
    assert "weights  features.conv1.weight is the mean of the file's RGB kernels, to fit the images\n" in answer.err
    assert Run(tmp_path / "grey").model().features.conv1.in_channels == 1


def test_values_are_checked_beside_those_of_the_named_recipe(cli, tmp_path):
    arguments = ("train", tmp_path / "nothing", "--set", "early_epochs=5", "-o", tmp_path)
    known = cli(*arguments, "--recipe", "cifar-fast")
    assert (known.code, "Nothing is at" in known.err) == (3, True)  # past the flags: the data is looked for
    alone = cli(*arguments, "--recipe", "cifar")
    assert (alone.code, "must be given together, got 5 and 0" in alone.err) == (2, True)
    (tmp_path / "fast.toml").write_text('recipe = "cifar-fast"\n')
    assert cli(*arguments, "--config", tmp_path / "fast.toml").code == 3
