"""Memory of PyTorch that a program reads and writes by its address: of the right type, and enough of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from striate.engine._lanes import External
from striate.errors import UsageError

__all__ = ["Memory"]


class Memory:
    """What a program needs of each memory of PyTorch.

    Shapes are the concern of whoever makes the tensors; here is only made sure that no address leads outside of one, as
    after somebody gave a parameter's ``data`` another size or type.

    Args:
        program: The native program.
        externals: In the order of the addresses that a run is given.
    """

    def __init__(self, program: Any, externals: Iterable[External]) -> None:
        self._needs = [
            (e.name, torch.int64 if e.name == "targets" else torch.float32, *program.external_bytes(e.index))
            for e in externals
        ]

    def address(self, position: int, tensor: Tensor, *, batch: int = 1) -> int:
        """Return the address of a tensor.

        Raises:
            UsageError: it has another type than the program reads, fewer numbers, or does not lie in one piece.
        """
        name, dtype, once, of_image = self._needs[position]
        least = max(once, of_image * batch)
        if tensor.dtype is not dtype or tensor.nbytes < least or not tensor.is_contiguous():
            raise UsageError(
                f"engine: `{name}` must be {dtype}, contiguous and of at least {least // dtype.itemsize} numbers, got "
                f"{tensor.dtype} of shape {tuple(tensor.shape)}. After such a change of a network, accelerate it anew."
            )
        return tensor.data_ptr()

    def addresses(self, tensors: Sequence[Tensor | None], *, batch: int) -> list[int]:
        """Return the addresses of all tensors; 0 for what a run does not touch.

        Raises:
            UsageError: as in `address`.
        """
        return [0 if t is None else self.address(n, t, batch=batch) for n, t in enumerate(tensors)]
