"""`TrainingStep`: forward, loss, backward and update in one program of the engine, each block of images in one go."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from striate.engine._guard import guard_of
from striate.engine._machine import machine
from striate.engine._optimizers import updates_of
from striate.engine._partition import (
    CAPTURED_BATCH,
    Part,
    batch_counters,
    example_of,
    has_single_values,
    is_fit,
    partition,
    reason_against_graph,
    reason_against_network,
)
from striate.engine._step_plan import StepPlan
from striate.engine.plan import new_seed
from striate.errors import UsageError
from striate.graph import Graph, capture

__all__ = ["TrainingStep"]

MOST_PLANS = 4
"""Of one size of images, for modes and sets of trained parameters that take turns."""


class TrainingStep:
    """One step of training: softmax cross-entropy (mean over the batch) and an optimizer of PyTorch, in the engine.

    The weights are the network's own, the state is the optimizer's own, learning rates are read anew at each step: so
    checkpoints and schedulers work as ever. ``.grad`` is not filled; for gradients, use `striate.accelerate`.

    Args:
        model: A network that the engine knows as a whole, with one output: logits (N, num_classes).
        optimizer: `torch.optim.SGD`, `Adam` or `AdamW` over its parameters.
        smoothing: Label smoothing: this share of each target is spread evenly over all classes.
        precision: "float32" or "bf16", see `striate.accelerate`; the weights that are updated remain float32.
        independent: Let no bit depend on the number of threads.

    Raises:
        MissingExtraError: the engine's native part is not installed.
        UsageError: at the first call, an operation that the engine does not know, or targets that fit no class.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
        >>> step = TrainingStep(net, optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
        >>> loss, logits = step(torch.randn(8, 1, 4, 4), torch.arange(8) % 3)
        >>> logits.shape
        torch.Size([8, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: torch.optim.Optimizer,
        smoothing: float = 0.0,
        precision: str = "float32",
        independent: bool = False,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"TrainingStep: `model` must be an nn.Module, got {type(model).__name__}. Give the network."
            )
        if not 0 <= smoothing < 1:
            raise UsageError(f"TrainingStep: `smoothing` must be from 0 up to, not including, 1, got {smoothing}.")
        self.model, self.optimizer, self.smoothing = model, optimizer, float(smoothing)
        self._machine, self._independent = machine(precision), independent  # says now what is missing
        updates_of(optimizer)
        self._plans: dict[torch.Size, list[_Ready]] = {}
        self._last: tuple[_Ready, torch.Size] | None = None
        self._again: _Again | None = None

    def __call__(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step.

        Args:
            inputs: Images (N, C, H, W) or vectors (N, D), float32.
            targets: Classes (N,), int64.

        Returns:
            The loss before the update (one number), and the logits (N, num_classes).

        Raises:
            UsageError: see the class.
        """
        # What is asked here and no more is what a step of a small network can afford; the last one asked the rest.
        again = self._again
        if again is not None and again.fits(inputs, targets) and (done := again.run(inputs, targets)) is not None:
            return done
        return self._step(inputs, targets)

    def _step(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self._again is not None:
            self._again.give_back()
            self._again = None
        ready = self._ready(inputs)
        plan = ready.plan
        if len(inputs) == 1 and ready.needs_two:
            raise UsageError(
                "TrainingStep: `inputs` must hold more than one image, since batch normalisation sees one value a "
                f"channel for each, got {len(inputs)}. Leave out the last small batch (drop_last)."
            )
        _check_targets(targets, inputs, classes=plan.output_shapes[0][0])
        seed = new_seed() if plan.builder.dropouts else 0
        for counter in ready.counters:
            counter.add_(1)
        done = plan.run([inputs.contiguous()], targets.contiguous(), seed=seed)
        now = ready, inputs.shape
        if self._last == now:
            self._again = _Again(ready, inputs.shape)
        self._last = now
        return done

    def plan(self, inputs: Tensor) -> StepPlan:
        """Return the plan for inputs like these."""
        return self._ready(inputs).plan

    def _ready(self, inputs: Tensor) -> _Ready:
        if not is_fit([inputs]):
            raise UsageError(
                "TrainingStep: `inputs` must be a float32 tensor on the CPU with at least one image, got "
                f"{str(inputs.dtype).removeprefix('torch.')} of shape {tuple(inputs.shape)} on {inputs.device}. "
                "Convert it with .float().cpu()."
            )
        known = self._plans.setdefault(inputs.shape[1:], [])
        ready = next((one for one in known if one.is_current()), None)
        if ready is None:
            ready = _Ready(self.model, self._make_plan(inputs))
            known.insert(0, ready)
            del known[MOST_PLANS:]
        return ready

    def _make_plan(self, inputs: Tensor) -> StepPlan:
        graph, part = _whole_part(self.model, inputs)
        return StepPlan(
            graph,
            part.nodes,
            part.inputs,
            graph.outputs,
            self._machine,
            True,
            [False] * len(part.inputs),
            self._independent,
            optimizer=updates_of(self.optimizer),
            smoothing=self.smoothing,
        )


class _Ready:
    """A plan, and what it was made for."""

    def __init__(self, model: nn.Module, plan: StepPlan) -> None:
        self.plan = plan
        self.counters = [*batch_counters(model, plan.nodes)]
        self.needs_two = has_single_values(plan.nodes)
        self.guard, self.parameters = guard_of(model, plan.graph), [*model.parameters()]
        self._made_for = self._choices()

    def is_current(self) -> bool:
        """Whether the network is what it was, in the same mode, and the same of its parameters are trained."""
        return bool(self.guard.holds()) and self._choices() == self._made_for

    def _choices(self) -> list[bool]:
        return [*(p.requires_grad for p in self.parameters), *self.plan.optimizer.momenta]


class _Again:
    """The step that was taken last, and is taken again as long as nothing has changed."""

    def __init__(self, ready: _Ready, shape: torch.Size) -> None:
        self._plan, self._shape, self._counters = ready.plan, shape, ready.counters
        self._targets, self._momenta = shape[:1], ready.plan.optimizer.momenta
        self._workspace = self._plan.take_workspace(shape[0])
        trained = [(p, p.requires_grad) for p in ready.parameters]
        self._native = self._plan.ready(ready.guard, trained, self._workspace, batch=shape[0])

    def fits(self, inputs: Any, targets: Any) -> bool:
        """Whether inputs and targets are like those of the last step."""
        return (
            type(inputs) is Tensor
            and type(targets) is Tensor
            and inputs.shape == self._shape
            and targets.shape == self._targets
            and inputs.dtype is torch.float32
            and targets.dtype is torch.int64
            and inputs.is_cpu
            and targets.is_cpu
            and inputs.is_contiguous()
            and targets.is_contiguous()
            and not inputs.is_neg()
            and self._plan.optimizer.momenta == self._momenta
        )

    def run(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor] | None:
        """Take the step; return None, and do nothing, where the network or the optimizer has changed."""
        done: tuple[Tensor, Tensor] | None = self._native.run(inputs, targets)
        if done is not None and self._counters:
            torch._foreach_add_(self._counters, 1)
        return done

    def give_back(self) -> None:
        """Let others use the memory."""
        self._plan.give_back(self._workspace)


def _whole_part(model: nn.Module, inputs: Tensor) -> tuple[Graph, Part]:
    """Return the graph of a network, and the one part that it is in the engine.

    Raises:
        UsageError: it is not.
    """
    refusal = reason_against_network(model)
    if refusal is None:
        with torch.enable_grad():
            graph = capture(model, example_of(inputs))
        refusal = reason_against_graph(graph)
    if refusal is not None:
        raise UsageError(
            f"TrainingStep: `model` must be a network that the engine can follow, got one that it cannot: {refusal}. "
            "Use striate.accelerate(model), which runs it in PyTorch."
        )
    parts, reasons = partition(graph, batch=CAPTURED_BATCH)
    output = graph.outputs[0] if len(graph.outputs) == 1 else None
    if len(parts) != 1 or not parts[0].in_engine:
        index, why = next(iter(reasons.items()), (0, "nothing to compute"))
        raise UsageError(
            "TrainingStep: `model` must be a network of operations that the engine knows, got "
            f"{graph.nodes[index].name} ({graph.nodes[index].call}): {why}. "
            "Use striate.accelerate(model), which runs that part in PyTorch."
        )
    if output is None or len(output.output_shape) != 2:
        shapes = ", ".join(str(tuple(node.output_shape)) for node in graph.outputs)
        raise UsageError(
            f"TrainingStep: `model` must return logits (N, num_classes), got outputs of shape {shapes}. "
            "Use striate.accelerate(model) and your own loss."
        )
    return graph, parts[0]


def _check_targets(targets: Tensor, inputs: Tensor, *, classes: int) -> None:
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.shape != inputs.shape[:1]:
        got = (
            f"{targets.dtype} of shape {tuple(targets.shape)}"
            if isinstance(targets, Tensor)
            else type(targets).__name__
        )
        raise UsageError(
            f"TrainingStep: `targets` must be int64 classes, one for each of the {len(inputs)} images, got {got}. "
            "Convert them with .long()."
        )
    low, high = (int(v) for v in torch.aminmax(targets))
    if low < 0 or high >= classes:
        raise UsageError(
            f"TrainingStep: `targets` must be from 0 to {classes - 1}, the classes of the network, "
            f"got {low} to {high}. "
            "Give the network as many outputs as there are classes."
        )
