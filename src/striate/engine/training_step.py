"""`TrainingStep`: forward, loss, backward and update in one program of the engine, each block of images in one go."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from striate.engine import _program
from striate.engine._guard import guard_of
from striate.engine._instructions import Encoded, Scope
from striate.engine._machine import machine
from striate.engine._optimizers import AdamUpdates, SGDUpdates, updates_of
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
from striate.engine.plan import Plan
from striate.errors import UsageError
from striate.graph import Graph, capture

__all__ = ["TrainingStep"]

MOST_PLANS = 4
"""Of one size of images, for modes and sets of trained parameters that take turns."""


class StepPlan(Plan):
    """A plan with a loss at its end and an update after it."""

    updates: ClassVar[bool] = True
    optimizer: SGDUpdates | AdamUpdates
    smoothing: float

    def finish(self) -> None:
        """Emit loss, backward pass and updates."""
        builder, logits = self.builder, self._store_outputs()[0]
        classes, width = logits.lanes.extent[0], self.machine.width
        builder.label = "loss"
        gradient, _ = builder.add_to_gradient(logits.lanes)
        losses = builder.partial(8)

        def encode() -> Encoded:
            planes = [n * width for t in (logits.lanes, gradient) for n in (t.plane, t.first)]
            return Encoded([classes, *planes], [self.smoothing])

        operands = (logits.lanes, builder.external("targets"), gradient, losses)
        builder.emit("cross_entropy", operands, encode, scope=Scope.CHUNK, writes=(2, 3))
        builder.run_backward()
        builder.emit("sum_losses", (losses, builder.external("loss")), Encoded, scope=Scope.WHOLE)
        self._emit_updates()
        self.stages = _program.stages_of(
            [*builder.packing, *builder.backward_packing, *builder.forward, *builder.backward]
        )
        self.forward_stages = len(self.stages)
        self._assemble(scalars=self.optimizer.width * len(self.optimizer.optimizer.param_groups))

    def _emit_updates(self) -> None:
        builder, optimizer = self.builder, self.optimizer
        self.updated: list[Tensor] = []
        for parameter, gradient in builder.gradients():
            weight = parameter.tensor
            group = optimizer.group(weight)
            if group is None:
                continue
            builder.label = parameter.name
            self.updated.append(weight)
            first = len(self.state_names)
            own = [
                builder.external(f"state{first + n}")
                for n in range(len(optimizer.states) if optimizer.keeps(weight) else 0)
            ]
            self.state_names += [e.name for e in own]
            states = [*own, *[None] * (len(optimizer.states) - len(own))]
            ints = [weight.numel(), group * optimizer.width]
            builder.emit(
                optimizer.kernel,
                (builder.parameter(parameter), gradient, *states),
                partial(Encoded, ints),
                scope=Scope.WHOLE,
                writes=(0, *range(2, 2 + len(states))),
            )

    def __init__(self, *args: Any, optimizer: SGDUpdates | AdamUpdates, smoothing: float) -> None:
        self.optimizer, self.smoothing = optimizer, smoothing
        self.state_names: list[str] = []
        super().__init__(*args)

    def run(self, inputs: Sequence[Tensor], targets: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
        """Take one step; return the loss and the logits."""
        batch = len(targets)
        numbers = self.optimizer.numbers()
        states = self.optimizer.state(self.updated)
        logits, loss = torch.empty((batch, *self.output_shapes[0])), torch.empty(())
        memory: dict[str, Any] = {"targets": targets, "loss": loss, "output0": logits}
        memory |= {f"input{index}": x for index, x in enumerate(inputs)}
        memory |= dict(zip(self.state_names, states, strict=True))
        tensors = [
            self.parameters[key].tensor if kind == "parameter" else memory[kind] for kind, key in self._addresses
        ]
        addresses = self.memory.addresses(tensors, batch=batch)
        workspace = self.take_workspace(batch)
        workspace.run(self.program, 0, len(self.stages), addresses, numbers, seed)
        self.give_back(workspace)
        # The weights have changed behind PyTorch's back: whatever kept them for a backward pass must notice.
        versions = [tensor._version + 1 for tensor in self.updated]
        torch._C._autograd._unsafe_set_version_counter(tuple(self.updated), tuple(versions))
        self.optimizer.finish()
        return loss, logits


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
        ready = self._ready(inputs)
        plan = ready.plan
        if len(inputs) == 1 and ready.needs_two:
            raise UsageError(
                "TrainingStep: `inputs` must hold more than one image, since batch normalisation sees one value a "
                f"channel for each, got {len(inputs)}. Leave out the last small batch (drop_last)."
            )
        _check_targets(targets, inputs, classes=plan.output_shapes[0][0])
        seed = int(torch.empty((), dtype=torch.int64).random_()) if plan.builder.dropouts else 0
        for counter in ready.counters:
            counter.add_(1)
        return plan.run([inputs.contiguous()], targets.contiguous(), seed=seed)

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
        self._guard, self._parameters = guard_of(model, plan.graph), [*model.parameters()]
        self._made_for = self._choices()

    def is_current(self) -> bool:
        """Whether the network is what it was, in the same mode, and the same of its parameters are trained."""
        return self._guard.holds() and self._choices() == self._made_for

    def _choices(self) -> list[bool]:
        momenta = [bool(group.get("momentum")) for group in self.plan.optimizer.optimizer.param_groups]
        return [*(p.requires_grad for p in self._parameters), *momenta]


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
