"""What the tests of the engine share: a pass in the engine beside the same in PyTorch's float64, and exact numbers.

Without the compiled part these tests are skipped; `test_extension.py` says whether it ought to be there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from striate.engine import Accelerated, accelerate, is_available
from striate.graph import capture

LIMITS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Length of the error over the length of the true vector that is asked for, by the engine's number format."""
ROUNDING = 5.0
"""How many times PyTorch's own float32 error is allowed where that is more."""
SMALL = 5e-2
"""Parts of the longest gradient of a pass: shorter ones are zero but for rounding, and measured by this length."""
LOSS = 1000
"""Added to a seed: the direction of the loss must not be that of an input made with the same one."""

Results = dict[str, Tensor | None]


@pytest.fixture(scope="module", autouse=True)
def _needs_the_compiled_part(request: pytest.FixtureRequest) -> None:
    if request.path.name != "test_extension.py" and not is_available():
        pytest.skip("the compiled part of the engine is not installed")


@pytest.fixture(autouse=True)
def _same_threads_after_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def width() -> int:
    """Images of a block."""
    from striate.engine._machine import machine

    return machine().width


class Network(nn.Module):
    """A network that is one function of itself, for its layers, and of the inputs."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


def _tensors(value: Any) -> list[Tensor]:
    """Return the tensors of what a network returned, in order."""
    if isinstance(value, Tensor):
        return [value]
    values = value.values() if isinstance(value, dict) else value
    return [tensor for part in values for tensor in _tensors(part)]


def _whole(shape: Any, *, seed: int, largest: int = 3) -> Tensor:
    """Return small whole numbers: what is computed from them by sums and products is exact in float32."""
    numbers = np.random.default_rng(seed).integers(-largest, largest + 1, size=tuple(shape))
    return torch.tensor(numbers, dtype=torch.float32)


def _normal(shape: Any, *, seed: int) -> Tensor:
    return torch.tensor(np.random.default_rng(seed).standard_normal(tuple(shape)), dtype=torch.float32)


def _filled(model: nn.Module, *, seed: int, exact: bool) -> nn.Module:
    """Give each parameter and running mean numbers of its own, each running variance positive ones."""
    with torch.no_grad():
        # From 1 on: with the seed itself, a running mean would be the first number of the input, the difference 0.
        for index, (name, tensor) in enumerate([*model.named_parameters(), *model.named_buffers()], start=1):
            if not tensor.is_floating_point():
                continue
            numbers = (
                _whole(tensor.shape, seed=seed + index, largest=2)
                if exact
                else _normal(tensor.shape, seed=seed + index)
            )
            if not exact and tensor.ndim > 1:
                numbers = numbers / tensor[0].numel() ** 0.5
            tensor.copy_(numbers.abs() + 0.5 if name.endswith("running_var") else numbers)
    return model


def _run(
    call: Callable[..., Any],
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    *,
    dtype: torch.dtype,
    exact: bool,
    seed: int,
) -> Results:
    """Run forward and backward; return outputs, gradients and buffers by name, None where a gradient is missing."""
    inputs = tuple(x.detach().to(dtype).requires_grad_(x.requires_grad) for x in inputs)
    outputs = _tensors(call(*inputs))
    results: Results = {f"output {n}": y.detach() for n, y in enumerate(outputs)}
    wanted = [(n, y) for n, y in enumerate(outputs) if y.requires_grad]
    make = _whole if exact else _normal
    if wanted:
        gradients = [make(y.shape, seed=seed + LOSS + n).to(dtype) for n, y in wanted]
        torch.autograd.backward([y for _, y in wanted], gradients)
    results |= {f"gradient of input {n}": x.grad for n, x in enumerate(inputs)}
    results |= {f"gradient of {name}": p.grad for name, p in model.named_parameters()}
    return results | {f"buffer {name}": buffer.detach().clone() for name, buffer in model.named_buffers()}


def _error(found: Tensor, truth: Tensor, *, least: float = 0.0) -> float:
    """Return the length of the difference over that of the truth, or over `least`; infinite where NaN is not NaN."""
    found, truth = found.double(), truth.double()
    if found.shape != truth.shape or not torch.equal(found.isnan(), truth.isnan()):
        return float("inf")
    difference = torch.where(found == truth, 0.0, found - truth).nan_to_num(nan=0.0, posinf=float("inf"))
    return float(difference.norm()) / max(float(truth.nan_to_num(0.0, 0.0, 0.0).norm()), least, 1e-30)


def _errors(found: Results, truth: Results) -> dict[str, float]:
    assert {name: value is None for name, value in found.items()} == {
        name: value is None for name, value in truth.items()
    }, "a gradient is missing, or is there where PyTorch has none"
    lengths = [float(v.norm()) for name, v in truth.items() if v is not None and name.startswith("gradient")]
    least = SMALL * max(lengths, default=0.0)
    return {
        name: _error(value, expected, least=least if name.startswith("gradient") else 0.0)
        for name, value in found.items()
        if value is not None and (expected := truth[name]) is not None
    }


def _in_float32(model: nn.Module, inputs: tuple[Tensor, ...], truth: Results, *, seed: int) -> dict[str, float]:
    """Return the errors of PyTorch's own float32, the larger of two ways that it computes a convolution."""
    errors: dict[str, float] = {}
    for uses_onednn in (True, False):
        stock = copy.deepcopy(model)
        # torch.backends.mkldnn.flags does the same, and warns of GPUs that are not there.
        torch._C._set_mkldnn_enabled(uses_onednn)
        try:
            found = _run(stock, stock, inputs, dtype=torch.float32, exact=False, seed=seed)
        finally:
            torch._C._set_mkldnn_enabled(True)
        errors = {name: max(error, errors.get(name, 0.0)) for name, error in _errors(found, truth).items()}
    return errors


def _assert_engine_alone(fast: Accelerated) -> None:
    report = fast.report
    assert "in PyTorch" not in report, report


def _assert_like_pytorch(
    model: nn.Module,
    *inputs: Tensor,
    exact: bool = False,
    limit: float = LIMITS[torch.float32],
    alone: bool = True,
    seed: int = 0,
    **options: Any,
) -> Accelerated:
    """Run a network in the engine and a copy in PyTorch's float64, and compare all that a pass leaves behind.

    Compared are outputs, gradients of the inputs and of all parameters (the loss is a random direction), and buffers.
    The error is a length over a length: at most `limit`, or 5 times the error of PyTorch's own float32 if that is more.
    It is more where the true gradient is nearly 0, as before a batch norm over few images, and in deep networks, where
    numbers that are nearly 0 before a ReLU, or nearly equal in a window of max pooling, fall to the other side in
    float32. A single operation with such an edge is better tested with whole numbers: with `exact`, nothing is rounded
    anywhere, ties are ties on both sides, and every number must be the same.

    Args:
        model: In float32, in the mode wanted; the engine runs the model itself.
        *inputs: In float32; the gradient of those that require one is compared.
        exact: Demand equal numbers; the gradient of the loss is of whole numbers.
        limit: Relative error that is allowed in any case.
        alone: Demand that no operation runs in PyTorch.
        seed: Of the loss.
        **options: Of `accelerate`.

    Returns:
        The accelerated network.
    """
    model.zero_grad()
    before, double = copy.deepcopy(model), copy.deepcopy(model).double()
    truth = _run(double, double, inputs, dtype=torch.float64, exact=exact, seed=seed)
    fast = accelerate(model, **options)
    found = _run(fast, model, inputs, dtype=torch.float32, exact=exact, seed=seed)
    if alone:
        _assert_engine_alone(fast)
    errors = _errors(found, truth)
    bad = {name: error for name, error in errors.items() if not error <= (0.0 if exact else limit)}
    if bad and not exact:
        stock = _in_float32(before, inputs, truth, seed=seed)
        bad = {name: (error, stock[name]) for name, error in bad.items() if not error <= ROUNDING * stock[name]}
    assert not bad, f"{bad} of {errors}\n{fast.report}\n{model}\n{[tuple(x.shape) for x in inputs]}"
    if alone:  # others may mix the images
        _assert_inference_like_pytorch(fast, double, inputs, exact=exact, limit=limit, seed=seed)
    return fast


def _assert_inference_like_pytorch(
    fast: Accelerated, double: nn.Module, inputs: tuple[Tensor, ...], *, exact: bool, limit: float, seed: int
) -> None:
    """Compare outputs in evaluation and without gradients: of the batch, or of its first or last image, by the seed.

    Other programs run there: folded, with weights packed once, and for few images with channels in the lanes.
    """
    modes = [module.training for module in double.modules()]
    fast.eval()
    double.eval()
    mixes = any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is None for m in fast.modules())
    part = (slice(None), slice(1), slice(-1, None))[0 if mixes else seed % 3]
    with torch.no_grad():
        for mine, theirs in zip(double.buffers(), fast.buffers(), strict=True):
            mine.copy_(theirs)
        batch = [x.detach()[part] for x in inputs]
        found = _tensors(fast(*(x.clone() for x in batch)))
        truth = _tensors(double(*(x.double() for x in batch)))
        errors = [_error(mine, right) for mine, right in zip(found, truth, strict=True)]
        if not all(error <= (0.0 if exact else limit) for error in errors):
            stock = _tensors(copy.deepcopy(double).float()(*(x.clone() for x in batch)))
            usual = [_error(theirs, right) for theirs, right in zip(stock, truth, strict=True)]
            text = (
                f"in evaluation {errors}, usual {usual}\n{fast.plan}\n{fast.model}\n{[tuple(x.shape) for x in batch]}"
            )
            assert not exact, text
            assert all(error <= ROUNDING * other for error, other in zip(errors, usual, strict=True)), text
    for mine, theirs, training in zip(fast.model.modules(), double.modules(), modes, strict=True):
        mine.training = theirs.training = training
    fast.training = modes[0]


def _assert_like_definition(model: nn.Module, *inputs: Tensor, limit: float = LIMITS[torch.float32]) -> None:
    """Compare a network of one operation with that operation of `striate.ops`, in NumPy's float64."""
    graph = capture(copy.deepcopy(model), inputs if len(inputs) > 1 else inputs[0])
    node = graph.nodes[-1]
    arrays = [x.detach().double().numpy() for x in inputs]
    parameters = {name: p.tensor.detach().double().numpy() for name, p in node.parameters.items()}
    found = _run(accelerate(model), model, inputs, dtype=torch.float32, exact=False, seed=0)
    output = np.asarray(node.op.forward(*arrays, **parameters))
    gradients = node.op.backward(_normal(output.shape, seed=LOSS).double().numpy(), *arrays, **parameters)
    truth: dict[str, Any] = {"output 0": output}
    truth |= {
        f"gradient of input {n}": g
        for n, (g, x) in enumerate(zip(gradients.inputs, inputs, strict=True))
        if x.requires_grad
    }
    truth |= {f"gradient of {node.parameters[name].name}": g for name, g in gradients.parameters.items()}
    errors = {name: _error(found[name], torch.tensor(value)) for name, value in truth.items()}
    assert all(error <= limit for error in errors.values()), errors


@pytest.fixture(scope="session")
def assert_like_pytorch() -> Callable[..., Accelerated]:
    """The function `_assert_like_pytorch`; of the session, so that generated cases can share it, as all that follow."""
    return _assert_like_pytorch


@pytest.fixture(scope="session")
def assert_like_definition() -> Callable[..., None]:
    """The function `_assert_like_definition`."""
    return _assert_like_definition


@pytest.fixture(scope="session")
def assert_engine_alone() -> Callable[[Accelerated], None]:
    """The function `_assert_engine_alone`."""
    return _assert_engine_alone


@pytest.fixture(scope="session")
def network() -> type[Network]:
    """The class `Network`."""
    return Network


@pytest.fixture(scope="session")
def filled() -> Callable[..., nn.Module]:
    """The function `_filled`."""
    return _filled


@pytest.fixture(scope="session")
def whole() -> Callable[..., Tensor]:
    """The function `_whole`."""
    return _whole


@pytest.fixture(scope="session")
def normal() -> Callable[..., Tensor]:
    """The function `_normal`."""
    return _normal


@pytest.fixture(scope="session")
def error() -> Callable[..., float]:
    """The function `_error`."""
    return _error


# What the tests of `accelerate` use ---------------------------------------------------------------------------------


def _small(*, dropout: float = 0.0) -> nn.Sequential:
    """Return a network with something of everything: convolution, batch norm, pooling, dropout, a dense layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),  # a bias before a batch norm has no gradient but rounding
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3),
        nn.Tanh(),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(3 * 2 * 2, 5),
    )


def _images(batch: int = 11, *, seed: int = 0, size: int = 8) -> Tensor:
    """Return images for the small network."""
    return torch.randn(batch, 2, size, size, generator=torch.Generator().manual_seed(seed))


def _classes(batch: int = 11, *, seed: int = 0) -> Tensor:
    """Return targets for the small network."""
    return torch.randint(5, (batch,), generator=torch.Generator().manual_seed(seed))


def _close(found: Tensor, expected: Tensor, limit: float = LIMITS[torch.float32]) -> bool:
    """Whether the difference is short beside what it is a difference of."""
    return float((found.detach() - expected.detach()).norm()) <= limit * float(expected.detach().norm())


def _assert_same_step(net: nn.Module, x: Tensor, *, call: nn.Module | None = None) -> None:
    """Run a step in the engine, through `call` if it is there already, and one in PyTorch on a copy; compare."""
    stock, fast = copy.deepcopy(net), call or accelerate(net)
    net.zero_grad()
    stock.zero_grad()
    found, expected = fast(x), stock(x)
    assert _close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    for name, p in stock.named_parameters():
        mine = net.get_parameter(name).grad
        assert (mine is None) == (p.grad is None), name
        assert p.grad is None or (mine is not None and _close(mine, p.grad)), name


@pytest.fixture(scope="session")
def small() -> Callable[..., nn.Sequential]:
    """The function `_small`."""
    return _small


@pytest.fixture(scope="session")
def images() -> Callable[..., Tensor]:
    """The function `_images`."""
    return _images


@pytest.fixture(scope="session")
def classes() -> Callable[..., Tensor]:
    """The function `_classes`."""
    return _classes


@pytest.fixture(scope="session")
def close() -> Callable[..., bool]:
    """The function `_close`."""
    return _close


@pytest.fixture(scope="session")
def assert_same_step() -> Callable[..., None]:
    """The function `_assert_same_step`."""
    return _assert_same_step
