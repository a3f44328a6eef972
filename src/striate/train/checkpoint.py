"""Checkpoints: folders published by one rename, with a checksum of every file, read back to the newest whole one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from striate.errors import ModelError
from striate.files import publish_folder, read_json, read_tensors, sha256, write_json, write_tensors

__all__ = ["Checkpoint", "load_newest", "save"]

KEPT = 2
FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """All that a training needs to go on as if it had never stopped.

    There is no random state in it: every random number is derived from (seed, epoch, step, sample).
    """

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    ema: dict[str, Tensor] | None
    state: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint, *, step: int) -> Path:
    """Write a checkpoint below `folder` and keep the newest `KEPT`.

    Args:
        folder: The run's ``checkpoints`` folder.
        checkpoint: What to write.
        step: Optimizer steps taken, which names and orders the checkpoints.
    """
    target = folder / f"step-{step:09d}"
    tensors, groups = _flatten(checkpoint.optimizer)
    with publish_folder(target) as temporary:
        write_tensors(temporary / "model.safetensors", checkpoint.model)
        write_tensors(temporary / "optimizer.safetensors", tensors)
        if checkpoint.ema is not None:
            write_tensors(temporary / "ema.safetensors", checkpoint.ema)
        write_json(temporary / "state.json", {"format": FORMAT, "param_groups": groups, **checkpoint.state})
        checksums = {file.name: sha256(file) for file in sorted(temporary.iterdir())}
        write_json(temporary / "manifest.json", checksums)
    left_by_kills = folder.glob(".step-*.tmp")
    for old in [*sorted(folder.glob("step-*"))[:-KEPT], *left_by_kills]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_newest(folder: Path) -> tuple[Checkpoint, list[str]]:
    """Read the newest checkpoint that is whole.

    Returns:
        The checkpoint, and one sentence for each newer one that had to be passed over.

    Raises:
        ModelError: there is none, or all are damaged; the message names each fault.
    """
    faults = list[str]()
    for path in sorted(folder.glob("step-*"), reverse=True):
        fault = _find_fault(path)
        if fault is None:
            return _load(path), faults
        faults.append(fault)
    detail = " ".join(faults) or "The folder holds none."
    raise ModelError(f"resume: no usable checkpoint in `{folder}`. {detail} Start again with `striate train`.")


def _find_fault(path: Path) -> str | None:
    """Return what is wrong with a checkpoint folder, or None."""
    try:
        manifest: Mapping[str, str] = read_json(path / "manifest.json")
        if {*manifest, "manifest.json"} != {file.name for file in path.iterdir()}:
            return f"`{path.name}` is incomplete (its files are not those of its manifest)."
        for name, checksum in manifest.items():
            if sha256(path / name) != checksum:
                return f"`{path.name}/{name}` is damaged (its checksum differs)."
    except (ModelError, OSError, AttributeError, TypeError) as error:
        return f"`{path.name}` is incomplete ({error})."
    return None


def _load(path: Path) -> Checkpoint:
    state = read_json(path / "state.json")
    if state.pop("format", None) != FORMAT:
        raise ModelError(f"resume: `{path}` has another format than {FORMAT}. Use the striate version that wrote it.")
    tensors = read_tensors(path / "optimizer.safetensors")
    ema = path / "ema.safetensors"
    return Checkpoint(
        model=read_tensors(path / "model.safetensors"),
        optimizer=_unflatten(tensors, state.pop("param_groups")),
        ema=read_tensors(ema) if ema.exists() else None,
        state=state,
    )


def _flatten(optimizer: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Split an optimizer's state dict into tensors named ``INDEX.NAME`` and JSON-able parameter groups."""
    tensors = {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in optimizer["state"].items()
        for name, value in values.items()
        if value is not None
    }
    return tensors, optimizer["param_groups"]


def _unflatten(tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    state = dict[int, dict[str, Tensor]]()
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    for group in groups:
        if "betas" in group:
            group["betas"] = tuple(group["betas"])
    return {"state": state, "param_groups": groups}
