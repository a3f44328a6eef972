"""What the command line calls."""

import pytest

from striate.diagnose.command import diagnose_named
from striate.errors import UsageError


def test_a_network_by_name_on_data_by_name():
    answer = diagnose_named("lenet5", "digits", opt="sgd", lr=1e-7, seconds=20)
    assert answer.causes == ("learning-rate-too-low",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"diagnose: `DATA` must be given for a network that is no run, got none"),
        ({"data": "digits", "opt": "adma"}, r"`--opt` must be one of adam, .* got 'adma'. Did you mean `adam`"),
    ],
)
def test_errors(options, message):
    with pytest.raises(UsageError, match=message):
        diagnose_named("lenet5", **options)
