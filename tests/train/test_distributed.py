"""One process and two: rows gathered once each, and `torchrun` on the real command line."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from striate.train.distributed import Processes, gather_rows, process_group, share_buffers, share_text, wrap


def test_one_process_needs_no_exchange(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    rows, network = torch.arange(6).reshape(3, 2), nn.BatchNorm1d(2)
    with process_group(cuda=False) as processes:
        assert processes == Processes(rank=0, world_size=1)
        assert processes.is_main
        assert gather_rows(rows, processes=processes) is rows
        assert wrap(network, processes=processes, cuda=False) is network
        assert share_text("a", processes=processes) == "a"
        share_buffers(network, processes=processes)
    assert not torch.distributed.is_initialized()


def _torchrun(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_addr", "127.0.0.1", "--master_port", str(port), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300
    )


PROGRAM = """
import json, sys
import numpy as np, torch
from torch import nn
import striate
from striate.train import Progress
from striate.train.distributed import Processes, gather_rows, process_group, share_buffers, share_text
from striate.train.evaluate import predict_logits
from striate.train.machine import Configuration

class TwoPixels(nn.Module):
    def forward(self, images):
        return images.flatten(1)[:, :2]

with process_group(cuda=False) as processes:
    rank = processes.rank
    gathered = {}
    for counts in ((4, 3), (1, 0), (0, 2)):
        rows = torch.arange(counts[rank], dtype=torch.float64).reshape(-1, 1) + 10 * rank
        gathered[str(counts)] = gather_rows(rows, processes=processes)[:, 0].tolist()
    text = share_text("grüße" if rank == 0 else "", processes=processes)
    network = nn.BatchNorm1d(1)
    network.running_mean.fill_(rank + 5)
    share_buffers(network, processes=processes)
    evaluated = {}
    for count in (7, 1):
        pixels = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2)
        images = np.concatenate([pixels, pixels[:1] + 100, pixels[:1] + 100])
        splits = striate.data.load((images, np.arange(len(images)) % 2), val_fraction=0, test_fraction=0)
        dataset = splits.train.subset(range(count))
        preprocessing = striate.data.statistics(splits.train, image_size=2)
        logits, targets = predict_logits(
            TwoPixels(), dataset, preprocessing=preprocessing, configuration=Configuration(), batch_size=3,
            processes=processes,
        )
        alone, _ = predict_logits(
            TwoPixels(), dataset, preprocessing=preprocessing, configuration=Configuration(), batch_size=3
        )
        in_order = targets.tolist() == dataset.labels.tolist()
        evaluated[count] = [list(logits.shape), in_order, bool((logits == alone).all())]
    results = {"gathered": gathered, "text": text, "mean": network.running_mean.item(), "evaluated": evaluated}
    with open(f"{sys.argv[1]}/{rank}.json", "w") as file:
        json.dump(results, file)
assert not torch.distributed.is_initialized()
"""


def test_two_processes_exchange_and_count_each_sample_once(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = _torchrun("program.py", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["gathered"] == {
        "(4, 3)": [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0],
        "(1, 0)": [0.0],
        "(0, 2)": [10.0, 11.0],
    }
    assert first["text"] == "grüße"
    assert first["mean"] == 5.0
    # 7 samples stay 7, and 1 stays 1, in order.
    assert first["evaluated"] == {"7": [[7, 2], True, True], "1": [[1, 2], True, True]}


def test_torchrun_trains_as_one_process_does(tmp_path):
    options = [
        "train",
        "digits",
        "--epochs",
        2,
        "--batch-size",
        64,
        "--model",
        "lenet5",
        "--no-amp",
        "--no-channels-last",
    ]
    options += ["--threads", 1, "--device", "cpu", "--json", "--set", "crop_padding=1"]
    two = _torchrun("-m", "striate", *options, "--output", tmp_path / "two", cwd=tmp_path)
    assert two.returncode == 0, two.stderr
    one = subprocess.run(
        [sys.executable, "-m", "striate", *map(str, options), "--output", str(tmp_path / "one")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    together, alone = json.loads(two.stdout), json.loads(one.stdout)  # one document: rank 0 alone prints
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["digits-lenet5"]  # and alone writes
    assert together["evaluation"]["num_samples"] == alone["evaluation"]["num_samples"] == 359
    assert together["evaluation"]["top1"] == pytest.approx(alone["evaluation"]["top1"], abs=0.02)
    for first, second in zip(together["history"], alone["history"], strict=True):
        # The same batches and augmentation; sums of two halves are rounded differently, and training amplifies it.
        assert first["train_loss"] == pytest.approx(second["train_loss"], rel=0.01)
        assert first["lr"] == second["lr"]
    with (tmp_path / "two" / "digits-lenet5" / "results.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
