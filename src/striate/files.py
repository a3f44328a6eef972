"""Writing files so that a kill or a full disk never leaves half of one: temporary name, fsync, rename, fsync."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.errors import ModelError, ResourceError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "append_line",
    "cache_folder",
    "create_folder",
    "publish_folder",
    "read_json",
    "read_tensors",
    "sha256",
    "write_bytes",
    "write_json",
    "write_tensors",
    "write_text",
]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or leave what was there; the file's mode follows the umask.

    Raises:
        ResourceError: the folder cannot be written or the disk is full; the message says how much was needed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _resource_error(error, path=path, size=len(content)) from error
    finally:
        with suppress(OSError):  # after an error or a second Ctrl-C; where all went well there is nothing left
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, for text in UTF-8; lone surrogates of odd file names are kept."""
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """As `write_bytes`, for a JSON value, indented; NaN and infinity are refused because JSON has neither."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Add one line to a log file and hand it to the operating system at once."""
    try:
        with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(line + "\n")
    except OSError as error:
        raise _resource_error(error, path=path, size=len(line) + 1) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """As `write_bytes`, for named tensors in the safetensors format, from any device and memory layout."""
    import torch
    from safetensors.torch import save

    # safetensors refuses channels_last and shared memory: every tensor becomes a plain copy of its own.
    plain = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    # None, not {}: with neither tensors nor metadata safetensors writes a header that it cannot read.
    write_bytes(path, save(plain, metadata=dict(metadata) if metadata else None))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a safetensors file.

    Raises:
        ModelError: the file is missing, cut short or not in the format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
    except OSError as error:
        raise ModelError(f"read_tensors: `{path}` cannot be read ({error.strerror}). Check the path.") from error
    except SafetensorError as error:
        raise ModelError(
            f"read_tensors: `{path}` is not a whole safetensors file ({error}). Copy it again or use another."
        ) from error
    return tensors


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ModelError: the file is missing or not JSON; the message names the line and column.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"read_json: `{path}` cannot be read ({error.strerror}). Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"read_json: `{path}` is not valid JSON ({error}). Restore it from a copy.") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def publish_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; when the block ends well, it becomes `target` by one rename."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise _resource_error(error, path=target, size=0) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def create_folder(folder: Path) -> bool:
    """Create a folder with its parents; False where it exists already.

    Raises:
        ResourceError: it cannot be created.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError:
        if folder.parent.is_dir():
            return False
        raise ResourceError(f"write: `{folder.parent}` is a file. Choose a folder with --output.") from None
    except OSError as error:
        raise _resource_error(error, path=folder, size=0) from error
    return True


def cache_folder(*parts: str) -> Path:
    """Return (not create) a folder below ``$STRIATE_CACHE``, or ``~/.cache/striate`` where that is not set."""
    root = os.environ.get("STRIATE_CACHE") or os.environ.get("XDG_CACHE_HOME", "~/.cache") + "/striate"
    return Path(root).expanduser().joinpath(*parts)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _resource_error(error: OSError, *, path: Path, size: int) -> ResourceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        parent = next(folder for folder in (path, *path.parents) if folder.exists())
        free = shutil.disk_usage(parent).free
        return ResourceError(
            f"write: `{path}` needs {size:,} bytes and {free:,} are free. Nothing saved before was changed; "
            "make room or choose another folder with --output."
        )
    return ResourceError(
        f"write: `{path}` cannot be written ({error.strerror}). Choose a folder you may write to with --output."
    )
