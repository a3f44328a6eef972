"""The builder: collects the instructions of a forward and a backward pass, and knows who has which gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from striate.engine._instructions import Encoded, Instruction, Scope
from striate.engine._lanes import Extent, External, Lanes, Operand, Partial, Shared, Slot
from striate.engine._machine import Machine
from striate.graph.graph import Parameter

__all__ = ["Builder", "Value"]


@dataclass(eq=False)
class Value:
    """What a node of the graph computes: the lanes that hold it, and the shape that PyTorch sees, without the batch.

    Flattening changes the shape and not the lanes.
    """

    lanes: Lanes
    shape: tuple[int, ...]
    needs_gradient: bool


@dataclass(frozen=True, eq=False)
class _TileSlot:
    """Sums of a weight's gradient in tiles, with the row of each tap."""

    parameter: Parameter
    slot: Slot
    rows: Callable[[], Sequence[int]]
    inputs: int

    def encode(self, *, accumulate: bool) -> Encoded:
        outputs, *rest = self.parameter.tensor.shape
        return Encoded([outputs, math.prod(rest), self.inputs, accumulate], tables=[self.rows()])


@dataclass(eq=False)
class Builder:
    """Instructions in the making.

    Args:
        machine: The processor.
        trains: Whether a backward pass follows.
        updates: Whether weights are updated too: gradients then stay in memory of the engine.
    """

    machine: Machine
    trains: bool
    updates: bool = False
    forward: list[Instruction] = field(default_factory=list)
    backward: list[Instruction] = field(default_factory=list)
    packing: list[Instruction] = field(default_factory=list)
    """Weights put in the order of the kernels, before the forward pass."""
    backward_packing: list[Instruction] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    """Parameters and buffers that instructions read, in the order of their addresses."""
    trained: list[Parameter] = field(default_factory=list)
    """Parameters that get a gradient, in the order of the gradients' addresses."""
    dropouts: int = 0

    def __post_init__(self) -> None:
        self._externals: dict[tuple[str, int], External] = {}
        self._slots: dict[int, Slot] = {}
        self._tile_slots: list[_TileSlot] = []
        self._gradients: dict[Lanes, Lanes] = {}
        self._written: set[int] = set()
        self._inside: dict[int, Shared] = {}
        self._steps_back: list[Callable[[], None]] = []
        self._names: dict[str, int] = {}
        self._in_backward = False
        self.label = ""

    # Memory --------------------------------------------------------------------------------------------------------

    def lanes(self, extent: Extent, *, lane_bytes: int = 4, name: str = "") -> Lanes:
        """Return a new tensor of lanes."""
        return Lanes(name or self.label, extent, lane_bytes=lane_bytes)

    def shared(self, floats: int, *, image_floats: int = 0) -> Shared:
        """Return memory that exists once, in floats."""
        return Shared(self.label, 4 * floats, 4 * image_floats)

    def partial(self, size: int) -> Partial:
        """Return memory of each chunk, in bytes."""
        return Partial(self.label, size)

    def external(self, kind: str, key: int = 0, *, name: str = "") -> External:
        """Return memory of PyTorch: the same for the same kind and key."""
        known = self._externals.get((kind, key))
        if known is None:
            known = self._externals[kind, key] = External(name or kind, len(self._externals))
        return known

    @property
    def externals(self) -> dict[tuple[str, int], External]:
        """All memory of PyTorch, by kind and key, in the order of the addresses that a run is given."""
        return self._externals

    def parameter(self, parameter: Parameter | None) -> External | None:
        """Return the memory of a parameter or buffer."""
        if parameter is None:
            return None
        key = next((i for i, p in enumerate(self.parameters) if p.tensor is parameter.tensor), None)
        if key is None:
            key = len(self.parameters)
            self.parameters.append(parameter)
        return self.external("parameter", key, name=parameter.name)

    # Instructions --------------------------------------------------------------------------------------------------

    def emit(
        self,
        name: str,
        operands: Sequence[Operand | None],
        encode: Callable[[], Encoded],
        *,
        scope: Scope = Scope.BLOCK,
        writes: Sequence[int] = (-1,),
        macs: int = 0,
        packs: bool = False,
        scratch: int = 0,
    ) -> None:
        """Append an instruction to the pass that is being made."""
        instruction = Instruction(name, scope, operands, encode, writes, self.label, macs, scratch)
        if packs:
            for operand in instruction.written:
                if isinstance(operand, Shared) and not self.trains:
                    operand.is_kept = True
            (self.backward_packing if self._in_backward else self.packing).append(instruction)
        else:
            (self.backward if self._in_backward else self.forward).append(instruction)

    def pointwise_ints(self, extent: Extent, *tensors: Lanes | None) -> list[int]:
        """Return an extent and the placements of tensors; of none, zeros."""
        width = self.machine.width
        placed = [(0, 0, 0) if tensor is None else tensor.placement(width) for tensor in tensors]
        return [*extent, *(number for placement in placed for number in placement)]

    def fill(self, tensor: Lanes, value: float = 0.0) -> None:
        """Set all of a tensor, borders included."""
        width = self.machine.width
        self.emit("fill", (tensor,), lambda: Encoded([tensor.places * width], [value]))

    def move(
        self, x: Lanes, y: Lanes, places: Callable[[], tuple[Any, Any]], *, accumulate: bool, serial: bool = False
    ) -> None:
        """Move values: `places` returns the places in x (-1: zero) and in y, once the borders are settled."""
        width = self.machine.width

        def encode() -> Encoded:
            source, target = (np.asarray(p, dtype=np.int64).reshape(-1) for p in places())
            source = np.where(source < 0, -1, source * width)
            return Encoded([accumulate, serial], [1.0], [source.tolist(), (target * width).tolist()])

        self.emit("move", (x, y), encode)

    def drop_unread_loads(self) -> None:
        """Leave out the loading of images that every layer reads as they are."""
        read = [id(operand) for i in (*self.forward, *self.backward) for operand in i.read]
        self.forward = [i for i in self.forward if i.name != "load" or read.count(id(i.operands[1])) > 1]

    # Gradients -----------------------------------------------------------------------------------------------------

    def on_backward(self, step: Callable[[], None]) -> None:
        """Note what is to be done in the backward pass; the last noted comes first."""
        if self.trains:
            label = self.label

            def labelled() -> None:
                self.label = label
                step()

            self._steps_back.append(labelled)

    def run_backward(self) -> None:
        """Make the backward pass, from the gradients that were put to the outputs."""
        self._in_backward = True
        for step in reversed(self._steps_back):
            step()
        self._finish_slots()

    def start_backward(self) -> None:
        """Let what is emitted from here on belong to the backward pass."""
        self._in_backward = True

    def gradient(self, lanes: Lanes) -> Lanes | None:
        """Return the gradient of a tensor, complete when its producer's turn comes; None: nothing reached it."""
        return self._gradients.get(lanes)

    def add_to_gradient(self, lanes: Lanes) -> tuple[Lanes, bool]:
        """Return where a gradient of a tensor goes, and whether it is to be added to what is there."""
        known = self._gradients.get(lanes)
        if known is not None:
            return known, True
        made = self._gradients[lanes] = Lanes(f"d {lanes.name}", lanes.extent)
        return made, False

    def hand_gradient(self, source: Lanes, target: Lanes) -> None:
        """Let the gradient of a tensor, which nothing else will read, become that of another one, and be added to."""
        self._gradients[target] = self._gradients[source]

    def gradient_of(self, parameter: Parameter) -> tuple[Operand, bool]:
        """Return where the gradient of a parameter goes directly, and whether it is to be added."""
        index = self._trained_index(parameter)
        accumulate = index in self._written
        self._written.add(index)
        return self._gradient_memory(index), accumulate

    def _gradient_memory(self, index: int) -> Operand:
        parameter = self.trained[index]
        if not self.updates:
            return self.external("gradient", index, name=f"d {parameter.name}")
        if index not in self._inside:
            self._inside[index] = Shared(f"d {parameter.name}", 4 * parameter.tensor.numel())
        return self._inside[index]

    def gradients(self) -> list[tuple[Parameter, Operand]]:
        """Return every parameter that got a gradient, and where it is."""
        return [(parameter, self._gradient_memory(index)) for index, parameter in enumerate(self.trained)]

    def slot_of(self, parameter: Parameter) -> Slot:
        """Return where slots sum the gradient of a parameter."""
        index = self._trained_index(parameter)
        if index not in self._slots:
            self._slots[index] = Slot(f"d {parameter.name}", 4 * parameter.tensor.numel())
        return self._slots[index]

    def tile_slot(self, parameter: Parameter, rows: Callable[[], Sequence[int]], *, inputs: int) -> Slot:
        """Return where slots sum the gradient of a parameter in tiles of 16 x 16, see `sum_tile_slots`.

        Args:
            parameter: Weights whose first axis are the outputs.
            rows: Returns the row of each tap of a filter.
            inputs: Tiles of rows.
        """
        outputs = parameter.tensor.shape[0]
        slot = Slot(f"d {parameter.name}", 4 * inputs * -(-outputs // 16) * 256)
        self._tile_slots.append(_TileSlot(parameter, slot, rows, inputs))
        return slot

    def clear(self, slot: Slot) -> None:
        """Let a slot's sums begin at 0."""
        encode = lambda: Encoded([slot.size // 4])  # noqa: E731
        self.backward_packing.append(Instruction("clear_slots", Scope.WHOLE, (slot,), encode, (-1,), slot.name))

    def _trained_index(self, parameter: Parameter) -> int:
        index = next((i for i, p in enumerate(self.trained) if p.tensor is parameter.tensor), None)
        if index is None:
            index = len(self.trained)
            self.trained.append(parameter)
        return index

    def _finish_slots(self) -> None:
        """Clear the slots before the backward pass, add them up after it."""
        for tiles in self._tile_slots:
            self.label = tiles.slot.name
            self.clear(tiles.slot)
            target, accumulate = self.gradient_of(tiles.parameter)
            operands = (tiles.slot, target)
            self.emit("sum_tile_slots", operands, partial(tiles.encode, accumulate=accumulate), scope=Scope.WHOLE)
        for index, slot in self._slots.items():
            count = slot.size // 4
            self.label = slot.name
            self.clear(slot)
            accumulate = index in self._written  # a dense layer has the same weights
            target = self._gradient_memory(index)
            self.emit("sum_slots", (slot, target), partial(Encoded, [count, accumulate]), scope=Scope.WHOLE)
