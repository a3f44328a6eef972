"""The plan of an engine segment for single images: channels in the lanes, one image after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from striate.engine import _program
from striate.engine._builder import Builder, Value
from striate.engine._forward import Forward
from striate.engine._machine import Machine
from striate.engine._memory import Memory
from striate.engine._plan_text import plan_text
from striate.engine.images import lower, reason_against
from striate.engine.images._layout import Image, load, store
from striate.engine.images._sums import IMAGES_TOGETHER
from striate.engine.images._table import is_read_as_numbers
from striate.graph.graph import Graph, Node

__all__ = ["SinglePlan", "reason_against"]

SMALL = 1_000_000
"""Multiply-adds below which threads cost more than they bring."""


@dataclass(eq=False)
class SinglePlan:
    """Part of a graph as a program for one image at a time, without gradients.

    Args:
        graph: The captured graph.
        nodes: The part, in the order of execution; `reason_against` each is None.
        inputs: Nodes that the part reads and does not compute.
        outputs: Nodes whose values are wanted.
        machine: The processor.
    """

    graph: Graph
    nodes: Sequence[Node]
    inputs: Sequence[Node]
    outputs: Sequence[Node]
    machine: Machine

    def __post_init__(self) -> None:
        builder = self.builder = Builder(self.machine, trains=False)
        values = {}
        for index, node in enumerate(self.inputs):
            builder.label = node.name
            shape = tuple(node.output_shape[1:])
            is_dense = is_read_as_numbers(self.graph, node)
            values[node.index] = Value(load(builder, f"input{index}", shape, is_dense=is_dense), shape, False)
        known = lower(builder, self.graph, self.nodes, values, self.outputs)
        for index, node in enumerate(self.outputs):
            builder.label = "output"
            result = known[node.index].lanes
            if not isinstance(result, Image) or result.features != math.prod(node.output_shape[1:]):
                raise RuntimeError(f"single: `{node.name}` has another shape than in PyTorch")
            store(builder, result, f"output{index}")
        packing = _program.packing_stages(builder.packing)
        self.packing_stages = len(packing)
        self.stages = [*packing, *_program.stages_of(builder.forward)]
        self.forward_stages = len(self.stages)

    @cached_property
    def forward(self) -> Forward:
        """The program, ready to run."""
        program = _program.assemble(
            self.machine,
            self.stages,
            [*self.builder.externals.values()],
            most_chunk_blocks=IMAGES_TOGETHER,
            block_images=1,
            trains=False,
        )
        return Forward(
            program,
            externals=[*self.builder.externals],
            memory=Memory(program, self.builder.externals.values()),
            parameters=self.builder.parameters,
            output_shapes=[tuple(node.output_shape[1:]) for node in self.outputs],
            packing=self.packing_stages,
            independent=False,  # the bits of an image depend on nothing but the image
            least_macs=SMALL,
            macs=sum(instruction.macs for instruction in self.builder.forward),
        )

    @property
    def block_images(self) -> int:
        """Images of a block."""
        return 1

    def __str__(self) -> str:
        return plan_text(self)
