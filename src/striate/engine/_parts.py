"""Parts of a network as they run: in the engine with or without gradients, or in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from striate.engine._partition import Part, batch_counters, has_single_values
from striate.engine.inference import Inference
from striate.engine.plan import Plan, new_seed
from striate.engine.single import SinglePlan
from striate.errors import UsageError
from striate.graph.graph import Node
from striate.ops.dropout import Dropout

__all__ = ["EnginePart", "ForwardPart", "TorchPart"]


class TorchPart:
    """Nodes that run in PyTorch, each call once for all its outputs."""

    needs_two = False
    plans = ()

    def __init__(self, part: Part) -> None:
        self.part = part
        for node in part.nodes:
            if node.replay is None:
                raise UsageError(
                    f"accelerate: `model` must be made of calls that can be run again, got {node.name} ({node.call}), "
                    "which PyTorch does not show. Accelerate its parts one by one."
                )

    def __call__(self, values: dict[int, Tensor]) -> None:
        done: dict[int, tuple[Tensor, ...]] = {}
        for node in self.part.nodes:
            replay = node.replay
            if replay is None:
                raise RuntimeError(f"accelerate: {node.name} cannot be run again")
            if replay.key not in done:
                done[replay.key] = replay.run(values)
            values[node.index] = done[replay.key][replay.output]


class ForwardPart:
    """Nodes that run in the engine and need no gradient."""

    def __init__(self, model: nn.Module, part: Part, inference: Inference) -> None:
        self.part, self.inference = part, inference
        self._counters = [*batch_counters(model, part.nodes)]
        self._drops = any(isinstance(node.op, Dropout) and node.op.training for node in part.nodes)
        self.changes = bool(self._counters) or self._drops
        self.needs_two = has_single_values(part.nodes)

    @property
    def plans(self) -> list[Plan | SinglePlan]:
        """The plans that were made."""
        return self.inference.plans

    def __call__(self, values: dict[int, Tensor]) -> None:
        """Run the forward pass."""
        inputs = [values[node.index].detach().contiguous().resolve_neg() for node in self.part.inputs]
        seed = new_seed() if self._drops else 0
        for counter in self._counters:
            counter.add_(1)
        with torch.no_grad():
            outputs = self.inference(inputs, seed=seed)
        for node, output in zip(self.part.outputs, outputs, strict=True):
            values[node.index] = output


class EnginePart:
    """Nodes that run in the engine, forward and backward."""

    def __init__(self, model: nn.Module, part: Part, plan: Plan) -> None:
        self.part, self.plan = part, plan
        self._counters = [*batch_counters(model, part.nodes)]
        self.needs_two = has_single_values(part.nodes)
        self._reached: dict[tuple[bool, ...], set[int]] = {}

    @property
    def plans(self) -> list[Plan | SinglePlan]:
        """The one plan."""
        return [self.plan]

    def __call__(self, values: dict[int, Tensor]) -> None:
        """Run the forward pass, and let autograd know of it."""
        plan = self.plan
        inputs = [values[node.index].contiguous().resolve_neg() for node in self.part.inputs]
        parameters = [p.tensor.contiguous() for p in plan.parameters]
        seed = new_seed() if plan.builder.dropouts else 0
        for counter in self._counters:
            counter.add_(1)
        apply: Any = _Function.apply
        outputs = apply(self, seed, len(inputs), *inputs, *parameters)
        for node, output in zip(self.part.outputs, outputs, strict=True):
            values[node.index] = output

    def reached(self, present: tuple[bool, ...]) -> set[int]:
        """Return what has a gradient where some outputs do: indices of nodes, and identities of parameters."""
        if present not in self._reached:
            own = {node.index: node for node in self.part.nodes}
            waiting: list[Node] = [n for n, there in zip(self.part.outputs, present, strict=True) if there]
            found: set[int] = set()
            while waiting:
                node = waiting.pop()
                if node.index in found:
                    continue
                found.add(node.index)
                if node.index in own:
                    found |= {id(p.tensor) for p in node.parameters.values()}
                    waiting += node.sources
            self._reached[present] = found
        return self._reached[present]


class _Function(torch.autograd.Function):
    """The engine's forward and backward pass as one function of autograd."""

    @staticmethod
    def forward(ctx: Any, part: EnginePart, seed: int, count: int, *tensors: Tensor) -> Any:
        """Run forward and keep what the backward pass needs."""
        plan, inputs, parameters = part.plan, tensors[:count], tensors[count:]
        outputs, ctx.tape = plan.run_forward(inputs, parameters, seed=seed)
        ctx.part, ctx.count = part, count
        # Only to notice weights that were changed before the backward pass, as PyTorch does.
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(
            *(y for y, wanted in zip(outputs, plan.gradient_outputs, strict=True) if not wanted)
        )
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor | None) -> Any:
        """Run backward; what no gradient reaches gets none."""
        if torch.is_grad_enabled():
            raise RuntimeError(
                "accelerate: `create_graph` must be False, got True. Use fast.model, the network in PyTorch, for "
                "gradients of gradients."
            )
        part: EnginePart = ctx.part
        plan, tensors = part.plan, ctx.saved_tensors
        inputs, parameters = tensors[: ctx.count], tensors[ctx.count :]
        batch = len(inputs[0])
        given = [
            torch.zeros((batch, *shape)) if g is None else g.contiguous().resolve_neg()
            for g, shape in zip(output_gradients, plan.output_shapes, strict=True)
        ]
        input_gradients, gradients = plan.run_backward(ctx.tape, given, parameters, inputs)
        reached = part.reached(tuple(g is not None for g in output_gradients))
        by_tensor = {id(p.tensor): g for p, g in zip(plan.trained, gradients, strict=True)}
        own = [by_tensor.get(id(p.tensor)) if id(p.tensor) in reached else None for p in plan.parameters]
        for index, node in enumerate(part.part.inputs):
            if node.index not in reached:
                input_gradients[index] = None
        return None, None, None, *input_gradients, *own
