"""Several processes as one: what `torchrun` started, without a word when there is only one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

__all__ = ["Processes", "gather_rows", "process_group", "share_buffers", "share_text", "wrap"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Processes:
    """Which of how many processes this one is; `rank` 0 alone writes and prints."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0


@contextmanager
def process_group(*, cuda: bool) -> Iterator[Processes]:
    """Join the group that `torchrun` describes in the environment; without one, a group of one is given.

    Args:
        cuda: Use one GPU a process, and NCCL between them; gloo for tensors in main memory.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Processes()
        return
    processes = Processes(
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
    )
    if cuda:
        torch.cuda.set_device(processes.local_rank)
    joined_here = not distributed.is_initialized()
    if joined_here:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield processes
    finally:
        if joined_here:
            distributed.destroy_process_group()


def wrap(model: nn.Module, *, processes: Processes, cuda: bool) -> nn.Module:
    """Return the model as its processes train it together: DistributedDataParallel where there are several."""
    if processes.world_size == 1:
        return model
    devices = [processes.local_rank] if cuda else None
    return nn.parallel.DistributedDataParallel(model, device_ids=devices)


def gather_rows(rows: Tensor, *, processes: Processes) -> Tensor:
    """Concatenate each process's rows (n_r, ...) in the order of the ranks; lengths may differ.

    Shares are padded to the longest for the exchange and cut back after it, so no row is counted twice.
    """
    if processes.world_size == 1:
        return rows
    length = torch.tensor([len(rows)], device=rows.device)
    lengths = [torch.zeros_like(length) for _ in range(processes.world_size)]
    distributed.all_gather(lengths, length)
    longest = max(int(n) for n in lengths)
    padded = rows.new_zeros((longest, *rows.shape[1:]))
    padded[: len(rows)] = rows
    shares = [torch.zeros_like(padded) for _ in range(processes.world_size)]
    distributed.all_gather(shares, padded)
    return torch.cat([share[: int(n)] for share, n in zip(shares, lengths, strict=True)])


def share_text(text: str, *, processes: Processes) -> str:
    """Return the main process's text in every process."""
    if processes.world_size == 1:
        return text
    own = text.encode() if processes.is_main else b""
    return bytes(gather_rows(torch.tensor(list(own), dtype=torch.uint8), processes=processes).tolist()).decode()


def share_buffers(network: nn.Module, *, processes: Processes) -> None:
    """Give every process the main process's buffers: each has seen other images, and only the main one's are saved."""
    if processes.world_size > 1:
        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)
