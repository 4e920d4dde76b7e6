"""Capture of stdout and stderr: what a stage prints goes to a log file of its own (B5)."""

from __future__ import annotations

import sys
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from threading import Lock
from typing import IO, Any, TextIO, cast

from po_jupyter.engine.stage_logs import live_file
from po_jupyter.engine.stage_logs.fd_redirect import stdio_redirect
from po_jupyter.platform.private_file import PRIVATE_DIRECTORY
from po_jupyter.telemetry.redaction import redactor

_MAX_BYTES = 20_000_000
_LONGEST_LINE = 64 * 1024  # characters of a row's line that wait for its end
_line_lock = Lock()  # threads of one row may print at the same time
_sink: ContextVar[StageLog | None] = ContextVar("po_stage_log", default=None)


class StageLog:
    """The log of one stage, made when something is printed; inside its `with` block it gets what is printed.

    The file of a row is open only while a line is written: a thousand rows at once would need as many descriptors.
    """

    __slots__ = ("_alone", "_file", "_remaining", "_token", "_unfinished", "path", "used")

    def __init__(self, path: Path, *, alone: bool = True) -> None:
        """The log at `path`. `alone` is false for one of many rows, see `StdioRedirect.enter`."""
        self.path = path
        self.used = False  # something was printed
        self._alone = alone
        self._file: IO[str] | None = None
        self._unfinished = ""  # the beginning of a line
        self._remaining = _MAX_BYTES  # characters until the rest is dropped
        self._token: Any = None

    def write(self, text: str) -> None:
        """Append; past 20 MB the rest is dropped, with a note in the log."""
        if self._remaining <= 0:
            return
        if self._alone:
            if self._file is None:
                stdio_redirect.attach(self.path)
                self._file = self._open()
            self._file.write(self._redacted(text))
        elif whole := self._lines(text):
            self._append(whole)

    def _lines(self, text: str) -> str:
        """The whole lines of a row's text; the beginning of a line waits for its end."""
        with _line_lock:
            whole, self._unfinished = self._unfinished + text, ""
            if not text.endswith("\n") and len(whole) < _LONGEST_LINE:
                whole, self._unfinished = "", whole
        return whole

    def _append(self, text: str) -> None:
        with self._open() as file:
            file.write(self._redacted(text))

    def _open(self) -> IO[str]:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
        file = self.path.open("a", encoding="utf-8", errors="replace", buffering=1)
        self.used = True
        return file

    def _redacted(self, text: str) -> str:
        text = redactor.text(text)
        self._remaining -= len(text)
        return text if self._remaining > 0 else "\n[the rest of this log was dropped: it passed 20 MB]\n"

    def __enter__(self) -> StageLog:
        """Start to capture."""
        install_routers()
        stdio_redirect.enter(self, self.path, alone=self._alone)
        self._token = _sink.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop capturing; the file is closed, and keys are removed from it."""
        _sink.reset(self._token)
        stdio_redirect.leave(self)
        if self._unfinished and self._remaining > 0:
            with suppress(OSError):
                self._append(self._unfinished)
        if self._file is not None:
            self._file.close()
        self._remaining = 0  # a thread that outlived its stage writes into nothing
        if self.used or (stdio_redirect.owned and self._alone and self.path.exists()):
            self.used = True
            scrub_file(self.path)


def recover_live_files(run_dir: Path) -> None:
    """Move the live files of a worker that crashed to the logs of their stages. Raises nothing."""
    with suppress(OSError):
        for live, log in live_file.leftover_files(run_dir):
            if live.stat().st_size:
                live_file.move_to_log(live, log)
                scrub_file(log)
            else:
                live.unlink()


def scrub_file(path: Path) -> None:
    """Remove keys from a log that a subprocess or a library wrote past Python (P10)."""
    with suppress(OSError):
        if path.stat().st_size > 2 * _MAX_BYTES:
            return
        text = path.read_text("utf-8", errors="surrogateescape")
        clean = redactor.text(text)
        if clean != text:
            path.write_text(clean, "utf-8", errors="surrogateescape")


class _Router:
    """A replacement of sys.stdout or sys.stderr that writes to the log of the stage that prints, if one does."""

    def __init__(self, under: TextIO) -> None:
        self._under = under

    def write(self, text: str) -> int:
        sink = _sink.get()
        if sink is None:
            return self._under.write(text)
        sink.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)


def install_routers() -> None:
    """Route this process's stdout and stderr by stage; again after something else replaced them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, _Router) and stream is not None:
            setattr(sys, name, cast(TextIO, _Router(stream)))
