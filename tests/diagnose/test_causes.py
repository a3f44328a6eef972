"""The vocabulary: complete, documented, and the only source of names."""

from pathlib import Path

from striate.diagnose import CAUSES
from striate.diagnose._rules_loop import CAUSES as LOOP
from striate.diagnose._rules_run import HISTORY
from striate.diagnose.diagnosing import LOOP_ONLY, RULES

PAGE = Path(__file__).parents[2] / "docs" / "diagnose" / "index.md"
# The list of the issue that asked for the diagnosis, word for word.
WANTED = """unnormalised-input softmax-before-loss wrong-loss shuffled-labels label-noise learning-rate-too-high
learning-rate-too-low missing-zero-grad gradient-not-reaching not-in-optimizer no-activation vanishing-gradient
exploding-gradient saturated-activation dead-relu bad-initialisation batch-norm-misuse dropout-at-evaluation overfitting
underfitting class-imbalance train-validation-leak batch-mixing nan-origin identical-augmentation eval-in-train-mode
loss-broadcast"""


def test_the_vocabulary_is_what_was_asked_for():
    assert list(CAUSES) == WANTED.split()


def test_each_cause_has_a_row_in_the_documentation():
    rows = [line.split("|")[1:-1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    told = {name.strip().strip("`"): (meaning.strip(), fix.strip()) for name, meaning, fix in rows}
    assert told == {cause.name: (cause.meaning, cause.fix) for cause in CAUSES.values()}


def test_each_cause_has_a_rule():
    assert {name for name, _ in RULES} | LOOP_ONLY | set(LOOP) | set(HISTORY) == set(CAUSES)
