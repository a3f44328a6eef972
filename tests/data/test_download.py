"""Downloads from a server on this machine that misbehaves in the ways servers do."""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.server
import multiprocessing
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from striate.data import download
from striate.data.download import fetch
from striate.errors import DataError, ResourceError, UsageError

CONTENT = bytes(range(256)) * 2_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PACKED = gzip.compress(CONTENT)


class Handler(http.server.BaseHTTPRequestHandler):
    """The path says what happens: /good, /missing, /short ..."""

    def do_GET(self) -> None:
        log: list[tuple[str, str | None]] = self.server.log  # type: ignore[attr-defined]
        log.append((self.path, self.headers["Range"]))
        answer = getattr(self, "answer_" + self.path.strip("/").split("/")[0])
        answer()

    def send(self, body: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_range(self, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        start = int(asked[1]) if asked else 0
        if asked and start >= len(content):
            self.send(b"", status=416)
        elif asked:
            total = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send(content[start:], status=206, Content_Range=total)
        else:
            self.send(content)

    def answer_good(self) -> None:
        self.send_range(CONTENT)

    def answer_packed(self) -> None:
        self.send_range(PACKED)

    def answer_without_range(self) -> None:
        self.send(CONTENT)

    def answer_other_place(self) -> None:
        self.send(CONTENT[5:], status=206, Content_Range=f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}")

    def answer_missing(self) -> None:
        self.send(b"", status=404)

    def answer_forbidden(self) -> None:
        self.send(b"", status=403)

    def answer_wrong(self) -> None:
        self.send(b"x" * len(CONTENT))

    def answer_portal(self) -> None:
        self.send(b"<!DOCTYPE html><html>Please log in")

    def answer_short(self) -> None:
        self.send(CONTENT[:100_000], length=len(CONTENT))

    def answer_redirect(self) -> None:
        self.send(b"", status=302, Location="/good")

    def answer_downgrade(self) -> None:
        self.send(b"", status=302, Location="http://example.org/file")

    def answer_local_file(self) -> None:
        self.send(b"", status=302, Location="file:///etc/passwd")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    instance = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    instance.log = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield instance
    instance.shutdown()
    thread.join()
    instance.server_close()


@pytest.fixture
def get(server: http.server.ThreadingHTTPServer, tmp_path: Path) -> Callable[..., Path]:
    def run(*paths: str, **options: Any) -> Path:
        urls = [f"http://127.0.0.1:{server.server_port}/{path}" for path in paths]
        options = {"sha256": SHA256, "description": "the file"} | options
        return fetch(urls, tmp_path / "folder" / "file.bin", _allow_loopback=True, **options)

    return run


def requests(server: http.server.ThreadingHTTPServer) -> list[tuple[str, str | None]]:
    return server.log  # type: ignore[attr-defined]


def test_a_file_arrives_whole_and_nothing_else_stays(get: Callable[..., Path]):
    seen: list[tuple[int, int]] = []
    target = get("good", report=lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_file_that_is_there_is_not_fetched(get: Callable[..., Path], server: Any):
    get("good")
    get("missing")
    assert len(requests(server)) == 1


@pytest.mark.parametrize(
    "checksum",
    [
        {"sha256": SHA256.upper()},
        {"sha256": None, "sha256_prefix": SHA256[:8]},
        {"sha256": None, "md5": hashlib.md5(CONTENT).hexdigest()},
        {"sha256": SHA256, "md5": hashlib.md5(CONTENT).hexdigest()},
    ],
)
def test_every_kind_of_checksum_is_accepted(get: Callable[..., Path], checksum: dict[str, str]):
    assert get("good", **checksum).read_bytes() == CONTENT


def test_a_checksum_of_the_unpacked_content(get: Callable[..., Path]):
    assert get("packed", sha256=None, unpacked_sha256=SHA256).read_bytes() == PACKED


@pytest.mark.parametrize(
    ("checksum", "found"),
    [
        ({"sha256": "0" * 64}, f"sha256 is {SHA256}"),
        ({"sha256": None, "sha256_prefix": SHA256[:4]}, "sha256_prefix is"),
        ({"sha256": None, "sha256_prefix": "00000000"}, "sha256_prefix is"),
        ({"md5": "0" * 32}, "md5 is"),
        ({"sha256": None, "unpacked_sha256": SHA256}, "unpacked_sha256 is unknown, as it cannot be unpacked"),
    ],
)
def test_a_wrong_checksum_is_refused(get: Callable[..., Path], tmp_path: Path, checksum: dict[str, str], found: str):
    with pytest.raises(DataError, match=f"wrong checksum: {found}"):
        get("good", **checksum)
    assert not (tmp_path / "folder" / "file.bin").exists()


def test_no_checksum_is_an_error(get: Callable[..., Path]):
    with pytest.raises(UsageError, match=r"`sha256` .* must be given, got none for file\.bin"):
        get("good", sha256=None)


@pytest.mark.parametrize("first", ["missing", "forbidden", "wrong", "portal", "short", "downgrade", "local_file"])
def test_the_second_mirror_helps(get: Callable[..., Path], first: str):
    assert get(first, "good").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "the server answered 404"),
        ("forbidden", "the server answered 403"),
        ("wrong", "wrong checksum: sha256 is"),
        ("portal", "It sent a web page: log in to the network first"),
        ("short", "the connection ended after 100,000 of 512,000 bytes"),
        ("downgrade", "redirected, but only https is allowed, and this leads to http://example.org"),
        ("local_file", "the server answered 302 Found - Redirection to url 'file:///etc/passwd' is not allowed"),
        ("other_place", "it continued at another place than asked"),
    ],
)
def test_each_failure_is_explained_with_what_to_put_where(
    get: Callable[..., Path], tmp_path: Path, path: str, reason: str
):
    with pytest.raises(DataError, match=re.escape(reason)) as caught:
        get(path)
    where = tmp_path / "folder" / "file.bin"
    assert f"put the file file.bin (sha256 {SHA256}) at {where} yourself" in str(caught.value)
    assert not where.exists()


def test_redirects_on_the_same_scheme_are_followed(get: Callable[..., Path]):
    assert get("redirect").read_bytes() == CONTENT


def test_plain_http_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"only https is allowed, and this leads to http://127\.0\.0\.1"):
        fetch(["http://127.0.0.1:9/x"], tmp_path / "x", sha256=SHA256, description="x")
    with pytest.raises(DataError, match=r"only https is allowed, and this leads to http://example\.org"):
        fetch(["http://example.org/x"], tmp_path / "x", sha256=SHA256, description="x", _allow_loopback=True)


def test_a_machine_without_network_gets_the_reason(tmp_path: Path):
    # Port 9 of this machine refuses connections, as no network would.
    with pytest.raises(DataError, match=r"could not be downloaded \(.*[Rr]efused.*Connect this machine to the network"):
        fetch(["http://127.0.0.1:9/x"], tmp_path / "x", sha256=SHA256, description="x", _allow_loopback=True)


def test_an_interrupted_download_is_continued(get: Callable[..., Path], server: Any, tmp_path: Path):
    with pytest.raises(DataError, match="the connection ended after"):
        get("short")
    assert (tmp_path / "folder" / "file.bin.part").stat().st_size == 100_000
    assert get("good").read_bytes() == CONTENT
    assert requests(server)[-1] == ("/good", "bytes=100000-")
    assert not (tmp_path / "folder" / "file.bin.part").exists()


def leave_part(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file.bin.part").write_bytes(content)


def test_a_server_that_cannot_continue_sends_all_of_it(get: Callable[..., Path], tmp_path: Path):
    leave_part(tmp_path, CONTENT[:1000])
    assert get("without_range").read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["good", "packed"])
def test_a_wrong_part_is_thrown_away_and_fetched_again(
    get: Callable[..., Path], server: Any, tmp_path: Path, path: str
):
    leave_part(tmp_path, b"wrong" * 100)
    checksum = {"sha256": SHA256} if path == "good" else {"sha256": None, "unpacked_sha256": SHA256}
    get(path, **checksum)
    assert requests(server) == [(f"/{path}", "bytes=500-"), (f"/{path}", None)]


def test_a_complete_part_is_only_checked(get: Callable[..., Path], server: Any, tmp_path: Path):
    leave_part(tmp_path, CONTENT)
    assert get("good").read_bytes() == CONTENT
    assert requests(server) == [("/good", f"bytes={len(CONTENT)}-")]


def test_a_part_that_is_too_long_is_fetched_again(get: Callable[..., Path], tmp_path: Path):
    leave_part(tmp_path, CONTENT + b"more")
    assert get("good").read_bytes() == CONTENT


def test_a_server_that_sends_without_end_is_cut_off(get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "_LARGEST_BYTES", 1000)
    with pytest.raises(DataError, match="it sent more than 1,000 bytes"):
        get("good")


def test_a_full_disk_is_a_resource_error(get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def full(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_copy", full)
    with pytest.raises(
        ResourceError, match=r"got .*file\.bin: No space left on device\. Free some space, or set STRIATE_CACHE"
    ):
        get("good")
    assert not (tmp_path / "folder" / "file.bin").exists()


def test_a_folder_that_cannot_be_made_is_a_resource_error(get: Callable[..., Path], tmp_path: Path):
    (tmp_path / "folder").write_text("a file is in the way")
    with pytest.raises(ResourceError, match="must be in a folder with room that can be written"):
        get("good")


def fetch_in_process(port: int, target: Path) -> None:
    fetch([f"http://127.0.0.1:{port}/good"], target, sha256=SHA256, description="x", _allow_loopback=True)


def test_two_processes_fetch_it_once(server: Any, tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    target = tmp_path / "folder" / "file.bin"
    processes = [context.Process(target=fetch_in_process, args=(server.server_port, target)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert target.read_bytes() == CONTENT
    assert len(requests(server)) == 1
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
