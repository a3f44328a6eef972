"""The benchmark of the diagnosis: how cases are counted, and a few of them."""

import importlib

import pytest

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def program():
    return importlib.import_module("benchmarks.diagnosis.program")


def result(**changes):
    return {"name": "a", "architecture": "dense", "seed": 0, "right": ["dead-relu"], "got": ["dead-relu"],
            "error": None, "detected": True, "named": True, "wrong": [], "seconds": 1.0} | changes  # fmt: skip


def test_there_are_enough_cases(program):
    cases = [*program.cases([0])]
    # 30 kinds of faults on three architectures, and 30 healthy trainings, at least, are what was asked for.
    assert len({name for name, _, _, causes, _ in cases if causes}) >= 30
    assert len([1 for _, _, _, causes, _ in cases if not causes]) >= 30
    assert len({name for _, _, _, causes, _ in cases for name in causes}) == 27


def test_table_counts_and_publishes_losses(program):
    missed = result(name="b", got=["nan-origin"], named=False, wrong=["nan-origin"])
    alarm = result(name="c", right=[], got=["label-noise"], named=False, wrong=["label-noise"], seconds=3.0)
    text = program.table([result(), missed, alarm])
    assert "right name given" in text
    assert "1 (50.0 %)" in text
    assert "90 %: NOT met" in text
    assert "under 2 %: NOT met" in text
    assert "False alarms: c (dense, seed 0): label-noise." in text
    assert "| b " in text
    assert "0 of 1" in text


def test_an_exception_is_a_miss(program):
    def run():
        raise ValueError("broken")

    got = program.score("a", "dense", 0, ("dead-relu",), run)
    assert (got["named"], got["detected"], got["error"]) == (False, False, "ValueError: broken")


@pytest.mark.parametrize("name", ["softmax before cross-entropy", "no zero_grad", "a plain loop", "dense, Adam"])
def test_a_few_cases(program, name):
    case = next(case for case in program.cases([100]) if case[0] == name)
    got = program.score(*case)
    assert got["error"] is None
    assert got["named"] == bool(case[3])
    assert not got["wrong"]
