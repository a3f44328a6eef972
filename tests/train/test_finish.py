"""What stands in the run folder at the end."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import striate
from striate.train import Progress
from striate.train.finish import first_filters


def test_everything_the_run_folder_promises_is_there(digits_run):
    names = {str(path.relative_to(digits_run.folder)) for path in digits_run.folder.rglob("*") if path.is_file()}
    # 1,259 training images, 19 whole batches of 64, 2 epochs
    checkpoint = {f"checkpoints/step-000000038/{name}" for name in ("manifest.json", "state.json")}
    weights = {"weights/best.safetensors", "weights/last.safetensors"}
    files = {"config.json", "metrics.jsonl", "results.csv", "evaluation.json", "report.html"}
    assert names >= checkpoint | weights | files
    assert not [name for name in names if name.endswith(".tmp")]


def test_the_test_split_is_measured_once(digits_run):
    (event,) = (event for event in digits_run.events if event["event"] == "evaluation")
    assert event["split"] == "test"
    assert event["accuracy"] == digits_run.evaluation.top1
    assert digits_run.evaluation.num_samples == 359
    assert digits_run.evaluation.top1 > 0.5  # guessing gives 0.1


def test_two_epochs_are_in_both_logs(digits_run):
    assert [row["epoch"] for row in digits_run.history] == [1, 2]
    assert len((digits_run.folder / "results.csv").read_text().splitlines()) == 3


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    ("fractions", "split", "samples"),
    [
        ({"val_fraction": 0.2, "test_fraction": 0.0}, "val", 8),
        ({"val_fraction": 0.0, "test_fraction": 0.0}, "train", 40),
    ],
)
def test_without_a_test_split_the_next_best_is_measured_and_named(tmp_path, fractions, split, samples):
    vectors = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    splits = striate.data.load((vectors, np.arange(40) % 2), **fractions)
    options = {"epochs": 1, "batch_size": 8, "device": "cpu", "threads": 1, "output": tmp_path}
    run = striate.train(splits, model=nn.Linear(3, 2), progress=Progress(quiet=True), **options)
    assert run.events[-1]["split"] == split
    assert run.evaluation.num_samples == samples
    assert json.loads((run.folder / "evaluation.json").read_text())["num_samples"] == samples


def test_first_filters_are_those_of_the_first_convolution():
    network = nn.Sequential(nn.Linear(1, 1), nn.Conv2d(2, 3, 5), nn.Conv2d(3, 4, 1))
    filters = first_filters(network)
    assert filters.shape == (3, 2, 5, 5)
    assert torch.equal(torch.from_numpy(filters), network[1].weight.detach())
    assert first_filters(nn.Linear(1, 1)) is None
