"""A program without gradients as it is run: parameters are packed once, and again when they have changed."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from striate.engine._memory import Memory
from striate.engine.extension import extension
from striate.graph.graph import Parameter

__all__ = ["Forward"]

VERSION = attrgetter("_version")
ADDRESS = Tensor.data_ptr
MOST_KEPT = 2
"""Runs at the same time, in several threads of Python, whose memory is kept."""


class _Kept:
    """Memory of a run that goes on to the next, and the parameters that were packed into it."""

    def __init__(self, externals: int) -> None:
        self.workspace = extension().Workspace()
        self.addresses = [0] * externals
        self.state: Any = None
        self.copies: list[Tensor] = []
        """Of parameters that do not lie in one piece."""


class Forward:
    """Runs a program.

    Args:
        program: The native program.
        externals: Kind and number of PyTorch's memory, in the order of the addresses.
        memory: What the program needs of it.
        parameters: Whose numbers the program reads, or writes: running statistics.
        output_shapes: Without the batch.
        packing: How many stages, from the first, depend on parameters alone.
        independent: Whether the bits must not depend on the number of threads.
        macs: Multiply-adds of an image.
        least_macs: Multiply-adds of a batch below which one thread runs it.
    """

    def __init__(
        self,
        program: Any,
        *,
        externals: Sequence[tuple[str, int]],
        memory: Memory,
        parameters: Sequence[Parameter],
        output_shapes: Sequence[tuple[int, ...]],
        packing: int,
        independent: bool,
        macs: int,
        least_macs: int,
    ) -> None:
        self._program, self._packing, self._independent, self._memory = program, packing, independent, memory
        self._externals, self._shapes, self.macs = list(externals), list(output_shapes), macs
        self._least_batch = -(-least_macs // max(1, macs))
        self._tensors = [p.tensor for p in parameters]
        self._inputs = self._positions("input")
        self._outputs = self._positions("output")
        self.numbers = sum(tensor.numel() for tensor in self._tensors)
        """Of all parameters."""
        self._counts = [self._tensors[key].numel() if kind == "parameter" else 0 for kind, key in self._externals]
        self._pool: list[_Kept] = []

    def _positions(self, kind: str) -> list[int]:
        numbers = {
            int(name.removeprefix(kind)): n for n, (name, _) in enumerate(self._externals) if name.startswith(kind)
        }
        return [numbers[index] for index in sorted(numbers)]

    def __call__(self, inputs: Sequence[Tensor], *, seed: int = 0) -> list[Tensor]:
        """Run the forward pass; return the outputs.

        Args:
            inputs: Contiguous float32 tensors, the batch first.
            seed: Of dropout.
        """
        kept, is_changed = self._take()
        batch = inputs[0].shape[0]
        outputs = [torch.empty((batch, *shape), dtype=torch.float32) for shape in self._shapes]
        addresses = kept.addresses
        for position, tensor in zip(self._inputs, inputs, strict=True):
            addresses[position] = tensor.data_ptr()
        for position, tensor in zip(self._outputs, outputs, strict=True):
            addresses[position] = tensor.data_ptr()
        self._run(kept, batch, is_changed, seed)
        return outputs

    def ready(self, batch: int, guard: Any) -> Any:
        """Return a native object that computes the one output from the one input of so many images.

        Its `run` takes a contiguous float32 tensor and returns None where anything has changed; `renew` notes what the
        parameters are now, after a call of this class has found them fit.

        Args:
            batch: How many images.
            guard: Of the network, see `striate.engine._guard`.
        """
        (into,), (out,) = self._inputs, self._outputs
        parameters = {key: position for position, (kind, key) in enumerate(self._externals) if kind == "parameter"}
        return extension().Ready(
            guard=guard,
            program=self._program,
            tensors=[self._tensors[key] for key in parameters],
            places=[*parameters.values()],
            counts=self._counts,
            input=into,
            output=out,
            empty=torch.empty_like,
            like=torch.empty((batch, *self._shapes[0]), dtype=torch.float32),
            threads=torch.get_num_threads if batch >= self._least_batch else None,
            batch=batch,
            packing=self._packing,
            independent=self._independent,
        )

    @property
    def is_plain(self) -> bool:
        """Whether each parameter lies in one piece and counts its changes."""
        return all(tensor.is_contiguous() and not tensor.is_inference() for tensor in self._tensors)

    def _take(self) -> tuple[_Kept, bool]:
        """Return memory for a run, and whether parameters have changed since they were packed there."""
        tensors = self._tensors
        try:
            state = ([*map(VERSION, tensors)], [*map(ADDRESS, tensors)])
        except RuntimeError:
            state = None  # tensors of inference mode do not count their changes
        kept = self._pool.pop() if self._pool else _Kept(len(self._externals))
        if state is not None and kept.state == state:
            return kept, False
        self._bind(kept)
        kept.state = state
        return kept, True

    def _run(self, kept: _Kept, batch: int, is_changed: bool, seed: int) -> None:
        threads = torch.get_num_threads() if batch >= self._least_batch else 1
        kept.workspace.infer(
            self._program,
            batch,
            threads,
            self._independent,
            self._packing,
            is_changed,
            kept.addresses,
            self._counts,
            seed,
        )
        if len(self._pool) < MOST_KEPT:
            self._pool.append(kept)

    def _bind(self, kept: _Kept) -> None:
        """Note where the parameters are."""
        whole = [tensor.contiguous() for tensor in self._tensors]
        kept.copies = [copy for copy, tensor in zip(whole, self._tensors, strict=True) if copy is not tensor]
        for position, (kind, key) in enumerate(self._externals):
            if kind == "parameter":
                kept.addresses[position] = self._memory.address(position, whole[key])
