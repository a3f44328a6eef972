import numpy as np
import pytest

from striate.errors import UsageError
from striate.graph.opaque import Constant, Input, Opaque

X = np.ones((2, 3))


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (lambda op: op.output_shape((2, 3)), "an output shape for other inputs"),
        (lambda op: op.forward(X), "a definition"),
        (lambda op: op.backward(X, X), "a gradient"),
        (lambda op: op.working((0, 0), X), "a working"),
        (lambda op: op.macs((2, 3)), "a cost"),
        (lambda op: op.flops((2, 3)), "a cost"),
        (lambda op: op.reads(np.arange(2), axis=0, size=3), "a receptive field"),
    ],
)
def test_an_opaque_operation_refuses_what_it_does_not_know(ask, what):
    with pytest.raises(UsageError, match=f"opaque: `roll` must be an operation that striate knows to have {what}"):
        ask(Opaque("roll"))


def test_an_opaque_operation_writes_its_call():
    assert Opaque("sort", (("1", -1), ("descending", True)), output=0).text == "sort(-1, descending=True)[0]"


def test_opaque_operations_compare_by_what_they_hold():
    assert Opaque("roll", (("1", 2),)) == Opaque("roll", (("1", 2),))
    assert Opaque("roll", (("1", 2),)) != Opaque("roll", (("1", 3),))


def test_an_input_has_a_shape_and_nothing_before_it():
    op = Input((2, 3))
    assert op.output_shape() == (2, 3)
    assert op.backward(X).inputs == ()
    with pytest.raises(UsageError, match="input: `forward` must not be called"):
        op.forward()
    with pytest.raises(UsageError, match="input: `working` must be asked of a computed node"):
        op.working((0, 0))


def test_a_constant_is_its_value(assert_adds_up_to):
    op = Constant()
    assert op.output_shape(value=(2, 3)) == (2, 3)
    assert op.forward(value=X) is X
    assert op.backward(2 * X, value=X).parameters["value"].tolist() == (2 * X).tolist()
    assert_adds_up_to(op.working((0, 1), value=X), 1.0)


@pytest.fixture
def assert_adds_up_to():
    def check(working, value):
        assert working.value == value
        assert str(working).splitlines()[-1].strip() == f"y = {value:g}"

    return check
