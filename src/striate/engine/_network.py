"""A network for inputs of one shape in one mode: its graph, cut into parts, and the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from striate.engine._forward import Forward
from striate.engine._guard import guard_of
from striate.engine._machine import Machine, machine
from striate.engine._partition import (
    CAPTURED_BATCH,
    OTHER_BATCH,
    difference,
    example_of,
    is_constant,
    partition,
    reason_against_graph,
    reason_against_network,
)
from striate.engine._parts import EnginePart, ForwardPart, TorchPart
from striate.engine.inference import Inference
from striate.engine.plan import Plan
from striate.engine.single import SinglePlan
from striate.errors import UsageError
from striate.graph import capture
from striate.graph.graph import Graph

__all__ = ["NetworkProgram"]


class NetworkProgram:
    """A network for inputs of one shape in one mode: parts of the engine and parts of PyTorch, in order.

    Where the network must run in PyTorch as a whole, there are no parts, and `refusal` says why.
    """

    def __init__(
        self, model: nn.Module, inputs: Sequence[Tensor], *, trains: bool, precision: str, independent: bool
    ) -> None:
        self.model, self.trains = model, trains
        self._shapes = [x.shape[1:] for x in inputs]
        self._wanted = [trains and x.requires_grad for x in inputs]
        self._tensors = [*model.parameters(), *model.buffers()]
        self._learn = [p.requires_grad for p in self._tensors]
        self._forms = [(t.dtype, t.device, t.shape) for t in self._tensors]
        self._batches: dict[int, bool] = {}
        self.steps: list[EnginePart | ForwardPart | TorchPart] = []
        self.graph: Graph | None = None
        self.refusal = reason_against_network(model)
        if self.refusal is None:
            self._capture(inputs)
        self.guard = guard_of(model, self.graph)
        if self.refusal is None and self.graph is not None:
            wanted = [x.requires_grad for x in inputs]
            self._make_parts(self.graph, wanted, machine(precision), independent=independent)

    def _capture(self, inputs: Sequence[Tensor]) -> None:
        returned: list[Any] = []
        handle = self.model.register_forward_hook(lambda module, given, output: returned.append(output))
        try:
            with torch.set_grad_enabled(self.trains):
                self.graph = capture(self.model, tuple(example_of(x) for x in inputs))
        except Exception as error:  # noqa: BLE001 - whatever the network raises, PyTorch will say it again
            self.refusal = f"it does not run on {CAPTURED_BATCH} images ({' '.join(str(error).split())[:100]})"
            return
        finally:
            handle.remove()
        leaves, self._structure = tree_flatten(returned[-1])
        # Tensors without the graph behind them: it would keep the parameters' gradients as they were captured.
        self._leaves = [leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.refusal = reason_against_graph(self.graph) or self._difference(inputs)

    def _difference(self, inputs: Sequence[Tensor]) -> str | None:
        """Say what the network does otherwise with another number of images; None: it does the same."""
        try:
            with torch.set_grad_enabled(self.trains):
                other = capture(self.model, tuple(example_of(x, images=OTHER_BATCH) for x in inputs))
        except Exception as error:  # noqa: BLE001 - as above; it took what is no axis of images for one
            return f"it does not run on {OTHER_BATCH} images ({' '.join(str(error).split())[:100]})"
        return None if self.graph is None else difference(self.graph, other)

    def _make_parts(self, graph: Graph, wanted: Sequence[bool], machine: Machine, *, independent: bool) -> None:
        self.parts, self.reasons = partition(graph, batch=CAPTURED_BATCH)
        needs = _needing_gradients(graph, wanted) if self.trains else set()
        for part in self.parts:
            if part.in_engine and not any(node.index in needs for node in part.nodes):
                inference = Inference(graph, part, machine, independent=independent)
                self.steps.append(ForwardPart(self.model, part, inference))
            elif part.in_engine:
                inputs = [node.index in needs for node in part.inputs]
                plan = Plan(graph, part.nodes, part.inputs, part.outputs, machine, True, inputs, independent)
                self.steps.append(EnginePart(self.model, part, plan))
            else:
                self.steps.append(TorchPart(part))
        self._constants = {n.index: n.parameters["value"].tensor for n in graph.nodes if is_constant(n)}

    @property
    def plans(self) -> list[Plan | SinglePlan]:
        """The plans that were made."""
        return [plan for step in self.steps for plan in step.plans]

    def plans_for(self, batch: int) -> list[Plan | SinglePlan]:
        """Return the plans that run a batch of so many images, made now if they are not there yet."""
        return [
            step.plan if isinstance(step, EnginePart) else step.inference.plan_for(batch)
            for step in self.steps
            if not isinstance(step, TorchPart)
        ]

    def forward_for(self, batch: int) -> Forward | None:
        """Return the program that alone makes of one input one output; None: there is more to do."""
        step = self.steps[0] if len(self.steps) == 1 else None
        if not isinstance(step, ForwardPart) or step.changes or self.graph is None or not self._takes(batch):
            return None
        is_alone = (
            step.part.inputs == self.graph.inputs
            and step.part.outputs == self.graph.outputs
            and len(self.graph.inputs) == len(self.graph.outputs) == 1
            and self._structure.is_leaf()
        )
        return step.inference.forward_for(batch) if is_alone else None

    @property
    def report(self) -> str:
        """One line a node that runs in PyTorch."""
        if self.refusal is not None or self.graph is None:
            return f"all of the network runs in PyTorch: {self.refusal}"
        names = {node.index: node for node in self.graph.nodes}
        inside = sum(len(part.nodes) for part in self.parts if part.in_engine)
        lines = [f"{inside} of {sum(len(part.nodes) for part in self.parts)} operations run in the engine"]
        lines += [f"in PyTorch: {names[i].name} ({names[i].call}): {why}" for i, why in self.reasons.items()]
        others = [str(batch) for batch, takes in self._batches.items() if not takes]
        if others:
            lines.append(f"in PyTorch: batches of {', '.join(others)}: the network decides by the number of images")
        return "\n".join(lines)

    def serves(self, inputs: Sequence[Tensor], *, grads: bool) -> bool:
        """Whether the program was made for such inputs, and the network is still what it was then."""
        if len(inputs) != len(self._shapes) or (self.trains and not grads) or not self.holds():
            return False
        for x, shape, wanted in zip(inputs, self._shapes, self._wanted, strict=True):
            if x.shape[1:] != shape or (grads and x.requires_grad) != wanted:
                return False
        if not grads:
            return True
        learn = [p.requires_grad for p in self._tensors]
        return learn == self._learn if self.trains else not any(learn)

    def holds(self) -> bool:
        """Whether the network is still what it was: its modules, settings and tensors, and what kind those are."""
        return bool(self.guard.holds()) and [(t.dtype, t.device, t.shape) for t in self._tensors] == self._forms

    def _takes(self, batch: int) -> bool:
        """Whether the network does with so many images what it did when it was captured."""
        if batch not in self._batches:
            self._batches[batch] = self._finds_the_same(batch)
        return self._batches[batch]

    def _finds_the_same(self, batch: int) -> bool:
        """Ask again what Python asked of sizes."""
        graph = self.graph
        if graph is None or (batch == 1 and any(step.needs_two for step in self.steps)):
            return False  # PyTorch says what is wrong with one value for each channel
        checks = [aside for aside in graph.asides if aside.is_check]
        if not checks:
            return True

        def shape_of(shape: tuple[int, ...]) -> tuple[int, ...]:
            return (batch, *shape[1:]) if shape[:1] == (CAPTURED_BATCH,) else shape

        sizes = {n.index: torch.empty(shape_of(n.output_shape), dtype=n.dtype, device="meta") for n in graph.nodes}
        try:
            for check in checks:
                check.run(sizes)
        except (UsageError, RuntimeError):
            return False
        return True

    def __call__(self, inputs: Sequence[Tensor]) -> Any:
        """Run all parts, or the network itself where it must be."""
        if self.refusal is not None or self.graph is None or not self._takes(len(inputs[0])):
            return self.model(*inputs)
        values = self._constants | {node.index: x for node, x in zip(self.graph.inputs, inputs, strict=True)}
        try:
            for step in self.steps:
                step(values)
        except UsageError:  # a call that picks images by number: PyTorch does it as the network is written
            self._batches[len(inputs[0])] = False
            return self.model(*inputs)
        outputs = iter([values[node.index] for node in self.graph.outputs])
        leaves = [next(outputs) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        return tree_unflatten(leaves, self._structure)


def _needing_gradients(graph: Graph, inputs: Sequence[bool]) -> set[int]:
    """Return the nodes whose values depend on something that wants a gradient."""
    needs = {node.index for node, wanted in zip(graph.inputs, inputs, strict=True) if wanted}
    for node in graph.nodes:
        learns = any(p.tensor.requires_grad for p in node.parameters.values() if p.kind == "parameter")
        if learns or any(source.index in needs for source in node.sources):
            needs.add(node.index)
    return needs
