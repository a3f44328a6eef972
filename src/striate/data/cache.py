"""Images decoded once, in parallel, into one memory-mapped file that is found again by the contents of the originals.

    CACHE/images/KEY/pixels.bin   the images one after another, each (C, H, W)
                     index.npy    offset, height and width of each, int64 (N, 3); height 0 where a file is unreadable
                     meta.json    channels, resize size, total bytes, and the reason for each unreadable file
    CACHE/listings/DIGEST         the KEY of a list of (path, size, modification time), to find it without reading

KEY is a hash over the contents of the files in order, so a copied, moved or touched folder is not decoded again.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import itertools
import json
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from striate.data.decoding import Mode, decode, read_file
from striate.data.names import printable
from striate.data.resize import resize_short_side
from striate.data.store import MappedStore
from striate.errors import DataError, ImageError, ResourceError

__all__ = ["cached_store", "open_cache"]

# Part of every key: raise it when the decoded pixels or the layout of the files change.
_VERSION = 1
_HASH_BYTES = 16
# Files a thread takes at a time: small ones cost about 0.1 ms each, as much as handing them over.
_CHUNK_FILES = 16
_ABANDONED_S = 24 * 3600

_Result = TypeVar("_Result")
_Decoded = npt.NDArray[np.uint8] | str


def cached_store(
    paths: Sequence[Path],
    *,
    mode: Mode,
    resize_size: int,
    cache_dir: Path,
    report: Callable[[int, int], None] | None = None,
) -> tuple[MappedStore, dict[int, str]]:
    """Give the images of some files, from the cache if it has them, else decoded into it.

    Args:
        paths: The files, absolute.
        mode: ``"RGB"`` or ``"L"``.
        resize_size: Short side of the stored images, in pixels; smaller ones are enlarged to it, so that crops fit.
        cache_dir: Where the cache is, or goes.
        report: Called with the files decoded and the files there are.

    Returns:
        The images, and the reason for each row that could not be read.

    Raises:
        DataError: A file changed while it was read.
        ResourceError: The cache cannot be written.
    """
    listing = cache_dir / "listings" / _listing_digest(paths, mode=mode, resize_size=resize_size)
    key = _read_text(listing)
    if key is not None and (opened := open_cache(cache_dir / "images" / key)) is not None:
        return opened
    with ThreadPoolExecutor(_thread_count()) as pool:
        try:
            digests = list(_in_order(pool, _hash_file, paths))
            key = _key(digests, mode=mode, resize_size=resize_size)
            folder = cache_dir / "images" / key
            opened = open_cache(folder)
            if opened is None:
                decode_one = functools.partial(_decode_file, mode=mode, resize_size=resize_size)
                decoded = _in_order(pool, decode_one, zip(paths, digests, strict=True))
                channels = 1 if mode == "L" else 3
                _write(folder, decoded, count=len(paths), channels=channels, resize_size=resize_size, report=report)
                opened = open_cache(folder)
            _write_text(listing, key)
        except OSError as error:
            raise _resource_error(error, cache_dir) from error
        finally:
            pool.shutdown(cancel_futures=True)
    if opened is None:
        raise ResourceError(
            f"load: the cache {folder} must stay while it is used, and was removed or damaged. Run the command again."
        )
    return opened


def open_cache(folder: Path) -> tuple[MappedStore, dict[int, str]] | None:
    """Open a finished cache folder.

    Args:
        folder: ``CACHE/images/KEY``.

    Returns:
        The images and the unreadable rows; None if the folder is missing or damaged.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        index = np.load(folder / "index.npy", allow_pickle=False)
        size = (folder / "pixels.bin").stat().st_size
        if size != meta["bytes"] or index.shape != (meta["count"], 3):
            return None
        # An empty file cannot be mapped; there is one when no file at all was readable.
        pixels = np.memmap(folder / "pixels.bin", dtype=np.uint8, mode="r") if size else np.empty(0, dtype=np.uint8)
        store = MappedStore(
            pixels,
            offsets=np.ascontiguousarray(index[:, 0]),
            sizes=np.ascontiguousarray(index[:, 1:]),
            channels=meta["channels"],
            resize_size=meta["resize_size"],
        )
        return store, {int(row): str(reason) for row, reason in meta["bad"].items()}
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def _write(
    folder: Path,
    decoded: Iterator[_Decoded],
    *,
    count: int,
    channels: int,
    resize_size: int,
    report: Callable[[int, int], None] | None,
) -> None:
    """Stream the images into a folder of another name, which is renamed when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder.parent)
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        index = np.zeros((count, 3), dtype=np.int64)
        bad: dict[int, str] = {}
        offset = 0
        with (making / "pixels.bin").open("wb", buffering=1 << 20) as stream:
            for row, image in enumerate(decoded):
                if isinstance(image, str):
                    bad[row] = image
                    index[row] = (offset, 0, 0)
                else:
                    index[row] = (offset, *image.shape[1:])
                    stream.write(image.data)
                    offset += image.nbytes
                if report is not None and ((row + 1) % 64 == 0 or row + 1 == count):
                    report(row + 1, count)
            _sync(stream)
        with (making / "index.npy").open("wb") as stream:
            np.save(stream, index, allow_pickle=False)
            _sync(stream)
        meta = {"bytes": offset, "count": count, "channels": channels, "resize_size": resize_size, "bad": bad}
        with (making / "meta.json").open("wb") as stream:
            stream.write(json.dumps(meta).encode())
            _sync(stream)
        _publish(making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _publish(making: Path, folder: Path) -> None:
    for _ in range(2):
        try:
            making.rename(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        # Another process was faster, and its folder has the same contents; or the one that is there is damaged.
        if open_cache(folder) is not None:
            return
        shutil.rmtree(folder, ignore_errors=True)


def _sync(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _remove_abandoned(parent: Path) -> None:
    """Remove what a killed process left behind a day ago or earlier."""
    for leftover in parent.glob(".making-*"):
        try:
            if time.time() - leftover.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(leftover, ignore_errors=True)
        except FileNotFoundError:
            continue  # another process removed it first


def _in_order(pool: ThreadPoolExecutor, function: Callable[[Any], _Result], items: Iterable[Any]) -> Iterator[_Result]:
    """Map in parallel, in order, with few results waiting: memory stays small for any number of files."""
    source = iter(items)
    chunks = iter(lambda: list(itertools.islice(source, _CHUNK_FILES)), [])
    waiting: deque[Future[list[_Result]]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(lambda part: [function(item) for item in part], chunk))
        if len(waiting) > 2 * _thread_count():
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _hash_file(path: Path) -> bytes:
    try:
        return hashlib.blake2b(read_file(path), digest_size=_HASH_BYTES).digest()
    except ImageError as error:
        # A file that cannot be read has a key of its own, so that it is tried again when it can.
        return hashlib.blake2b(str(error).encode(), digest_size=_HASH_BYTES, person=b"unreadable").digest()


def _decode_file(file: tuple[Path, bytes], *, mode: Mode, resize_size: int) -> _Decoded:
    path, digest = file
    try:
        content = read_file(path)
        if hashlib.blake2b(content, digest_size=_HASH_BYTES).digest() != digest:
            raise DataError(
                f"load: {printable(str(path))} must not change while it is read, and did. "
                "Wait until it is complete, then try again."
            )
        # Named by its last part: a cache may be found again from a folder of another name.
        return resize_short_side(decode(content, mode=mode, name=path.name), size=resize_size)
    except ImageError as error:
        return str(error)


def _key(digests: Iterable[bytes], *, mode: Mode, resize_size: int) -> str:
    from PIL import __version__ as pillow

    total = hashlib.blake2b(f"{_VERSION} {pillow} {mode} {resize_size}\n".encode(), digest_size=_HASH_BYTES)
    for digest in digests:
        total.update(digest)
    return total.hexdigest()


def _listing_digest(paths: Sequence[Path], *, mode: Mode, resize_size: int) -> str:
    total = hashlib.blake2b(f"{_VERSION} {mode} {resize_size}\n".encode(), digest_size=_HASH_BYTES)
    for path in paths:
        try:
            status = path.stat()
            stamp = f"{status.st_size} {status.st_mtime_ns}"
        except OSError as error:
            stamp = f"error {error.errno}"
        total.update(os.fsencode(path) + b"\0" + stamp.encode() + b"\n")
    return total.hexdigest()


def _read_text(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return text if text.isalnum() else None


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f".{path.name}-{os.getpid()}")
    making.write_text(text, encoding="ascii")
    making.replace(path)


def _thread_count() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, 32)


def _resource_error(error: OSError, cache_dir: Path) -> ResourceError:
    free = ""
    with contextlib.suppress(OSError):
        # Measured after the unfinished cache was removed: all of it was not enough.
        free = f"; {shutil.disk_usage(cache_dir).free / 1e6:,.0f} MB are free"
    return ResourceError(
        f"load: the cache folder must have room and be writable, got {cache_dir}: {error.strerror or error}{free}. "
        "Make room, or set STRIATE_CACHE to another folder."
    )
