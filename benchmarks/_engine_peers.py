"""Whom `benchmarks.engine` compares with, and where each of them can run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

__all__ = ["PEERS", "Peer", "has_bf16", "peers_python", "why_left_out"]

PYTHON_VARIABLE = "STRIATE_PEERS_PYTHON"


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A program that answers rounds."""

    title: str
    module: str
    flags: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    """What its environment must have; empty: it runs in striate's own."""
    precision: str = "float32"


PEERS = {
    "stock": Peer(title="stock PyTorch", module="benchmarks.peers.pytorch_step"),
    "tuned": Peer(title="tuned PyTorch", module="benchmarks.peers.tuned_pytorch"),
    "tuned-bf16": Peer(title="tuned PyTorch, bf16", module="benchmarks.peers.tuned_pytorch",
                       flags=("--precision", "bf16"), precision="bf16"),
    "keras": Peer(title="Keras 3 on JAX", module="benchmarks.peers.keras_jax", packages=("keras", "jax")),
    "onnxruntime": Peer(title="ONNX Runtime", module="benchmarks.peers.onnxruntime_inference",
                        packages=("onnx", "onnxruntime")),
    "torch": Peer(title="stock PyTorch", module="benchmarks.peers.pytorch_step", flags=("--inference",)),
}  # fmt: skip


def peers_python() -> str:
    """Return the interpreter of the peers that are no dependency of striate: ``STRIATE_PEERS_PYTHON``, or this one."""
    return os.environ.get(PYTHON_VARIABLE) or sys.executable


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 numbers; emulated, they are slower than float32."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def engine_has_bf16() -> bool:
    """Whether the engine computes in bfloat16."""
    import inspect

    from striate.engine import TrainingStep

    return "precision" in inspect.signature(TrainingStep).parameters


def why_left_out(name: str, *, python: str) -> str | None:
    """Say in one line why a peer cannot be measured here; None: it can.

    Args:
        name: Of `PEERS`.
        python: Interpreter of the peers that need packages of their own.
    """
    peer = PEERS[name]
    if peer.precision == "bf16" and not has_bf16():
        return f"{peer.title} is left out: this processor has no bfloat16 multiply-adds."
    if peer.precision == "bf16" and not engine_has_bf16():
        return f"{peer.title} is left out: the engine has no bfloat16 to compare it with."
    code = "import sys, importlib.util as u; sys.exit(any(u.find_spec(name) is None for name in sys.argv[1:]))"
    if peer.packages and subprocess.run([python, "-c", code, *peer.packages], check=False).returncode:
        return (
            f"{peer.title} is left out: it is not installed. Get it: python -m venv peers && "
            f"peers/bin/pip install numpy {' '.join(peer.packages)}; export {PYTHON_VARIABLE}=peers/bin/python"
        )
    return None
