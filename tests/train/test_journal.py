"""The run's log files."""

from __future__ import annotations

import csv

import pytest

from striate.train.journal import Journal, read_events

ROW = {"train_loss": 0.1, "train_accuracy": 0.5, "val_loss": None, "val_accuracy": None, "lr": 0.1}


def test_events_and_table(tmp_path):
    journal = Journal(tmp_path)
    journal.add("epoch", epoch=1, **ROW, best=True)
    journal.add("note", text="é")
    journal.add("epoch", epoch=2, **ROW)
    assert [event["event"] for event in read_events(tmp_path / "metrics.jsonl")] == ["epoch", "note", "epoch"]
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert rows[0]["val_loss"] == ""
    assert "best" not in rows[0]


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"event": "epoch", "epoch": 1}\n[1]\n{"event": "epo')
    assert read_events(path) == [{"event": "epoch", "epoch": 1}]
    assert read_events(tmp_path / "missing") == []


def test_after_a_cut_off_line_the_next_one_is_whole(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"event": "epoch", "epoch": 1}\n{"event": "epo')
    journal = Journal(tmp_path)
    journal.keep(lambda event: True)
    journal.add("resume", epoch=1)
    assert [event["event"] for event in read_events(tmp_path / "metrics.jsonl")] == ["epoch", "resume"]


def test_keep_drops_from_both_files(tmp_path):
    journal = Journal(tmp_path)
    for epoch in (1, 2, 3):
        journal.add("epoch", epoch=epoch, **ROW)
    journal.keep(lambda event: event["epoch"] < 3)
    assert [event["epoch"] for event in read_events(tmp_path / "metrics.jsonl")] == [1, 2]
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 3


def test_only_the_main_process_writes(tmp_path):
    journal = Journal(tmp_path, enabled=False)
    journal.add("epoch", epoch=1, **ROW)
    journal.keep(lambda event: True)
    assert list(tmp_path.iterdir()) == []


def test_no_file_with_nan(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        Journal(tmp_path).add("epoch", epoch=1, train_loss=float("nan"))
    assert list(tmp_path.iterdir()) == []
