"""Other packages beside the diagnosis: what their messages mean, what they can be asked, how answers are counted."""

import argparse
import importlib
import re

import pytest

pytest.importorskip("sklearn")
torch = pytest.importorskip("torch")


def module(name):
    return importlib.import_module(f"benchmarks.diagnosis.{name}")


def record(**changes):
    return {"name": "a", "architecture": "dense", "seed": 0, "right": ["dead-relu"], "messages": [], "error": None,
            "why_not": None, "seconds": 2.0} | changes  # fmt: skip


def test_every_meaning_is_a_pattern_and_a_name_of_ours():
    from striate.diagnose import CAUSES

    peers = {"torchtest2", "torchmortem", "torch-audit", "neural-net-checklist"}
    assert set(module("_peer_messages").MEANINGS) == set(module("_peer_runs").PEERS) == peers
    assert set(module("_peer_cases").TAKES) == set(module("peers").REQUIREMENTS) == peers
    for meanings in module("_peer_messages").MEANINGS.values():
        for pattern, causes in meanings:
            assert re.compile(pattern)
            assert causes
            assert set(causes) <= set(CAUSES)


@pytest.mark.parametrize(
    ("peer", "message", "cause"),
    [  # as the packages print them
        ("torchtest2", "optimizer_coverage: 2 parameter(s) are not in the optimizer: 2.w", "not-in-optimizer"),
        ("torchtest2", "eval_determinism: two forward passes in eval mode differ (output)", "dropout-at-evaluation"),
        ("torchtest2", "initial_loss: initial loss 9.510 is much larger than ln(10) = 2.303", "unnormalised-input"),
        ("torchtest2", "loss: the loss is nan", "nan-origin"),
        ("torchtest2", "loss: computing the loss raised IndexError: Target 10 is out of bounds.", "wrong-loss"),
        ("torchtest2", "overfit_batch: the loss became nan after 2 step(s) (lr too high?)", "learning-rate-too-high"),
        ("torchmortem", "Vanishing gradients detected", "vanishing-gradient"),
        ("torch-audit", "TA301: Input values range from 0.0 to 255.0. Expected approx [0, 1].", "unnormalised-input"),
        ("torch-audit", "info: TA103: Parameter 'conv1.weight' has exactly zero gradients.", "gradient-not-reaching"),
        ("neural-net-checklist", "Gradient for conv1.weight is None", "gradient-not-reaching"),
        ("neural-net-checklist", "Loss at initialization (nan) is not within 75.0% of expected loss", "nan-origin"),
        ("neural-net-checklist", "b_out: tensor([1.,\n 2.]), bc_out[0]: tensor([1.])", "batch-mixing"),
    ],
)  # fmt: skip
def test_messages_are_understood(peer, message, cause):
    assert cause in module("_peer_messages").named_by(peer, [message])


def test_information_names_but_does_not_alarm_and_style_counts_nowhere():
    judged = module("peers").judged
    info = ["info: TA103: zero"]
    assert judged("torch-audit", record(messages=info))["named"]
    assert judged("torch-audit", record(messages=info))["detected"]
    assert not judged("torch-audit", record(messages=info, right=[]))["detected"]
    assert not judged("torch-audit", record(messages=["TA200: dims", "TA400: bias"], right=[]))["detected"]
    other = judged("torch-audit", record(messages=["TA304: batch"]))
    assert (other["detected"], other["named"]) == (True, False)


def test_what_can_be_asked_follows_from_what_a_peer_is_given():
    usual = module("worlds").make_world("dense", seed=0)
    faults = [(case, case.make()) for case in module("_peer_cases").peer_cases("dense", 0) if case.right]

    def reasons(peer):
        return {case.name: module("_peer_cases").why_not(peer, case, world, usual) for case, world in faults}

    checklist, watcher, batch = reasons("neural-net-checklist"), reasons("torch-audit"), reasons("torchtest2")
    assert len(checklist) == 56
    assert checklist["rate of SGD too low"] == "is not given what is at fault"
    assert checklist["NLLLoss on logits"] == "takes no loss but cross-entropy"
    assert checklist["no zero_grad"] == batch["no zero_grad"] == "takes no loop"
    for name in ("softmax before cross-entropy", "dead ReLU", "head frozen", "labels shuffled"):
        assert checklist[name] is None
    assert {name for name, reason in watcher.items() if reason} == {
        "a tenth of validation is training", "validation holds brighter copies",
    }  # fmt: skip


def test_cases_are_those_of_the_benchmark():
    ours = {(n, a) for n, a, *_ in module("program").cases([0]) if a in ("dense", "healthy")}
    assert {(case.name, case.architecture) for case in module("_peer_cases").peer_cases("dense", 0)} == ours


def test_table_counts_what_was_asked_and_says_what_was_not():
    peers = module("peers")
    answers = [
        record(messages=["TA105: dead"]), record(name="b", messages=["TA304: x"]), record(why_not="takes no loop"),
        record(right=[], messages=["TA102: norm"], seconds=4.0), record(right=[], error="out of time"),
    ]  # fmt: skip
    given = {"version": "0.3.0", "results": [peers.judged("torch-audit", r) for r in answers], "failed": None}
    gone = {"version": None, "results": [], "failed": "it is not installed"}
    own = [record(detected=True, named=True), record(right=[], detected=False, named=False)]
    text = peers.peers_table(own, {"torch-audit": given, "torchmortem": gone}, limit=5)
    row = next(line for line in text.splitlines() if line.startswith("| torch-audit 0.3.0"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == ["2 of 3", "2 (100 %)", "1 (50 %)", "1 (50 %)", "2 of 2", "1 (50 %)", "2.00", "1"]
    assert "cannot be asked, takes no loop: 1" in text
    assert "torchmortem is left out: it is not installed. Get it: pip install torchmortem==0.1.1" in text


def test_a_peer_that_is_not_there_is_left_out(monkeypatch, tmp_path, capsys):
    peers = module("peers")
    monkeypatch.delenv("STRIATE_DIAGNOSIS_PYTHON", raising=False)
    options = argparse.Namespace(
        peers=["torchmortem"], seeds=[0], architecture="dense", only="no such case", limit=5.0, results=tmp_path
    )
    text = peers.beside_peers([], options)
    assert "torchmortem" in text
    assert (tmp_path / "diagnosis_peers.json").exists()
    assert "torchmortem:" in capsys.readouterr().out


def test_the_interpreter_is_named_by_a_variable(monkeypatch):
    import sys

    monkeypatch.setenv("STRIATE_DIAGNOSIS_PYTHON", "elsewhere/python")
    assert module("peers").python_of_peers() == "elsewhere/python"
    monkeypatch.delenv("STRIATE_DIAGNOSIS_PYTHON")
    assert module("peers").python_of_peers() == sys.executable


def test_an_unknown_peer_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("STRIATE_DATA", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        module("program").main(["--peers", "nobody"])
    assert left.value.code == 2
    assert "nobody" in capsys.readouterr().err
