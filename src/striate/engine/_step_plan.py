"""The plan of a training step: forward pass, loss, backward pass and updates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from striate.engine import _program
from striate.engine._instructions import Encoded, Scope
from striate.engine._optimizers import AdamUpdates, SGDUpdates
from striate.engine.extension import extension
from striate.engine.plan import Plan, new_seed

__all__ = ["StepPlan"]


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
        builder.drop_unread_loads()
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
        numbers = self.optimizer.numbers(self.updated)
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
        torch.autograd.graph.increment_version(self.updated)
        self.optimizer.finish()
        return loss, logits

    def ready(self, guard: Any, trained: Sequence[tuple[Tensor, bool]], workspace: Any, *, batch: int) -> Any:
        """Return a native object that takes a step like the last one, and None in place of one where anything changed.

        Args:
            guard: Of the network, see `striate.engine._guard`.
            trained: Parameters of the network, and whether each gets a gradient.
            workspace: Memory for the step.
            batch: How many images.
        """
        states = dict(zip(self.state_names, self.optimizer.state(self.updated), strict=True))
        kinds = [kind for kind, _ in self._addresses]
        own = [kinds.index(kind) for kind in ("input0", "targets", "output0", "loss")]
        kept = [n for n in range(len(self._addresses)) if n not in own]
        names = [self._addresses[n] for n in kept]
        return extension().ReadyStep(
            guards=[guard, self.optimizer.guard(self.updated)],
            program=self.program,
            workspace=workspace,
            tensors=[self.parameters[key].tensor if kind == "parameter" else states[kind] for kind, key in names],
            places=kept,
            trained=[*trained],
            updated=tuple(self.updated),
            increment=torch.autograd.graph.increment_version,
            numbers=self.optimizer.numbers,
            seed=new_seed if self.builder.dropouts else None,
            empty=torch.empty_like,
            logits=torch.empty((batch, *self.output_shapes[0])),
            loss=torch.empty(()),
            threads=torch.get_num_threads,
            own_places=own,
            batch=batch,
            classes=self.output_shapes[0][0],
            independent=self.independent,
        )
