"""`watch`: looks on while somebody's own loop trains, and says afterwards what is wrong with it."""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

import torch
from torch import Tensor, nn

from striate.diagnose import _rules_loop
from striate.diagnose._duplicates import first_rows
from striate.diagnose._loop_log import TRANSFORMS, LoopLog, find_transform, is_sampled
from striate.diagnose._samples import Samples
from striate.diagnose._setup import Setup
from striate.diagnose.diagnosing import RULES, _timed, examine
from striate.diagnose.finding import Diagnosis
from striate.errors import UsageError
from striate.graph._untouched import untouched

__all__ = ["Watch", "watch"]

LOSSES = ("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy",
          "binary_cross_entropy_with_logits", "multi_margin_loss")  # fmt: skip
LEFT_OUT = {"overfitting", "identical-augmentation"}


def watch(model: nn.Module, optimizer: torch.optim.Optimizer, *, validation: Any = None) -> Watch:
    """Look on while a loop trains: ``with striate.watch(model, optimizer) as w: ...; print(w.report())``.

    It hangs on forward passes, on the optimizer and on the losses of `torch.nn.functional`; most at one step in 32.
    It keeps the first 2,048 training samples and a copy of the network as it was, and tries its explanations on those.

    Args:
        model: The network that the loop calls.
        optimizer: Its optimizer.
        validation: ``(x, y)`` or a loader, to look for images that are also trained on.

    Raises:
        UsageError: an argument is of another type.
    """
    return Watch(model, optimizer, validation=validation)


class Watch:
    """One loop that is looked at; `report` says what was found."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, validation: Any = None) -> None:
        if not isinstance(model, nn.Module):
            raise UsageError(f"watch: `model` must be an nn.Module, got {type(model).__name__}. Give the network.")
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UsageError(
                f"watch: `optimizer` must be a torch.optim.Optimizer, got {type(optimizer).__name__}. "
                "Give the loop's own."
            )
        self.model, self.optimizer, self.validation, self.log = model, optimizer, validation, LoopLog()
        self.seconds, self.own_seconds = 0.0, 0.0
        self._stack = ExitStack()
        self._last: tuple[Any, Any] | None = None
        self._probe: nn.Parameter | None = None
        self._arrived: list[Tensor] = []

    def __enter__(self) -> Self:
        self._begin = time.perf_counter()
        self._first = copy.deepcopy((self.model, self.optimizer))
        add = self._stack.callback
        add(self.model.register_forward_hook(self._timed(self._after_forward)).remove)
        add(self.optimizer.register_step_pre_hook(self._timed(self._before_step)).remove)
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        self._probe = min(trainable, key=lambda p: p.numel(), default=None)
        if self._probe is not None:
            add(self._probe.register_hook(self._timed(self._on_gradient)).remove)
        self._count_clears()
        for name in LOSSES:
            self._listen(name)
        self.own_seconds += time.perf_counter() - self._begin
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        self._last = None
        self.seconds += time.perf_counter() - self._begin

    @property
    def overhead(self) -> float:
        """Share of the loop's time that looking on took."""
        return self.own_seconds / max(self.seconds - self.own_seconds, 1e-9)

    def report(self, *, seconds: float = 60.0) -> Diagnosis:
        """Say what was found; explanations are tried on copies of the network as it was at the start.

        Args:
            seconds: What the experiments may take, about.
        """
        begin, log = time.perf_counter(), self.log
        with untouched(self.model):
            findings = _rules_loop.findings(log, self.model, self._first)
            checked, missed = [*_rules_loop.CAUSES], dict[str, str]()
            setup = self._setup()
            if isinstance(setup, str):
                missed = {cause: setup for cause, _ in RULES if cause not in checked}
            else:
                rules = tuple((cause, rule) for cause, rule in RULES if cause not in LEFT_OUT)
                more, others, missed = examine(_timed(setup, seconds=seconds), rules=rules)
                known = {finding.cause for finding in findings}
                findings += [finding for finding in more if finding.cause not in known]
                checked += [cause for cause in others if cause not in checked]
            findings = _rules_loop.explained(findings)
        note = f"watched {log.steps} steps; overhead {100 * self.overhead:.1f} % of {self.seconds:.1f} s"
        return Diagnosis(
            subject=type(self.model).__name__, findings=tuple(findings), checked=tuple(checked),
            not_checked={c: why for c, why in missed.items() if c not in checked},
            seconds=time.perf_counter() - begin, notes=(note,),
        )  # fmt: skip

    def _setup(self) -> Setup | str:
        log = self.log
        if log.loss_fn is None or not log.inputs:
            return (
                "no loss of torch.nn.functional was called on what the network returned; one that was bound to a name "
                "before the loop (f = F.cross_entropy) is not heard: call F.cross_entropy or nn.CrossEntropyLoss()"
            )
        if log.unknown_transform:
            return "what happens between the network and the loss is not known"
        from striate.diagnose._samples import gather

        model, optimizer = self._first
        held = None if self.validation is None else gather(self.validation, argument="validation", function="watch")
        inputs, targets = torch.cat(log.inputs), torch.cat(log.targets)
        once = torch.tensor(first_rows(inputs))  # later epochs bring the same images again
        samples = Samples(inputs=inputs[once], targets=targets[once], batch_size=len(log.inputs[0]), source=log)
        return Setup(model=model, loss_fn=log.loss_fn, optimizer=optimizer, samples=samples, validation=held,
                     finish=TRANSFORMS[log.transform])  # fmt: skip

    def _timed(self, function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def timed(*args: Any, **options: Any) -> None:
            begin = time.perf_counter()
            function(*args, **options)
            self.own_seconds += time.perf_counter() - begin

        return timed

    def _after_forward(self, model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        log = self.log
        self._last = (inputs[0], output) if inputs and isinstance(inputs[0], Tensor) else None
        if torch.is_grad_enabled():
            log.forwards += 1
            log.was_in_training_mode |= model.training
            log.trained_in_eval_mode += not model.training
        else:
            log.evaluations += 1
            log.evaluated_in_training_mode += model.training
            if self._last is not None and len(log.held_inputs) < 2:
                log.held_inputs.append(inputs[0].detach().cpu().clone())

    def _on_gradient(self, gradient: Tensor) -> None:
        self.log.backwards += 1
        if is_sampled(self.log.steps):
            self._arrived.append(gradient.detach().clone())

    def _before_step(self, optimizer: Any, args: Any, options: Any) -> None:
        log, probe = self.log, self._probe
        if probe is not None and is_sampled(log.steps):
            if all(p.grad is None or not bool(p.grad.any()) for g in optimizer.param_groups for p in g["params"]):
                log.empty += 1
            elif probe.grad is not None and self._arrived and log.steps:
                log.stale.append(_stale(probe.grad, sum(self._arrived[1:], self._arrived[0])))
        self._arrived.clear()
        self._last = None  # holds the graph of the forward pass
        log.steps += 1

    def _count_clears(self) -> None:
        original = self.optimizer.zero_grad

        @functools.wraps(original)
        def zero_grad(*args: Any, **options: Any) -> None:
            self.log.clears += 1
            original(*args, **options)

        self.optimizer.zero_grad = zero_grad  # type: ignore[method-assign]
        self._stack.callback(vars(self.optimizer).pop, "zero_grad", None)

    def _listen(self, name: str) -> None:
        """See calls of a loss; modules such as nn.CrossEntropyLoss call it too."""
        original = getattr(nn.functional, name)

        @functools.wraps(original)
        def listening(*args: Any, **options: Any) -> Any:
            value = original(*args, **options)
            begin = time.perf_counter()
            self._after_loss(original, args, options, value)
            self.own_seconds += time.perf_counter() - begin
            return value

        setattr(nn.functional, name, listening)
        self._stack.callback(setattr, nn.functional, name, original)

    def _after_loss(self, function: Any, args: Any, options: Any, value: Any) -> None:
        log = self.log
        if self._last is None or len(args) < 2 or not isinstance(value, Tensor) or value.numel() != 1:
            return
        (inputs, outputs), (given, targets) = self._last, args[:2]
        if not isinstance(outputs, Tensor) or not isinstance(given, Tensor) or not isinstance(targets, Tensor):
            return
        if not given.requires_grad:
            log.held.append((log.steps, float(value.detach())))
            return
        log.losses.append((log.steps, float(value.detach())))
        if log.loss_fn is None:
            with torch.no_grad():
                found = find_transform(outputs.detach(), given.detach())
            log.transform, log.unknown_transform = found or "nothing", found is None
            rest = args[2:]
            log.loss_fn = lambda out, y: function(out, y, *rest, **options)
        log.add_pair(inputs, targets)


def _stale(gradient: Tensor, arrived: Tensor) -> float:
    """Return the share of a gradient that is not along what backward passes brought: clipping only shortens it."""
    size = float(gradient.norm())
    if size == 0 or not math.isfinite(size) or not bool(arrived.isfinite().all()):
        return 0.0
    along = float((gradient * arrived).sum()) / max(float((arrived * arrived).sum()), 1e-30)
    return float((gradient - along * arrived).norm()) / size
