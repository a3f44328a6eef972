"""What the plan must know of the processor."""

from __future__ import annotations

from dataclasses import dataclass

from striate.engine.extension import extension, isa
from striate.errors import UsageError, nearest

__all__ = ["PRECISIONS", "Machine", "has_bf16", "machine", "peak_gflops"]

PRECISIONS = ("float32", "bf16")
BF16_ISAS = ("avx512bf16", "amx")


@dataclass(frozen=True)
class Machine:
    """One instruction set of this processor."""

    isa: str
    width: int
    """Float32 lanes of a vector: the images of a block."""
    accumulators: int
    """Vectors of sums that fit into the registers beside what is multiplied."""
    precision: str = "float32"
    """Of the factors of layers: "float32" or "bf16". Sums, and everything between layers, are float32 in any case."""

    @property
    def parts(self) -> int:
        """Numbers of bfloat16 whose sum a factor is where layers run as products of tiles; 0: they do not.

        AMX multiplies them so fast that it pays in float32 too, which takes three of them and six products.
        """
        if self.precision == "bf16":
            return 1
        return 3 if self.isa == "amx" else 0


def machine(precision: str = "float32") -> Machine:
    """Return the instruction set in use, see `striate.engine.extension.isa`.

    Args:
        precision: "float32", or "bf16" where `has_bf16`.

    Raises:
        UsageError: there is no such precision, or not on this processor.
    """
    if precision not in PRECISIONS:
        raise UsageError(
            f'engine: `precision` must be "float32" or "bf16", got {precision!r}.{nearest(precision, PRECISIONS)}'
        )
    name = isa()
    if precision == "bf16" and not has_bf16():
        raise UsageError(
            f'engine: `precision` must be "float32" with the instruction set in use ("{name}"), got "bf16": that needs '
            "a processor with avx512_bf16. Leave it out, or let PyTorch compute in bfloat16 (torch.autocast)."
        )
    width, accumulators = extension().width(name)
    return Machine(name, width, accumulators, precision)


def has_bf16() -> bool:
    """Say whether the instruction set in use multiplies bfloat16."""
    return isa() in BF16_ISAS


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
