"""Where errors become messages and exit codes: no traceback for anything striate expects."""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from striate.errors import ResourceError, StriateError

__all__ = ["run_guarded"]

EXIT_USAGE = 2
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


def run_guarded(app: Callable[..., Any]) -> NoReturn:
    """Call the command line and leave; expected errors print one message, a bug three lines and a file's name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is escaped, and ends no command
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except SystemExit as leaving:
        # Typer has said on standard error what it did not understand; a program still gets its one document.
        if leaving.code == EXIT_USAGE and "--json" in sys.argv:
            _leave("the command line was not understood; see standard error.", code=EXIT_USAGE, kind="UsageError")
        raise
    except StriateError as error:
        _leave(str(error), code=error.exit_code, kind=type(error).__name__)
    except KeyboardInterrupt:
        _leave("striate: stopped by Ctrl-C.", code=EXIT_INTERRUPTED, kind="Interrupted")
    except BrokenPipeError:
        # The reader (`| head`) has gone: that is its right. Python must not complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        exhausted = _out_of_memory(error)
        if exhausted is not None:
            _leave(str(exhausted), code=exhausted.exit_code, kind="ResourceError")
        if os.environ.get("STRIATE_DEBUG"):
            raise
        _report_bug(error)
    sys.exit(0)


def _leave(message: str, *, code: int, kind: str) -> NoReturn:
    if "--json" in sys.argv:
        print(json.dumps({"error": {"kind": kind, "message": message, "exit_code": code}}))
    else:
        print(f"striate: {message}" if not message.startswith("striate") else message, file=sys.stderr)
    sys.exit(code)


def _out_of_memory(error: Exception) -> ResourceError | None:
    """Recognise the ways in which Python, PyTorch's CPU allocator and CUDA say that memory ran out."""
    text = str(error)
    if not isinstance(error, MemoryError) and "DefaultCPUAllocator" not in text and "out of memory" not in text:
        return None
    reason = f" ({text.splitlines()[0][:200]})" if text else ""
    return ResourceError(f"memory ran out{reason}. Give smaller images or batches (--img-size, --batch-size, --size).")


def _report_bug(error: Exception) -> NoReturn:
    from striate.files import cache_folder

    report = cache_folder("errors", f"error-{os.getpid()}.txt")
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
        where: Path | str = report
    except OSError:
        where = "set STRIATE_DEBUG=1 to see it"
    first = str(error).splitlines()[0] if str(error) else ""
    _leave(
        f"a bug in striate: {type(error).__name__}: {first}\nThe traceback is in {where}.\n"
        "Please report it with the command you typed.",
        code=EXIT_BUG,
        kind="Bug",
    )
