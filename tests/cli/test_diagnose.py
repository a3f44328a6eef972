"""`striate diagnose`."""

from __future__ import annotations

import json
import shutil


def test_a_run_gets_a_section_in_its_report(cli, digits_run, tmp_path):
    folder = shutil.copytree(digits_run.folder, tmp_path / "run")
    answer = cli("diagnose", folder)
    # Two epochs are too few for it, and that is what it says.
    assert (answer.code, answer.err) == (1, "")
    assert "underfitting: " in answer.out
    assert 'id="diagnosis"' in (folder / "report.html").read_text()


def test_a_healthy_network_gets_one_line(cli):
    answer = cli("diagnose", "cnn_cifar", "digits", "--lr", "0.003")
    assert (answer.code, answer.err, answer.out.count("\n")) == (0, "", 1)
    assert "nothing found wrong" in answer.out


def test_findings_end_with_1(cli):
    answer = cli("diagnose", "lenet5", "digits", "--opt", "sgd", "--lr", "1e-7", "--json")
    told = json.loads(answer.out)
    assert answer.code == 1
    assert [finding["cause"] for finding in told["findings"]] == ["learning-rate-too-low"]


def test_could_not_run(cli, tmp_path):
    for arguments in (("lenet6", "digits"), ("lenet5",), (tmp_path,), ("lenet5", "digitz")):
        assert cli("diagnose", *arguments).code == 2
