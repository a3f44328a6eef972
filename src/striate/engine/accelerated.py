"""`accelerate`: a network whose forward and backward pass run in the engine, everything else being as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from striate.engine._forward import Forward
from striate.engine._machine import machine
from striate.engine._network import NetworkProgram
from striate.engine._partition import HOOKS, is_fit
from striate.engine.plan import Plan
from striate.engine.single import SinglePlan
from striate.errors import UsageError
from striate.graph import is_capturing

__all__ = ["Accelerated", "accelerate"]

GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)
SHARED_TABLES = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
MOST_READY = 8
"""Shapes, the batch included, whose programs are found at once."""
MOST_NUMBERS = 2_000_000
"""Parameters of a network for which that matters: larger ones take longer than Python does."""
MOST_PROGRAMS = 16
"""Shapes and modes whose programs are kept, with their memory."""
_ONE_CAPTURE = threading.RLock()
"""Captures follow all modules of the process: one at a time."""


def accelerate(
    model: nn.Module, example: Tensor | None = None, *, precision: str = "float32", independent: bool = False
) -> Accelerated:
    """Return a module that computes what a network computes, in the engine.

    The parameters and buffers are the network's own; gradients arrive in ``.grad``, running statistics in the buffers,
    so optimizers, schedulers, ``state_dict`` and checkpoints see no difference. `train` and `eval` act on both. Plans
    are made when a shape or a mode is met for the first time; what the engine does not know runs in PyTorch, and
    ``print(fast.report)`` says what.

    Args:
        model: Any network.
        example: A batch (N, C, H, W), to make the plan now; None makes it at the first call.
        precision: "float32"; or "bf16", where `striate.engine.has_bf16()`: what layers multiply is rounded to bfloat16
            and summed in float32, everything else, the parameters and gradients among it, remains float32.
        independent: Let no bit depend on the number of threads. Otherwise the same number of threads gives the same
            bits.

    Raises:
        MissingExtraError: the engine's native part is not installed.
        UsageError: `model` is no module, `example` no tensor with a batch, or this processor lacks the precision.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> fast = accelerate(net)
        >>> bool(torch.allclose(fast(torch.ones(5, 1, 2, 2)), net(torch.ones(5, 1, 2, 2))))
        True
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"accelerate: `model` must be an nn.Module, got {type(model).__name__}. Give the network.")
    if example is not None and (not isinstance(example, Tensor) or example.ndim < 2):
        raise UsageError(
            f"accelerate: `example` must be a tensor with a batch of images, got {_what(example)}. "
            "Give what the network is called with."
        )
    machine(precision)  # says now what is missing
    network = model.model if isinstance(model, Accelerated) else model
    fast = Accelerated(network, precision=precision, independent=independent)
    if example is not None:
        fast.plans(example)
    return fast


def _what(value: Any) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


class Accelerated(nn.Module):
    """A network in the engine, see `accelerate`."""

    def __init__(self, model: nn.Module, *, precision: str = "float32", independent: bool = False) -> None:
        super().__init__()
        # The tables of the network itself: what is registered, moved or replaced there is so here.
        self.__dict__.update({name: model.__dict__[name] for name in SHARED_TABLES})
        self.__dict__["_model"] = model
        self.__dict__["_options"] = {"precision": precision, "independent": independent}
        self.__dict__["_programs"] = {}
        self.__dict__["_ready"] = {}
        own = [self.__dict__[name] for name in HOOKS]
        self.__dict__["_own_hooks"] = [*own, *(vars(module_hooks)[name] for name in GLOBAL_HOOKS)]
        self.__dict__["training"] = model.training

    @property
    def model(self) -> nn.Module:
        """The network itself."""
        return cast("nn.Module", self.__dict__["_model"])

    def train(self, mode: bool = True) -> Accelerated:
        """Set the mode of the network, and of this module with it."""
        self.model.train(mode)
        self.training = mode
        return self

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Compute what the network computes, by the shortest way where that is known."""
        # What is asked here and no more is what a call of one image can afford; the rest was asked in a call before.
        if len(inputs) == 1 and not options and type(x := inputs[0]) is Tensor:
            ready = self.__dict__["_ready"].get(x.shape)
            if (
                ready is not None
                and x.dtype is torch.float32
                and x.is_cpu
                and x.is_contiguous()
                and not x.is_neg()
                and not torch.is_grad_enabled()
                and not torch._C._len_torch_function_stack()
                and not any(self.__dict__["_own_hooks"])
                and (y := ready.run(x)) is not None
            ):
                return y
        return super().__call__(*inputs, **options)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute what the network computes; with anything but tensors by position, in PyTorch."""
        if options:
            return self.model(*inputs, **options)
        if is_capturing():
            return self.model(*inputs)
        if not inputs or not is_fit(inputs):
            return self.model(*inputs)
        program = self._program(inputs)
        output = program(inputs)
        self._keep_ready(program, inputs)
        return output

    def _keep_ready(self, program: NetworkProgram, inputs: Sequence[Tensor]) -> None:
        """Note which program serves an input of this shape when no gradient is wanted."""
        ready: dict[torch.Size, Any] = self.__dict__["_ready"]
        shape = inputs[0].shape
        forward = program.forward_for(len(inputs[0]))
        if forward is None or not forward.is_plain or forward.numbers > MOST_NUMBERS:
            ready.pop(shape, None)
            return
        known = ready.get(shape)
        if known is None or known.program is not program:
            if len(ready) >= MOST_READY:
                ready.clear()
            known = ready[shape] = _Ready(program, forward, len(inputs[0]))
        known.native.renew()

    @property
    def plan(self) -> str:
        """What the last plan runs: its segments, kernels, bytes and multiply-adds."""
        return "\n".join(str(plan) for plan in self._last().plans)

    @property
    def report(self) -> str:
        """What of the network runs in the engine, and what in PyTorch, and why."""
        return self._last().report

    def __reduce__(self) -> Any:
        """Copy and pickle the network; plans are made anew."""
        return Accelerated._remade, (self.model, self.__dict__["_options"])

    @staticmethod
    def _remade(model: nn.Module, options: dict[str, Any]) -> Accelerated:
        return Accelerated(model, **options)

    def plans(self, *example: Tensor) -> list[Plan | SinglePlan]:
        """Return the plans for inputs like these, made now if they are not there yet."""
        return self._program(example).plans_for(len(example[0]))

    def _last(self) -> NetworkProgram:
        programs = self.__dict__["_programs"]
        if not programs:
            raise UsageError("accelerate: `plan` is there once the network was called. Call it, or give an example.")
        return cast("NetworkProgram", next(reversed(programs.values())))

    def _program(self, inputs: Sequence[Any]) -> NetworkProgram:
        programs: dict[Any, NetworkProgram] = self.__dict__["_programs"]
        grads = torch.is_grad_enabled()
        for program in reversed([*programs.values()]):
            if program.serves(inputs, grads=grads):
                return program
        with _ONE_CAPTURE:
            return self._new_program(inputs, grads=grads)

    def _new_program(self, inputs: Sequence[Any], *, grads: bool) -> NetworkProgram:
        programs: dict[Any, NetworkProgram] = self.__dict__["_programs"]
        model = self.model
        learn = tuple(p.requires_grad for p in model.parameters())
        trains = grads and (any(x.requires_grad for x in inputs) or any(learn))
        key = (
            tuple((tuple(x.shape[1:]), trains and x.requires_grad) for x in inputs),
            tuple(module.training for module in model.modules()),
            learn if trains else (),
        )
        programs.pop(key, None)
        if len(programs) >= MOST_PROGRAMS:
            programs.pop(next(iter(programs)))
            self.__dict__["_ready"].clear()
        made = programs[key] = NetworkProgram(model, inputs, trains=trains, **self.__dict__["_options"])
        return made


class _Ready:
    """A program for inputs of one shape, the batch included."""

    def __init__(self, program: NetworkProgram, forward: Forward, batch: int) -> None:
        self.program = program
        self.native = forward.ready(batch, program.guard)
        self.run: Callable[[Tensor], Tensor | None] = self.native.run
