"""A unit found at the images themselves, to be looked at in images that are made from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from striate.graph import Graph, Node, run_nodes
from striate.see.attribution import Attribution
from striate.see.unit import Located, Unit, locate, unit_node

__all__ = ["Seen"]

AT_ONCE = 64
"""Images a pass, of those that are made from one."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A unit with its number for each image."""

    graph: Graph
    inputs: tuple[Tensor, ...]
    node: Node
    unit: Located
    scores: Tensor

    @classmethod
    def of(cls, graph: Graph, inputs: tuple[Tensor, ...], unit: Unit) -> Seen:
        """Find a unit; where its position is not given, at the strongest place of each image.

        Args:
            graph: Captured on these inputs, with ``keep_values=True``.
            inputs: Of the network.
            unit: What is looked at.
        """
        node = unit_node(graph, unit)
        value = graph.value(node).detach()
        found = locate(graph, unit, {node.index: value})
        return cls(graph, inputs, node, found, found.score(value))

    def gradients(self, x: Tensor, unit: Located, *others: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients, of the shape of x, and the unit's numbers, (N,), at images x.

        Args:
            x: Images.
            unit: What is looked at in each.
            *others: The other inputs of the network.
        """
        x = x.detach().clone().requires_grad_()
        with torch.enable_grad():
            value = run_nodes(self.graph, x, *others, nodes=[self.node])[self.node.index]
            score = unit.score(value)
            (found,) = torch.autograd.grad(score.sum(), x, allow_unused=True)
        return (torch.zeros_like(x) if found is None else found), score.detach()

    def gradients_of_one(self, made: Tensor, which: int) -> tuple[Tensor, Tensor]:
        """Return the same for images that were made from the one at a place in the batch, in parts."""
        parts = [self.gradients(part, unit, *others) for part, unit, others in self._parts(made, which)]
        return torch.cat([g for g, _ in parts]), torch.cat([s for _, s in parts])

    def values_of_one(self, made: Tensor, which: int, *nodes: Node) -> tuple[Tensor, ...]:
        """Return the values of nodes, the unit's if none is named, for images made from one, without gradients."""
        wanted = nodes or (self.node,)
        found = list[dict[int, Tensor]]()
        with torch.no_grad():
            for part, _, others in self._parts(made, which):
                found.append(run_nodes(self.graph, part, *others, nodes=wanted))
        return tuple(torch.cat([values[node.index] for values in found]) for node in wanted)

    def values_of(self, x: Tensor) -> Tensor:
        """Return the values of the unit's node at images x, without gradients."""
        with torch.no_grad():
            return run_nodes(self.graph, x, *self.inputs[1:], nodes=[self.node])[self.node.index]

    def attribution(self, method: str, values: Tensor, *, notes: tuple[str, ...] = ()) -> Attribution:
        """Return the maps of a method."""
        return Attribution(
            method=method,
            values=values.float().cpu().numpy(),
            units=self.unit.names(),
            scores=self.scores.float().cpu().numpy(),
            inputs=self.inputs[0].float().cpu().numpy(),
            notes=notes,
        )

    def _parts(self, made: Tensor, which: int) -> Iterator[tuple[Tensor, Located, list[Tensor]]]:
        one = Located(self.node, self.unit.index[which : which + 1])
        for part in made.split(AT_ONCE):
            others = [o[which : which + 1].expand(len(part), *o.shape[1:]) for o in self.inputs[1:]]
            yield part, one.repeated(len(part)), others
