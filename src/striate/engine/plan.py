"""The plan of an engine segment: what runs in which order, where its numbers live, and what it costs. Print it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from striate.engine import _program
from striate.engine._builder import Builder, Value
from striate.engine._forward import Forward
from striate.engine._instructions import Encoded, Scope
from striate.engine._lanes import Lanes
from striate.engine._machine import Machine
from striate.engine._memory import Memory
from striate.engine._plan_text import plan_text
from striate.engine.extension import extension
from striate.engine.lowering import lower
from striate.engine.lowering.movement import extent_of
from striate.graph.graph import Graph, Node, Parameter

__all__ = ["Plan", "Tape", "new_seed"]


class Tape:
    """The memory that one forward pass leaves for its backward pass; given back when nobody holds it any more."""

    def __init__(self, plan: Plan, workspace: Any, seed: int) -> None:
        self._plan, self.workspace, self.seed = plan, workspace, seed

    def __del__(self) -> None:
        self._plan.give_back(self.workspace)


@dataclass(eq=False)
class Plan:
    """Part of a graph as a program of the engine.

    Args:
        graph: The captured graph.
        nodes: The part, in the order of execution.
        inputs: Nodes that the part reads and does not compute.
        outputs: Nodes whose values are wanted.
        machine: The processor.
        trains: Whether there is a backward pass.
        input_gradients: For each input whether its gradient is wanted.
        independent: Whether the bits must not depend on the number of threads.
    """

    graph: Graph
    nodes: Sequence[Node]
    inputs: Sequence[Node]
    outputs: Sequence[Node]
    machine: Machine
    trains: bool
    input_gradients: Sequence[bool]
    independent: bool = False

    updates: ClassVar[bool] = False
    """Whether the program changes the weights."""

    def __post_init__(self) -> None:
        builder = self.builder = Builder(self.machine, self.trains, self.updates)
        values = {}
        for index, node in enumerate(self.inputs):
            builder.label = node.name
            shape = tuple(node.output_shape[1:])
            lanes = builder.lanes(extent_of(shape))
            lanes.source = builder.external(f"input{index}")
            values[node.index] = Value(lanes, shape, self.trains and self.input_gradients[index])
            self._load(f"input{index}", lanes)
        self.values = lower(builder, self.graph, self.nodes, values, self.outputs)
        self.output_shapes = [tuple(node.output_shape[1:]) for node in self.outputs]
        self.finish()

    def finish(self) -> None:
        """Emit what comes after the forward pass, and make the program."""
        builder = self.builder
        results = self._store_outputs()
        self.gradient_outputs = [self.trains and value.needs_gradient for value in results]
        if self.trains:
            builder.start_backward()
            for index, value in enumerate(results):
                if value.needs_gradient:
                    builder.label = "output"
                    lanes, accumulate = builder.add_to_gradient(value.lanes)
                    self._load(f"gradient{index}", lanes, accumulate=accumulate)
            builder.run_backward()
            self.input_gradient_exists = [self._store_input_gradient(index) for index in range(len(self.inputs))]
        builder.drop_unread_loads()
        packing = _program.packing_stages(builder.packing)
        self.stages = [*packing, *_program.stages_of(builder.forward)]
        self.packing_stages = len(packing)
        self.forward_stages = len(self.stages)
        self.stages += _program.stages_of([*builder.backward_packing, *builder.backward])
        self._assemble()

    def _store_outputs(self) -> list[Value]:
        results = [self.values[node.index] for node in self.outputs]
        for index, value in enumerate(results):
            self.builder.label = "output"
            self._store(value.lanes, f"output{index}")
        return results

    def _assemble(self, *, scalars: int = 0) -> None:
        builder = self.builder
        self.kinds = _program.kinds_of(self.stages)
        self.program = _program.assemble(
            self.machine,
            self.stages,
            [*builder.externals.values()],
            most_chunk_blocks=self._most_chunk_blocks(),
            scalars=scalars,
            kinds=self.kinds,
            trains=self.trains,
        )
        self._workspaces: list[Any] = []

    def _most_chunk_blocks(self) -> int:
        """Blocks of a chunk: dense layers read their weights once for all of them."""
        has_dense = any(
            i.name in ("taps", "tile_sums") and i.scope is Scope.CHUNK
            for stage in self.stages
            for i in stage.instructions
        )
        return 4 if has_dense else 2

    def _store_input_gradient(self, index: int) -> bool:
        lanes = self.builder.gradient(self.values[self.inputs[index].index].lanes)
        wanted = bool(self.input_gradients[index]) and lanes is not None
        if wanted and lanes is not None:
            self.builder.label = self.inputs[index].name
            self._store(lanes, f"input_gradient{index}")
        return wanted

    def _load(self, external: str, lanes: Lanes, *, accumulate: bool = False) -> None:
        b, width = self.builder, self.machine.width
        b.emit(
            "load",
            (b.external(external), lanes),
            lambda: Encoded([*lanes.extent, *lanes.placement(width), accumulate]),
        )

    def _store(self, lanes: Lanes, external: str) -> None:
        b, width = self.builder, self.machine.width
        b.emit("store", (lanes, b.external(external)), lambda: Encoded([*lanes.extent, *lanes.placement(width), False]))

    # Running -------------------------------------------------------------------------------------------------------

    @cached_property
    def forward(self) -> Forward:
        """The program of a plan without a backward pass, ready to run."""
        return Forward(
            self.program,
            externals=self._addresses,
            memory=self.memory,
            parameters=self.parameters,
            output_shapes=self.output_shapes,
            packing=self.packing_stages,
            independent=self.independent,
            least_macs=0,
            macs=sum(instruction.macs for instruction in self.builder.forward),
        )

    @property
    def parameters(self) -> list[Parameter]:
        """Parameters and buffers that the program reads, or writes: running statistics."""
        return self.builder.parameters

    @property
    def trained(self) -> list[Parameter]:
        """Parameters that get a gradient."""
        return self.builder.trained

    @cached_property
    def _addresses(self) -> list[tuple[str, int]]:
        return [*self.builder.externals]

    @cached_property
    def memory(self) -> Memory:
        """What the program needs of PyTorch's memory."""
        return Memory(self.program, self.builder.externals.values())

    def take_workspace(self, batch: int) -> Any:
        """Return memory for a batch, laid out."""
        try:
            workspace = self._workspaces.pop()
        except IndexError:
            workspace = extension().Workspace()
        workspace.prepare(self.program, batch, torch.get_num_threads(), self.independent)
        return workspace

    def give_back(self, workspace: Any) -> None:
        """Take memory back for a later pass."""
        if len(self._workspaces) < 2:
            self._workspaces.append(workspace)

    def run_forward(
        self, inputs: Sequence[Tensor], parameters: Sequence[Tensor], *, seed: int = 0
    ) -> tuple[list[Tensor], Tape]:
        """Run the forward pass.

        Args:
            inputs: Contiguous float32 tensors, the batch first.
            parameters: Those of `parameters`, contiguous.
            seed: Of dropout.

        Returns:
            The outputs, and the tape that a backward pass needs.
        """
        batch = inputs[0].shape[0]
        tape = Tape(self, self.take_workspace(batch), seed)
        outputs = [torch.empty((batch, *shape)) for shape in self.output_shapes]
        memory = {"input": inputs, "output": outputs}
        addresses = self._externals(parameters, (), memory, batch=batch)
        tape.workspace.run(self.program, 0, self.forward_stages, addresses, [], seed)
        return outputs, tape

    def run_backward(
        self, tape: Tape, output_gradients: Sequence[Tensor], parameters: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> tuple[list[Tensor | None], list[Tensor]]:
        """Run the backward pass; return the gradients of the inputs and of `trained`."""
        input_gradients = [
            torch.empty_like(x) if wanted else None
            for x, wanted in zip(inputs, self.input_gradient_exists, strict=True)
        ]
        gradients = [torch.empty(p.tensor.shape) for p in self.trained]
        memory = {"gradient_of_output": output_gradients, "input_gradient": input_gradients, "input": inputs}
        addresses = self._externals(parameters, gradients, memory, batch=inputs[0].shape[0])
        tape.workspace.run(self.program, self.forward_stages, len(self.stages), addresses, [], tape.seed)
        return input_gradients, gradients

    def _externals(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], memory: dict[str, Any], *, batch: int
    ) -> list[int]:
        """Return the addresses of PyTorch's memory in the order of the program; 0 for what this run does not touch."""
        tensors: list[Tensor | None] = []
        for kind, key in self._addresses:
            if kind == "parameter":
                tensors.append(parameters[key])
            elif kind == "gradient":
                tensors.append(gradients[key] if gradients else None)
            else:
                tensors.append(_tensor(kind, memory))
        return self.memory.addresses(tensors, batch=batch)

    @property
    def block_images(self) -> int:
        """Images of a block."""
        return self.machine.width

    def __str__(self) -> str:
        return plan_text(self)


KINDS = ("input_gradient", "input", "output", "gradient")


def _tensor(external: str, memory: dict[str, Any]) -> Tensor | None:
    kind = next(k for k in KINDS if external.startswith(k))
    tensors = memory.get("gradient_of_output" if kind == "gradient" else kind)
    return tensors[int(external.removeprefix(kind))] if tensors else None


def new_seed() -> int:
    """Draw what the masks of dropout depend on, as `torch.manual_seed` decides."""
    return int(torch.empty((), dtype=torch.int64).random_())
