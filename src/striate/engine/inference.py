"""Forward passes without gradients: batches with an image in each lane; few images, or large ones, one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

from torch import Tensor

from striate.engine._forward import Forward
from striate.engine._machine import Machine
from striate.engine._partition import Part
from striate.engine.plan import Plan
from striate.engine.single import SinglePlan, reason_against
from striate.graph.graph import Graph

__all__ = ["Inference"]

FEW = 0.75
"""Parts of a block up to which images are faster one by one than a block with lanes that are empty."""
LARGE_BYTES = 2**22
"""Of a map of one block: where there is a larger one, blocks do not stay in the cache, and images one by one do."""


class Inference:
    """Part of a graph without gradients, with a plan for many images and one for few, each made when first needed.

    Args:
        graph: The captured graph.
        part: What of it runs in the engine.
        machine: The processor.
        independent: Whether the bits must not depend on the number of threads.
    """

    def __init__(self, graph: Graph, part: Part, machine: Machine, *, independent: bool = False) -> None:
        self._graph, self._part, self._machine, self._independent = graph, part, machine, independent
        self._has_single = all(reason_against(node) is None for node in part.nodes)
        largest = max(math.prod(node.output_shape[1:]) for node in part.nodes)
        self._most = math.inf if 4 * machine.width * largest > LARGE_BYTES else FEW * machine.width

    @cached_property
    def lanes(self) -> Plan:
        """The plan for batches."""
        part = self._part
        wanted = [False] * len(part.inputs)
        return Plan(self._graph, part.nodes, part.inputs, part.outputs, self._machine, False, wanted, self._independent)

    @cached_property
    def single(self) -> SinglePlan:
        """The plan for images one by one."""
        part = self._part
        return SinglePlan(self._graph, part.nodes, part.inputs, part.outputs, self._machine)

    @property
    def plans(self) -> list[Plan | SinglePlan]:
        """The plans that were made."""
        return [plan for name, plan in vars(self).items() if name in ("lanes", "single")]

    def plan_for(self, batch: int) -> Plan | SinglePlan:
        """Return the plan that runs a batch of so many images."""
        if self._has_single and batch <= self._most:
            return self.single
        return self.lanes

    def forward_for(self, batch: int) -> Forward:
        """Return the program for a batch of so many images."""
        return self.plan_for(batch).forward

    def __call__(self, inputs: Sequence[Tensor], *, seed: int = 0) -> list[Tensor]:
        """Return the outputs for contiguous inputs."""
        return self.forward_for(len(inputs[0]))(inputs, seed=seed)
