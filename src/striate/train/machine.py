"""Devices, threads and memory, and the configuration in which the steps of a training run."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from striate.errors import ModelError, ResourceError, UsageError
from striate.train.engine import accelerated

__all__ = [
    "Configuration",
    "describe_machine",
    "is_present",
    "keep_freed_memory",
    "select_device",
    "thread_count",
]

DEVICES = ("cpu", "cuda", "mps")

# Address space by which the heap grows.
HEAP_STEP_BYTES = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """How the steps of a training run; stored with the run, since it decides the bits."""

    device: str = "cpu"
    engine: str = "torch"
    """What computes them: ``torch``, or ``striate`` for striate's own engine."""
    channels_last: bool = False
    bf16: bool = False
    fused_optimizer: bool = True
    compile: bool = False
    threads: int = 1
    keeps_freed_memory: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        """PyTorch's name for the layout of images."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> Any:
        """Return the context in which forward passes run."""
        if not self.bf16 or self.engine == "striate":  # which rounds by itself
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)

    def computing(self, network: nn.Module) -> nn.Module:
        """Return what computes a network's outputs: itself, or striate's engine on its weights."""
        return accelerated(network, bf16=self.bf16) if self.engine == "striate" else network

    def describe(self) -> str:
        """Return the configuration in a few words, for the terminal."""
        words = [
            self.device,
            *(["striate engine"] if self.engine == "striate" else []),
            "bf16" if self.bf16 else "float32",
            *([] if self.engine == "striate" else ["channels_last" if self.channels_last else "channels_first"]),
            *(["compiled"] if self.compile else []),
            *([] if self.fused_optimizer else ["unfused optimizer"]),
            f"{self.threads} thread{'s' if self.threads != 1 else ''}",
        ]
        return ", ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Configuration:
        """Rebuild from `to_dict`."""
        known = {field.name for field in fields(cls)}
        values = {"engine": "torch"} | values  # runs of version 0.1.0 do not say
        if set(values) != known:
            raise ModelError(
                f"Configuration: `machine` must have the keys {', '.join(sorted(known))}, "
                f"got {', '.join(sorted(values))}. Compare the config.json of another run."
            )
        return cls(**values)


def select_device(name: str) -> str:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` into a device that is there.

    Raises:
        ResourceError: the device is not on this machine.
        UsageError: PyTorch does not know such a device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        raise UsageError(f"train: `device` must be auto, cpu, cuda, cuda:N or mps, got {name!r}.") from error
    if kind not in DEVICES or not is_present(name):
        raise ResourceError(f"train: `device` {name!r} is not on this machine. Use --device cpu or --device auto.")
    return name


def is_present(name: str) -> bool:
    """Whether this machine has a device of `DEVICES`, such as ``cuda:1``."""
    device = torch.device(name)
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    return device.type == "cpu" or (device.type == "mps" and torch.backends.mps.is_available())


def keep_freed_memory() -> bool:
    """Ask glibc to keep large freed blocks for the next step, in huge pages, instead of returning them to the kernel.

    Returning them makes every step fault its activations in again, page by page, which on large activations costs
    more than the arithmetic. Does nothing and returns False where the C library is not glibc.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    m_trim_threshold, m_top_pad, m_mmap_max, m_arena_max = -1, -2, -4, -8  # glibc's malloc.h
    libc = ctypes.CDLL(None)
    # One heap, which grows by so much address space at a time: memory is taken only where it is touched.
    settings = ((m_mmap_max, 0), (m_trim_threshold, 2**31 - 1), (m_top_pad, HEAP_STEP_BYTES), (m_arena_max, 1))
    accepted = [libc.mallopt(option, value) for option, value in settings]
    if accepted != [1] * len(settings):
        return False
    _use_huge_pages(libc)
    return True


def _use_huge_pages(libc: ctypes.CDLL) -> None:
    """Advise the kernel to back the heap with huge pages; a kernel that will not is no worse than before."""
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.free(libc.malloc(ctypes.c_size_t(HEAP_STEP_BYTES // 16)))  # makes the heap grow to the address space advised
    madv_hugepage = 14  # Linux's mman-common.h
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.endswith("[heap]"):
            start, end = (int(address, 16) for address in line.split()[0].split("-"))
            libc.madvise(start, end - start, madv_hugepage)


def describe_machine() -> dict[str, Any]:
    """Return what a figure needs beside it: processor, cores, versions."""
    import numpy
    import PIL

    import striate

    capabilities = torch.cpu.get_capabilities()
    return {
        "processor": capabilities.get("cpu_name") or platform.processor() or platform.machine(),
        "vector_extensions": [
            name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "neon") if capabilities.get(name)
        ],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "versions": {
            "striate": striate.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "pillow": PIL.__version__,
        },
    }


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Run a block with PyTorch's intra-operation threads set, and set them back after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
