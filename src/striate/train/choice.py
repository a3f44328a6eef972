"""The fastest configuration for a network, a batch and this machine, found by a short measurement and reported."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from striate.data.batches import Batch
from striate.errors import StriateError
from striate.train.engine import accelerated, fused_step, has_bf16, is_usable
from striate.train.loss import training_loss
from striate.train.machine import Configuration, thread_count
from striate.train.modes import modes_kept
from striate.train.optimizer import build_optimizer
from striate.train.recipe import Recipe

__all__ = ["choose_configuration", "choose_for_evaluation"]

# How long the values of one property are timed in turn, at most and as a share of the training that the choice is for,
# and at least how often each.
SECONDS_PER_CHOICE = 0.5
SHARE_PER_CHOICE = 0.01
FEWEST_STEPS = 3
# A training that the engine does in this time is not worth timing PyTorch for: that takes three seconds or more.
SHORT_TRAINING_SECONDS = 10.0
# A slow network is timed on fewer images: this long a step at most, but not fewer images than these.
LONGEST_STEP_SECONDS = 0.15
SMALLEST_BATCH = 8
# The engine takes images by the block of 16: it and PyTorch are timed on so many whole blocks as PyTorch takes about a
# second for, at least one. A block that is half empty costs the engine as much as a full one.
ENGINE_BLOCK, MOST_BLOCKS, LONGEST_ENGINE_STEP_SECONDS = 16, 4, 1.0
# A bf16 or channels_last candidate must win by this factor: noise must not choose the less exact one.
CLEAR_WIN = 1.05


def choose_configuration(
    model: nn.Module,
    batch: Batch,
    *,
    recipe: Recipe,
    start: Configuration,
    choices: Mapping[str, bool | None],
    engine: str = "auto",
    num_samples: int | None = None,
) -> tuple[Configuration, dict[str, float]]:
    """Time a few training steps in each sensible configuration and return the fastest with all figures.

    The model is copied; its weights, statistics and gradients stay as they are. A short training is timed for a short
    time, and one that the engine does in `SHORT_TRAINING_SECONDS` goes to the engine without timing PyTorch.

    Args:
        model: The network, on the device of `start`.
        batch: One real training batch.
        recipe: For the optimizer.
        start: Device and threads.
        choices: ``bf16``, ``channels_last`` and ``compile``: True or False as the user asked, None to measure.
        engine: ``auto`` times striate's engine too, ``striate`` takes it, ``torch`` leaves it out.
        num_samples: Of the training split, to know how long the training is; None: long.

    Returns:
        The configuration, and images per second of each one tried, by its description.
    """
    tries_engine = is_usable(engine, device=start.device, bf16=choices.get("bf16"))
    own = replace(start, engine="striate", bf16=bool(choices.get("bf16")))
    if engine == "striate":
        return own, {}
    num_images = math.inf if num_samples is None else recipe.epochs * num_samples
    # What is asked for by these names is PyTorch's.
    tries_engine = tries_engine and not (choices.get("channels_last") or choices.get("compile"))
    if tries_engine and num_samples is not None:
        speed = _engine_speed(model, batch, recipe=recipe, own=own)
        if num_images <= speed * SHORT_TRAINING_SECONDS:
            return own, {own.describe(): round(speed, 1)}
    asked: dict[str, Any] = {name: choices[name] for name in ("bf16", "channels_last") if choices.get(name) is not None}
    whole, batch = batch, _short_enough(model, batch, recipe=recipe, configuration=replace(start, **asked))
    timing: dict[str, Any] = {"recipe": recipe, "num_images": num_images, "whole": len(whole.targets)}
    best, speeds = start, dict[Configuration, float]()
    for name, values in _open_choices(start, choices, images=batch.inputs.ndim == 4):
        plain, *others = [replace(best, **{name: value}) for value in values]
        best = plain
        if others:
            speeds |= _speeds(model, batch, candidates=[plain, *others], **timing)
            clear_winners = [other for other in others if speeds[other] > CLEAR_WIN * speeds[plain]]
            best = max(clear_winners, key=speeds.__getitem__, default=plain)
    tried = _labelled(speeds, batch, whole=whole)
    if tries_engine:
        if speeds:
            blocks = int(LONGEST_ENGINE_STEP_SECONDS * speeds[best] / ENGINE_BLOCK)
            size = ENGINE_BLOCK * min(max(blocks, 1), MOST_BLOCKS)
            batch = _first(whole, max(size, len(batch.targets)))
        may_round = choices.get("bf16") is None
        if speeds := _with_engine(model, batch, best=best, own=own, may_round=may_round, timing=timing):
            tried |= _labelled(speeds, batch, whole=whole)
            best = max(speeds, key=speeds.__getitem__)
    return best, tried


def choose_for_evaluation(
    model: nn.Module, batch: Batch, *, start: Configuration, engine: str = "auto"
) -> Configuration:
    """Time the forward pass of one block of images in PyTorch and in the engine, and return the faster.

    Args:
        model: The network, on the device of `start`; left as it is.
        batch: Real images.
        start: Device and threads.
        engine: As of `choose_configuration`.
    """
    own = replace(start, engine="striate")
    if not is_usable(engine, device=start.device, bf16=None):
        return start
    if engine == "striate":
        return own
    inputs, seconds = batch.inputs[:ENGINE_BLOCK], dict[Configuration, float]()
    with modes_kept(model), thread_count(start.threads), torch.no_grad():
        model.eval()
        for candidate in (start, own):
            try:
                network = candidate.computing(model)
                network(inputs)  # warms up
                seconds[candidate] = min(_seconds(network, inputs) for _ in range(2))
            except StriateError:  # the engine cannot run it
                continue
    return min(seconds, key=seconds.__getitem__)


def _seconds(network: nn.Module, inputs: Tensor) -> float:
    begin = time.perf_counter()
    network(inputs)
    _synchronize(inputs)
    return time.perf_counter() - begin


def _labelled(speeds: Mapping[Configuration, float], batch: Batch, *, whole: Batch) -> dict[str, float]:
    cut = "" if len(batch.targets) == len(whole.targets) else f", in steps of {len(batch.targets)}"
    return {f"{configuration.describe()}{cut}": round(speed, 1) for configuration, speed in speeds.items()}


def _engine_speed(model: nn.Module, batch: Batch, *, recipe: Recipe, own: Configuration) -> float:
    """Return about how many images a second the engine takes; 0 where it cannot run the network, or is slow."""
    size, whole = min(SMALLEST_BATCH, len(batch.targets)), len(batch.targets)
    try:
        step = _Step(model, batch, recipe=recipe, configuration=own)
        step.run(size)  # warms up
        deadline = time.perf_counter() + SECONDS_PER_CHOICE
        # On a busy machine two threads that wait for each other take far longer now and then: the fastest step counts.
        while step.run(size) * whole > LONGEST_STEP_SECONDS * size:
            if time.perf_counter() > deadline:
                return 0.0
        return whole / min(step.run() for _ in range(3 * FEWEST_STEPS))
    except StriateError:
        return 0.0


def _with_engine(
    model: nn.Module,
    batch: Batch,
    *,
    best: Configuration,
    own: Configuration,
    may_round: bool,
    timing: Mapping[str, Any],
) -> dict[Configuration, float]:
    """Time the engine against PyTorch's best; nothing where the engine cannot run the network."""
    rounded = replace(own, bf16=True)
    candidates = [best, own, rounded] if may_round and has_bf16() and rounded != own else [best, own]
    try:
        speeds = _speeds(model, batch, candidates=candidates, **timing)
    except StriateError:
        return {}
    if rounded in speeds and rounded != own and speeds[rounded] <= CLEAR_WIN * speeds[own]:
        del speeds[rounded]
    return speeds


def _open_choices(
    start: Configuration, choices: Mapping[str, bool | None], *, images: bool
) -> list[tuple[str, tuple[Any, ...]]]:
    """List what is measured, one property after the other, the plain value first; a choice of the user stands alone."""
    on_cuda = torch.device(start.device).type == "cuda"
    automatic: dict[str, tuple[Any, ...]] = {
        "channels_last": (False, True) if images else (False,),
        "bf16": (False, True) if _has_bf16(on_cuda) else (False,),
        "compile": (False, True) if on_cuda else (False,),
        "fused_optimizer": (True, False),
        "threads": (start.threads, 1) if start.threads > 1 and not on_cuda else (start.threads,),
    }
    asked = {name: (value,) for name, value in choices.items() if value is not None}
    return [(name, asked.get(name, values)) for name, values in automatic.items()]


def _has_bf16(on_cuda: bool) -> bool:
    if on_cuda:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _short_enough(model: nn.Module, batch: Batch, *, recipe: Recipe, configuration: Configuration) -> Batch:
    """Cut a batch down to what one step takes `LONGEST_STEP_SECONDS` for: ratios hold for fewer images too."""
    size = SMALLEST_BATCH
    while size < len(batch.targets):
        step = _Step(model, _first(batch, size), recipe=recipe, configuration=configuration)
        if 2 * min(step.run() - step.update_seconds for _ in range(2)) > LONGEST_STEP_SECONDS:
            break
        size *= 2
    return _first(batch, size)


def _first(batch: Batch, size: int | None) -> Batch:
    return replace(batch, inputs=batch.inputs[:size], targets=batch.targets[:size])


def _speeds(
    model: nn.Module,
    batch: Batch,
    *,
    recipe: Recipe,
    candidates: list[Configuration],
    num_images: float,
    whole: int | None = None,
) -> dict[Configuration, float]:
    """Return images per second of each candidate, their steps taken in turn so that noise hits all alike.

    Args:
        model: The network.
        batch: What is timed.
        recipe: For the optimizer.
        candidates: Configurations.
        num_images: Of the training.
        whole: Images of a real step: the passes take longer in proportion, the update does not; None: those of `batch`.
    """
    ratio = 1.0 if whole is None else whole / len(batch.targets)

    def whole_seconds(step: _Step) -> float:
        passes = step.run() - step.update_seconds
        return passes * ratio + step.update_seconds

    steps = {candidate: _Step(model, batch, recipe=recipe, configuration=candidate) for candidate in candidates}
    for step in steps.values():
        step.run()  # warms up: memory, threads, compilation
    seconds: dict[Configuration, list[float]] = {candidate: [] for candidate in candidates}
    training_seconds = whole_seconds(steps[candidates[0]]) * num_images / (ratio * len(batch.targets))
    deadline = time.perf_counter() + min(SECONDS_PER_CHOICE, SHARE_PER_CHOICE * training_seconds)
    while len(seconds[candidates[0]]) < FEWEST_STEPS or time.perf_counter() < deadline:
        for candidate, step in steps.items():
            seconds[candidate].append(whole_seconds(step))
    images = ratio * len(batch.targets)
    return {candidate: images / statistics.median(times) for candidate, times in seconds.items()}


class _Step:
    """One training step in one configuration, on a copy of the model."""

    update_seconds = 0.0
    """Of the last step: what the optimizer took of it, whatever the number of images; 0 where it is not known."""

    def __init__(self, model: nn.Module, batch: Batch, *, recipe: Recipe, configuration: Configuration) -> None:
        self._configuration, self._batch = configuration, batch
        network: Any = copy.deepcopy(model).train()
        self._inputs = batch.inputs
        if self._inputs.ndim == 4:
            network = network.to(memory_format=configuration.memory_format)
            self._inputs = self._inputs.contiguous(memory_format=configuration.memory_format)
        self._optimizer = build_optimizer(network, recipe=recipe, fused=configuration.fused_optimizer)
        self._fused = None
        if configuration.engine == "striate":
            options: dict[str, Any] = {"recipe": recipe, "inputs": self._inputs, "bf16": configuration.bf16}
            self._fused = fused_step(network, self._optimizer, **options)
            network = accelerated(network, bf16=configuration.bf16)
        self._network = torch.compile(network) if configuration.compile else network

    def run(self, size: int | None = None) -> float:
        """Take the step, with the first `size` images or all, and return its seconds."""
        inputs, batch = self._inputs[:size], _first(self._batch, size)
        with thread_count(self._configuration.threads):
            begin = time.perf_counter()
            if self._fused is not None:
                self._fused(inputs, batch.targets)
                return time.perf_counter() - begin
            with self._configuration.autocast():
                outputs = self._network(inputs)
            training_loss(outputs, batch).backward()
            before_update = time.perf_counter()
            self._optimizer.step()
            self.update_seconds = time.perf_counter() - before_update
            self._optimizer.zero_grad(set_to_none=True)
            _synchronize(inputs)
            return time.perf_counter() - begin


def _synchronize(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
