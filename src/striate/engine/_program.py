"""From instructions to a native program: stages, the kind of every buffer, numbers in place of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from striate.engine._instructions import Instruction, Scope
from striate.engine._lanes import External, Lanes, Operand, Partial, Shared, Slot
from striate.engine._machine import Machine
from striate.engine.extension import extension

__all__ = ["Encoding", "Stage", "assemble", "encode", "kinds_of", "packing_stages", "stages_of"]

BATCH, CHUNK, LOCAL, SHARED, SLOT, PARTIAL, EXTERNAL, KEPT = range(8)
"""The kinds of buffers of native/program.hpp."""


@dataclass(frozen=True, eq=False)
class Stage:
    """Instructions between two points at which all threads meet."""

    is_whole: bool
    instructions: tuple[Instruction, ...]


def stages_of(instructions: Sequence[Instruction]) -> list[Stage]:
    """Divide instructions where threads must wait for each other.

    Steps over the whole batch share a stage as long as none needs what another of it writes.
    """
    stages: list[Stage] = []
    current: list[Instruction] = []
    for instruction in instructions:
        is_whole = instruction.scope is Scope.WHOLE
        if current and (is_whole != (current[0].scope is Scope.WHOLE) or (is_whole and _depends(instruction, current))):
            stages.append(Stage(current[0].scope is Scope.WHOLE, tuple(current)))
            current = []
        current.append(instruction)
    if current:
        stages.append(Stage(current[0].scope is Scope.WHOLE, tuple(current)))
    return stages


def packing_stages(packing: Sequence[Instruction]) -> list[Stage]:
    """Divide the packing of weights into stages: what all of it may read comes first."""
    return stages_of(sorted(packing, key=lambda instruction: instruction.name != "batch_coefficients"))


def _depends(instruction: Instruction, earlier: Sequence[Instruction]) -> bool:
    written = {id(operand) for one in earlier for operand in one.written}
    read = {id(operand) for one in earlier for operand in one.read}
    return any(id(operand) in written for operand in instruction.read) or any(
        id(operand) in read for operand in instruction.written
    )


def kinds_of(stages: Sequence[Stage]) -> dict[Lanes, int]:
    """Return where each tensor of lanes must live: for the batch, a chunk, or one block at a time."""
    uses: dict[Lanes, set[tuple[int, int]]] = {}
    whole: set[Lanes] = set()
    for number, stage in enumerate(stages):
        group = 0
        for index, instruction in enumerate(stage.instructions):
            previous = stage.instructions[index - 1] if index else instruction
            if instruction.scope is Scope.CHUNK or previous.scope is Scope.CHUNK:
                group += 1
            for operand in instruction.read:
                if isinstance(operand, Lanes):
                    uses.setdefault(operand, set()).add((number, group))
                    if stage.is_whole:
                        whole.add(operand)
    kinds = {}
    for lanes, places in uses.items():
        if lanes in whole or len({number for number, _ in places}) > 1:
            kinds[lanes] = BATCH
        else:
            kinds[lanes] = CHUNK if len(places) > 1 or _is_chunked(lanes, stages) else LOCAL
    return kinds


def _is_chunked(lanes: Lanes, stages: Sequence[Stage]) -> bool:
    """Whether an instruction for a whole chunk reads or writes the tensor."""
    return any(
        lanes in instruction.read
        for stage in stages
        for instruction in stage.instructions
        if instruction.scope is Scope.CHUNK
    )


def assemble(
    machine: Machine,
    stages: Sequence[Stage],
    externals: Sequence[External],
    *,
    most_chunk_blocks: int,
    scalars: int = 0,
    kinds: Mapping[Lanes, int] | None = None,
    block_images: int = 0,
    trains: bool = True,
) -> Any:
    """Return the native program; without a backward pass, tensors that are not needed at the same time share memory."""
    return extension().Program(
        machine.isa,
        *encode(machine, stages, kinds=kinds_of(stages) if kinds is None else kinds, trains=trains),
        most_chunk_blocks,
        len(externals),
        scalars,
        block_images,
        max((one.scratch for stage in stages for one in stage.instructions), default=0),
    )


class Encoding(NamedTuple):
    """Buffers, instructions and stages in numbers, as the native part takes them."""

    buffers: list[tuple[int, int, int]]
    """Kind, bytes, index or bytes an image."""
    instructions: list[tuple[str, int, list[int], list[float], list[int], list[list[int]]]]
    """Name, scope, ints, floats, operands, tables."""
    stages: list[tuple[bool, int, int]]
    """Whether it is for the whole batch, the first instruction, the end."""


def encode(machine: Machine, stages: Sequence[Stage], *, kinds: Mapping[Lanes, int], trains: bool) -> Encoding:
    """Return the numbers of a program, see `assemble`."""
    place_of = {} if trains else _in_turn(stages, kinds)
    numbers: dict[int, int] = {}
    encoding = Encoding([], [], [])
    kept: list[Operand] = []

    def number(operand: Operand | None) -> int:
        if operand is None:
            return -1
        operand = place_of.get(operand, operand) if isinstance(operand, Lanes) else operand
        if id(operand) not in numbers:
            numbers[id(operand)] = len(encoding.buffers)
            kept.append(operand)
            encoding.buffers.append(_buffer(operand, machine, kinds))
        return numbers[id(operand)]

    for stage in stages:
        begin = len(encoding.instructions)
        for one in stage.instructions:
            encoded = one.encode()
            encoding.instructions.append(
                (
                    one.name,
                    int(one.scope),
                    [int(value) for value in encoded.ints],
                    [float(value) for value in encoded.floats],
                    [number(operand) for operand in one.operands],
                    [list(table) for table in encoded.tables],
                )
            )
        encoding.stages.append((stage.is_whole, begin, len(encoding.instructions)))
    return encoding


def _in_turn(stages: Sequence[Stage], kinds: Mapping[Lanes, int]) -> dict[Lanes, Lanes]:
    """Return for tensors whose memory nobody needs any more when they are first written in whose place they are put.

    Only tensors that lie alike share memory: what is 0 in their borders stays so.
    """
    uses: dict[Lanes, list[int]] = {}
    instructions = [instruction for stage in stages for instruction in stage.instructions]
    for number, instruction in enumerate(instructions):
        for operand in instruction.read:
            if isinstance(operand, Lanes) and kinds[operand] in (CHUNK, LOCAL):
                uses.setdefault(operand, []).append(number)
    free: dict[tuple[Any, ...], list[tuple[int, Lanes]]] = {}
    places: dict[Lanes, Lanes] = {}
    for lanes, numbers in sorted(uses.items(), key=lambda use: use[1][0]):
        known = free.setdefault((kinds[lanes], *lanes.geometry), [])
        unused = next((entry for entry in known if entry[0] < numbers[0]), None)
        if unused is not None:
            known.remove(unused)
        places[lanes] = lanes if unused is None else unused[1]
        known.append((numbers[-1], places[lanes]))
    return places


def _buffer(operand: Operand, machine: Machine, kinds: Mapping[Lanes, int]) -> tuple[int, int, int]:
    match operand:
        case Lanes():
            return kinds[operand], operand.bytes(machine.width), 0
        case Shared():
            return KEPT if operand.is_kept else SHARED, operand.size, operand.image_size
        case Slot():
            return SLOT, operand.size, 0
        case Partial():
            return PARTIAL, operand.size, 0
        case External():
            return EXTERNAL, 0, operand.index
    raise TypeError(type(operand).__name__)
