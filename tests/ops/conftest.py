"""What the tests of the operations share: random arrays, finite differences, and how working is checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from striate.ops.op import Op
from striate.ops.working import Sum, Term, Working

# Agreement asked for: forward with PyTorch in float64, backward with autograd, and with central differences (relative).
FORWARD, BACKWARD, DIFFERENCE = 1e-12, 1e-10, 1e-6
STEP = 1e-6


@pytest.fixture
def random() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(0)


def _finite_difference(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, grad_output: np.ndarray, *, step: float = 1e-6
) -> np.ndarray:
    """Return dL/dx of L = sum(grad_output * function(x)) by central differences, one value at a time."""
    gradient = np.zeros_like(x, dtype=np.float64)
    for index in np.ndindex(*x.shape):
        above, below = x.astype(np.float64), x.astype(np.float64)
        above[index] += step
        below[index] -= step
        gradient[index] = np.sum(grad_output * (function(above) - function(below))) / (2 * step)
    return gradient


def _assert_close_to_differences(gradient: np.ndarray, differences: np.ndarray) -> None:
    """Compare relative to the largest value of the gradient."""
    scale = max(1e-12, float(np.abs(differences).max()))
    assert float(np.abs(gradient - differences).max()) / scale < DIFFERENCE


def _assert_adds_up(working: Working, value: Any) -> None:
    """Check that a working's sums equal their terms, that its text fits the screen, and that it ends at `value`."""
    for total in working.sums():
        _check_sum(total)
    assert np.allclose(working.value, value, rtol=1e-12, atol=1e-12)
    assert all(len(line) <= 100 for line in str(working).splitlines())
    assert working._repr_html_().startswith("<div")
    assert working.to_dict()["kind"] == "working"


def _check_sum(total: Sum) -> None:
    largest = max((abs(term.value) for term in total.terms), default=0.0)
    assert math.isclose(
        math.fsum(term.value for term in total.terms), total.value, rel_tol=1e-9, abs_tol=1e-12 * (1 + largest)
    )
    for term in total.terms:
        if isinstance(term, Sum):
            _check_sum(term)
        else:
            assert isinstance(term, Term)


@pytest.fixture
def finite_difference() -> Callable[..., np.ndarray]:
    """The function `_finite_difference`."""
    return _finite_difference


@pytest.fixture
def assert_close_to_differences() -> Callable[[np.ndarray, np.ndarray], None]:
    """The function `_assert_close_to_differences`."""
    return _assert_close_to_differences


@pytest.fixture
def assert_adds_up() -> Callable[[Working, Any], None]:
    """The function `_assert_adds_up`."""
    return _assert_adds_up


def _assert_agrees(
    arrays: Sequence[np.ndarray],
    *,
    forward: Callable[..., np.ndarray],
    backward: Callable[..., Any],
    reference: Callable[..., torch.Tensor],
    seed: int,
) -> np.ndarray:
    """Compare an operation with PyTorch, its backward with autograd and with differences along one direction.

    Args:
        arrays: What the operation takes and has gradients for.
        forward: Of these arrays.
        backward: Of the output's gradient and these arrays, one gradient for each of them.
        reference: Of tensors, in PyTorch.
        seed: Of the output's gradient and the direction.

    Returns:
        The output.
    """
    generator = np.random.default_rng(seed)
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    y, expected = np.asarray(forward(*arrays)), reference(*tensors)
    assert y.shape == tuple(expected.shape)
    assert np.abs(y - expected.detach().numpy()).max(initial=0) < FORWARD
    grad_output = np.asarray(generator.standard_normal(y.shape))
    expected.backward(torch.tensor(grad_output))
    gradients = backward(grad_output, *arrays)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    slope = 0.0
    directions = [generator.choice([-1.0, 1.0], size=array.shape) for array in arrays]
    for gradient, tensor, direction in zip(gradients, tensors, directions, strict=True):
        grad = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()  # None where nothing was read
        assert gradient.shape == grad.shape
        assert np.abs(gradient - grad).max(initial=0) < BACKWARD
        slope += float((gradient * direction).sum())
    above, below = (
        np.sum(grad_output * forward(*(a + s * d for a, d in zip(arrays, directions, strict=True))))
        for s in (STEP, -STEP)
    )
    # Terms of random signs add up to about the length of the gradient, which is what the difference is compared with.
    length = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
    assert abs((above - below) / (2 * STEP) - slope) <= DIFFERENCE * max(length, 1e-3)
    return y


def _assert_workings_add_up(op: Op, x: np.ndarray, *, seed: int, **parameters: np.ndarray) -> None:
    """Check the working of one random output and of one random value of each gradient."""
    generator = np.random.default_rng(seed)
    y = op.forward(x, **parameters)
    place = tuple(int(generator.integers(length)) for length in y.shape)
    _assert_adds_up(op.working(place, x, **parameters), y[place])
    grad_output = generator.standard_normal(y.shape)
    gradients = op.backward(grad_output, x, **parameters)
    for of, gradient in {"input": gradients.inputs[0], **gradients.parameters}.items():
        place = tuple(int(generator.integers(length)) for length in gradient.shape)
        _assert_adds_up(op.gradient_working(of, place, grad_output, x, **parameters), gradient[place])


@pytest.fixture(scope="session")
def assert_workings_add_up() -> Callable[..., None]:
    """The function `_assert_workings_add_up`."""
    return _assert_workings_add_up


@pytest.fixture(scope="session")
def assert_agrees() -> Callable[..., np.ndarray]:
    """The function `_assert_agrees`; of the session, so that generated cases can share it."""
    return _assert_agrees
