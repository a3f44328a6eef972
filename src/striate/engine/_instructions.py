"""Instructions of the engine, as Python makes them before their places are known, and as the native part takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from striate.engine._lanes import Operand

__all__ = ["Encoded", "Instruction", "Scope"]


class Scope(IntEnum):
    """How an instruction runs."""

    BLOCK = 0
    """For one block of images after the other."""
    CHUNK = 1
    """For all blocks of a chunk at once."""
    WHOLE = 2
    """Once for the whole batch."""


@dataclass(frozen=True)
class Encoded:
    """Numbers of an instruction in the order in which its kernel reads them."""

    ints: Sequence[int] = ()
    floats: Sequence[float] = ()
    tables: Sequence[Sequence[int]] = ()


@dataclass(eq=False)
class Instruction:
    """One call of a kernel for each block, chunk or batch."""

    name: str
    scope: Scope
    operands: Sequence[Operand | None]
    """In the order of the kernel."""
    encode: Callable[[], Encoded]
    """Called when all borders are settled."""
    writes: Sequence[int] = (-1,)
    """Which of the operands are written; negative: counted from the end."""
    label: str = ""
    """The node of the graph it is for."""
    macs: int = 0
    """Multiply-adds for each image."""
    scratch: int = 0
    """Bytes of scratch memory of each thread."""
    clears: bool = field(default=False)
    """Whether it must run before anything adds to what it writes."""

    @property
    def written(self) -> list[Operand]:
        """What it writes."""
        return [operand for index in self.writes if (operand := self.operands[index]) is not None]

    @property
    def read(self) -> list[Operand]:
        """What it reads, and what it may add to."""
        return [operand for operand in self.operands if operand is not None]
