"""Findings and diagnoses as objects, text and JSON."""

import json

import pytest

from striate.diagnose import CAUSES, Diagnosis, Finding
from striate.errors import UsageError

FINDING = Finding(cause="dead-relu", says="3 of 4 channels are 0.", evidence=("`relu` 3",), confirmed_by="a count",
                  numbers={"dead": [0, 1, 2]})  # fmt: skip


def diagnosis(*findings):
    return Diagnosis(subject="Net", findings=findings, checked=("dead-relu", "nan-origin"),
                     not_checked={"overfitting": "no validation data was given"}, seconds=2.0)  # fmt: skip


def test_severity_and_edit_come_from_the_vocabulary():
    assert FINDING.severity == CAUSES["dead-relu"].severity
    assert FINDING.fix == CAUSES["dead-relu"].fix
    assert Finding(cause="dead-relu", says="", evidence=(), confirmed_by="", fix="own").fix == "own"


def test_other_names_are_refused():
    with pytest.raises(UsageError, match=r"Finding: `cause` must be one of the 27 .* got 'dead-rleu'.*`dead-relu`"):
        Finding(cause="dead-rleu", says="", evidence=(), confirmed_by="")


def test_a_healthy_network_gets_one_line():
    assert str(diagnosis()) == "Net: nothing found wrong (2 checks, 2.0 s)."
    assert diagnosis().is_healthy


def test_a_finding_is_a_sentence_then_evidence_then_the_edit():
    lines = str(diagnosis(FINDING)).splitlines()
    assert lines[:3] == ["Net: 1 finding (2 checks, 2.0 s).", "dead-relu: 3 of 4 channels are 0.", "    `relu` 3"]
    assert lines[3:] == ["    tested: a count", f"    edit:   {FINDING.fix}"]


def test_json():
    told = json.loads(json.dumps(diagnosis(FINDING).to_dict()))
    assert told["healthy"] is False
    assert told["findings"][0]["cause"] == "dead-relu"
    assert told["findings"][0]["numbers"] == {"dead": [0, 1, 2]}
    assert told["not_checked"] == {"overfitting": "no validation data was given"}
