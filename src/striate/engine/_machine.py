"""What the plan must know of the processor."""

from __future__ import annotations

from dataclasses import dataclass

from striate.engine.extension import extension, isa

__all__ = ["Machine", "machine", "peak_gflops"]


@dataclass(frozen=True)
class Machine:
    """One instruction set of this processor."""

    isa: str
    width: int
    """Float32 lanes of a vector: the images of a block."""
    accumulators: int
    """Vectors of sums that fit into the registers beside what is multiplied."""


def machine() -> Machine:
    """Return the instruction set in use, see `striate.engine.extension.isa`."""
    name = isa()
    width, accumulators = extension().width(name)
    return Machine(name, width, accumulators)


def peak_gflops(threads: int, *, seconds: float = 0.3) -> float:
    """Measure what the processor can do at most: a loop of multiply-adds that touches nothing but registers.

    Args:
        threads: How many threads run it.
        seconds: For how long; the best stretch counts.

    Returns:
        Floating-point operations (two a multiply-add) a nanosecond.
    """
    best: float = extension().peak_gflops(isa(), threads, seconds)
    return best
