"""Downloads that end with the right file or with none: https, checksum, resumable, renamed into place at the end."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from striate.errors import DataError, ResourceError, UsageError

__all__ = ["Report", "fetch"]

Report = Callable[[int, int], None]

_PIECE_BYTES = 1 << 18
_TIMEOUT_S = 30.0
# No file that striate downloads is larger; a server that sends without end is cut off here.
_LARGEST_BYTES = 4 * 1024**3
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class _Refused(Exception):
    """One mirror did not work; the text is the reason."""


class _WrongContent(_Refused):
    """A mirror sent all it had, and it is not the file."""


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    description: str,
    sha256: str | None = None,
    sha256_prefix: str | None = None,
    md5: str | None = None,
    unpacked_sha256: str | None = None,
    report: Report | None = None,
    _allow_loopback: bool = False,
) -> Path:
    """Download one file, unless it is there.

    An interrupted download stays beside `target` as ``NAME.part`` and is continued. `target` appears only with the
    right checksum. Two processes that want the same file wait for each other.

    Args:
        urls: The same file at several places, tried in order; https only, also after redirects.
        target: Where the file goes.
        description: What the file is, for messages: "MNIST training images".
        sha256: SHA-256 of the file, in hexadecimal.
        sha256_prefix: The first 8 or more digits of it, where only those are published.
        md5: MD5 of the file, where only that is published.
        unpacked_sha256: SHA-256 of the contents of a gzip file.
        report: Called with the bytes received and the bytes expected (0 if unknown).
        _allow_loopback: Allow plain http from this machine; for tests.

    Returns:
        `target`.

    Raises:
        UsageError: No checksum is given.
        DataError: No mirror had the right file; the message says what to put where.
        ResourceError: The disk is full or the folder cannot be written.
    """
    expected = {"sha256": sha256, "sha256_prefix": sha256_prefix, "md5": md5, "unpacked_sha256": unpacked_sha256}
    if not any(expected.values()):
        raise UsageError(
            f"fetch: `sha256` (or `md5`, `sha256_prefix`, `unpacked_sha256`) must be given, got none for {target.name}."
            " A download without a checksum cannot be trusted."
        )
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked_part(target) as part:
            if part is None:  # another process brought it while this one waited
                return target
            reasons = _from_mirrors(urls, part, expected=expected, report=report, allow_loopback=_allow_loopback)
            if reasons is None:
                os.fsync(part.fileno())
                Path(part.name).replace(target)
                return target
    except OSError as error:
        raise ResourceError(
            f"fetch: `target` must be in a folder with room that can be written, got {target}: {error.strerror}. "
            "Free some space, or set STRIATE_CACHE to another folder."
        ) from error
    digest = next(f"{kind} {value}" for kind, value in expected.items() if value)
    raise DataError(
        f"fetch: {description} could not be downloaded ({'; '.join(reasons) or 'no address is known'}). "
        f"Connect this machine to the network, or put the file {target.name} ({digest}) at {target} yourself."
    )


@contextlib.contextmanager
def _locked_part(target: Path) -> Iterator[BinaryIO | None]:
    """Open ``NAME.part`` for one process at a time; None when the target has appeared meanwhile."""
    path = target.with_name(target.name + ".part")
    while True:
        with path.open("a+b") as part:
            # The system drops the lock with the process, so none is ever left over.
            fcntl.flock(part, fcntl.LOCK_EX)
            if target.is_file():
                if path.exists() and os.fstat(part.fileno()).st_size == 0:
                    path.unlink()
                yield None
                return
            # While this process waited, the file it had opened may have been renamed or removed by the other.
            if path.exists() and path.stat().st_ino == os.fstat(part.fileno()).st_ino:
                yield part
                return


def _from_mirrors(
    urls: Sequence[str],
    part: BinaryIO,
    *,
    expected: dict[str, str | None],
    report: Report | None,
    allow_loopback: bool,
) -> list[str] | None:
    """Fill `part` from the first mirror that has the file; where none has, return the reason of each."""
    reasons = []
    for url in urls:
        try:
            _from_mirror(url, part, expected=expected, report=report, allow_loopback=allow_loopback)
        except _Refused as reason:
            reasons.append(f"{url}: {reason}")
        else:
            return None
    return reasons


def _from_mirror(
    url: str, part: BinaryIO, *, expected: dict[str, str | None], report: Report | None, allow_loopback: bool
) -> None:
    """Fill `part` from one mirror and check it; a continued file that turns out wrong is fetched once more whole."""
    start = part.seek(0, os.SEEK_END)
    try:
        _receive(url, part, start=start, report=report, allow_loopback=allow_loopback)
        _check(part, expected=expected)
    except _WrongContent:
        part.truncate(0)
        if start == 0:
            raise
        _receive(url, part, start=0, report=report, allow_loopback=allow_loopback)
        try:
            _check(part, expected=expected)
        except _WrongContent:
            part.truncate(0)
            raise


def _receive(url: str, part: BinaryIO, *, start: int, report: Report | None, allow_loopback: bool) -> None:
    _check_url(url, allow_loopback=allow_loopback)
    request = urllib.request.Request(url, headers={"User-Agent": "striate", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    opener = urllib.request.build_opener(_SafeRedirects(allow_loopback))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                start = 0  # the server does not continue files: it sends all of it again
            elif not str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-"):
                raise _WrongContent("it continued at another place than asked")
            part.truncate(start)
            length = response.headers.get("Content-Length")
            total = start + int(length) if length and length.isdecimal() else 0
            received = _copy(response, part, received=start, total=total, report=report)
    except urllib.error.HTTPError as error:
        error.close()
        # "Range not satisfiable": the part holds everything, or more than there is. The checksum tells.
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return
        raise _Refused(f"the server answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _Refused(str(getattr(error, "reason", error)) or type(error).__name__) from error
    if total and received < total:
        raise _Refused(f"the connection ended after {received:,} of {total:,} bytes")


def _copy(
    response: http.client.HTTPResponse, part: BinaryIO, *, received: int, total: int, report: Report | None
) -> int:
    while piece := _read(response):
        received += len(piece)
        if received > _LARGEST_BYTES:
            raise _WrongContent(f"it sent more than {_LARGEST_BYTES:,} bytes")
        part.write(piece)
        if report is not None:
            report(received, total)
    part.flush()
    return received


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_PIECE_BYTES)
    except OSError as error:  # told apart here from the errors of the disk
        raise _Refused(f"the connection failed: {error}") from error


def _check(part: BinaryIO, *, expected: dict[str, str | None]) -> None:
    """Compare every checksum that is known."""
    part.flush()
    part.seek(0)
    start = part.read(256).lstrip().lower()
    for kind, value in expected.items():
        if value is None:
            continue
        found = _digest(part, kind=kind)
        if not (found == value.lower() or (kind == "sha256_prefix" and len(value) >= 8 and found.startswith(value))):
            # A hotel's login page answers every address with HTML and "200 OK".
            sent_page = start.startswith((b"<!doctype", b"<html"))
            page = " It sent a web page: log in to the network first?" if sent_page else ""
            raise _WrongContent(f"wrong checksum: {kind} is {found}, not {value}.{page}")


def _digest(part: BinaryIO, *, kind: str) -> str:
    part.seek(0)
    digest = hashlib.md5(usedforsecurity=False) if kind == "md5" else hashlib.sha256()
    try:
        stream = gzip.GzipFile(fileobj=part, mode="rb") if kind == "unpacked_sha256" else part
        while piece := stream.read(_PIECE_BYTES):
            digest.update(piece)
    except (OSError, EOFError, zlib.error) as error:
        return f"unknown, as it cannot be unpacked ({error})"
    return digest.hexdigest()


def _check_url(url: str, *, allow_loopback: bool) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (allow_loopback and parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise _Refused(f"only https is allowed, and this leads to {parts.scheme}://{parts.hostname or ''}")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            _check_url(newurl, allow_loopback=self._allow_loopback)
        except _Refused as reason:
            fp.close()
            raise urllib.error.URLError(f"redirected, but {reason}") from reason
        return super().redirect_request(req, fp, code, msg, headers, newurl)
