"""`striate work`: every topic, its help, its documents, and words that are no topic."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest
import typer

from striate import work
from striate.cli import app
from striate.cli._work_topics import TOPICS

# The line that the issue asks for.
CONV = shlex.split(
    'work conv --input "3 5 2 8 1; 9 7 5 4 3; 2 0 6 1 6; 6 3 7 9 2; 1 4 9 5 1" --kernel "1 0 0; 1 1 0; 0 0 1" '
    "--stride 1 --padding 0"
)
LINES = {
    "conv": '-i "1 2; 3 4" -k "1 0" --bias -5 --stride 2x1 --padding "0 1 0 1" --dilation 1 --at 0,1 --backward',
    "pool": '-i "1 2; 3 4" --kind weighted --weights "1 2; 3 4" --stride 1 --grad-output 2',
    "dense": '-i "1 2" -w "3 4; 5 6" --bias "0 1" --at "weight[1,0]" -b',
    "softmax": '-i "-1 3" --at 1 -b',
    "cross-entropy": '-i "0.5 0.25 0.25" -t "1 0 0" --probabilities --base 2 --label-smoothing 0.1 -b',
    "batch-norm": '-i "1 2 3 6" --mean 3 --variance 4 --weight 2 --bias 5 --eps 0',
    "receptive-field": '"3x3 s2 same, pool 2x2" --size 8x8',
    "output-size": '"5x5 f6, pool 2x2, flatten" --size 1x28x28',
    "parameters": '"dense 784->128->10"',
}


def test_the_line_of_the_issue(cli):
    answer = cli(*CONV)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == str(work.conv(CONV[3], CONV[5])) + "\n"
    assert "= 25" in answer.out


def test_every_topic_has_a_line_here():
    assert set(LINES) == set(TOPICS)


@pytest.mark.parametrize("topic", LINES)
def test_every_topic_as_text_and_json(cli, topic):
    words = ["work", topic, *shlex.split(LINES[topic])]
    answer = cli(*words)
    assert (answer.code, answer.err) == (0, "")
    assert max(map(len, answer.out.splitlines())) <= 100
    as_json = cli(*words, "--json")
    document = json.loads(as_json.out)
    assert as_json.err == ""
    assert document["kind"] == "working"
    assert document["title"] == answer.out.splitlines()[0]
    assert document["numbers"]


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_help_and_examples_that_run(cli, topic):
    command = typer.main.get_command(app).commands["work"].commands[topic]
    assert command.help
    for parameter in command.params:
        assert parameter.help, f"{topic} {parameter.name}"
    examples = [part for part in command.epilog.split("`")[1::2] if "cat.png" not in part and ".csv" not in part]
    assert examples
    for example in examples:
        _, *words = shlex.split(example)
        assert words[:2] == ["work", topic]
        assert cli(*words).code == 0, example


def test_files(cli, tmp_path):
    (tmp_path / "a.csv").write_text("12,20\n8,12\n")
    page = tmp_path / "pool.html"
    answer = cli("work", "pool", "--input", tmp_path / "a.csv", "--output", page)
    assert (answer.code, answer.out.strip()) == (0, str(page))
    assert "<table" in page.read_text(encoding="utf-8")
    again = cli("work", "pool", "--input", tmp_path / "a.csv", "--output", page, "--json")
    assert again.code == 2
    assert "must be a new file" in json.loads(again.out)["error"]["message"]
    missing = cli("work", "pool", "--input", tmp_path / "no.csv")
    assert missing.code == 3
    assert "must be the path of a readable file" in missing.err


def test_json_names_the_page_and_has_no_infinity(cli, tmp_path):
    page = tmp_path / "pool.html"
    out = cli("work", "pool", "-i", "1 2; 3 4", "--padding", "1", "--json", "-o", page).out
    document = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    assert document["page"] == str(page)
    padded = next(part for part in document["parts"] if part["kind"] == "grid" and "padding" in part["label"])
    assert padded["values"][0][0] is None


def test_a_first_word_that_is_no_topic(cli):
    answer = cli("work", "cnov", "--input", "1")
    assert answer.code == 2
    assert "work: `cnov` must be a topic (conv, pool, dense, " in answer.err
    assert "Did you mean `conv`?" in answer.err
    assert "Did you mean `resnet18`" in cli("work", "resnet81", "--at", "conv1[0,0,0]").err
    assert json.loads(cli("work", "cnov", "--json").out)["error"]["kind"] == "UsageError"


def test_networks_go_to_one_hidden_command(cli):
    group = typer.main.get_command(app).commands["work"]
    assert group.commands["network"].hidden
    assert "network" not in cli("work", "--help").out
    assert cli("work", "--no-such-flag").code == 2


def test_errors_name_the_option(cli):
    answer = cli("work", "conv", "--input", "1 2; 3", "--kernel", "1")
    assert answer.code == 2
    assert answer.err.startswith("striate: conv: `input` must have rows of equal length")
    assert cli("work", "conv", "--input", "1").code == 2


def test_torch_is_not_imported():
    program = (
        f"import sys; sys.argv = ['striate', *{CONV!r}]\n"
        "from striate.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'PIL', 'rich', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
