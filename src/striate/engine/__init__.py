"""The engine: networks on the processor at several times PyTorch's speed, one image in each lane of a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate._lazy import lazy_names

if TYPE_CHECKING:
    from striate.engine._machine import has_bf16 as has_bf16
    from striate.engine._machine import peak_gflops as peak_gflops
    from striate.engine.accelerated import Accelerated as Accelerated
    from striate.engine.accelerated import accelerate as accelerate
    from striate.engine.extension import is_available as is_available
    from striate.engine.training_step import TrainingStep as TrainingStep

__all__ = ["Accelerated", "TrainingStep", "accelerate", "has_bf16", "is_available", "peak_gflops"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Accelerated": "accelerated",
        "TrainingStep": "training_step",
        "accelerate": "accelerated",
        "has_bf16": "_machine",
        "is_available": "extension",
        "peak_gflops": "_machine",
    },
)
