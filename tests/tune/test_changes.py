from __future__ import annotations

import copy

import pytest
import torch

from striate.tune.changes import changes_of
from striate.tune.stages import Stage


def test_distance_as_a_share_of_the_length(small):
    before = small()
    after = copy.deepcopy(before)
    with torch.no_grad():
        after.fc.weight.mul_(1.25)
        after.fc.bias.mul_(1.25)
    stages = [Stage(name="stem", layers=("stem.0", "stem.1")), Stage(name="fc", layers=("fc",))]
    assert changes_of(before, after, stages) == {"stem": 0.0, "fc": pytest.approx(0.25, rel=1e-6)}
