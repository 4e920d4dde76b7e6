"""What a stage prints goes to a log file of its own (B5)."""

from __future__ import annotations

import sys
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, TextIO, cast

from po_jupyter.engine import spool
from po_jupyter.engine.descriptors import descriptors
from po_jupyter.telemetry.logging import redactor

_MAX_BYTES = 20_000_000
_sink: ContextVar[StageLog | None] = ContextVar("po_stage_log", default=None)


class StageLog:
    """The log of one stage, made when something is printed. As a context manager it takes what is printed."""

    __slots__ = ("_alone", "_file", "_room", "_token", "path", "used")

    def __init__(self, path: Path, *, alone: bool = True) -> None:
        """Not `alone`: of one row of many, see `descriptors`."""
        self.path = path
        self.used = False  # something was printed
        self._alone = alone
        self._file: IO[str] | None = None
        self._room = _MAX_BYTES
        self._token: Any = None

    def write(self, text: str) -> None:
        """Append; past 20 MB the rest is dropped, and the log says so."""
        if self._room <= 0:
            return
        if self._file is None:
            descriptors.printed(self.path)
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = self.path.open("a", encoding="utf-8", errors="replace", buffering=1)
            self.used = True
        text = redactor.text(text)
        self._room -= len(text)
        self._file.write(text if self._room > 0 else "\n[the rest of this log was dropped: it passed 20 MB]\n")

    def __enter__(self) -> StageLog:
        install()
        descriptors.enter(self, self.path, alone=self._alone)
        self._token = _sink.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _sink.reset(self._token)
        descriptors.leave(self)
        if self._file is not None:
            self._file.close()
        self._room = 0  # a thread that outlived its stage writes into nothing
        if self.used or (descriptors.owned and self._alone and self.path.exists()):
            self.used = True
            scrub_file(self.path)


def gather(run_dir: Path) -> None:
    """Put what a worker that crashed left unfinished into the logs of its stages. Raises nothing."""
    with suppress(OSError):
        for live, log in spool.left(run_dir):
            if live.stat().st_size:
                spool.move(live, log)
                scrub_file(log)
            else:
                live.unlink()


def scrub_file(path: Path) -> None:
    """Take keys out of a log that was written past Python, by a subprocess or a library (P10)."""
    with suppress(OSError):
        if path.stat().st_size > 2 * _MAX_BYTES:
            return
        text = path.read_text("utf-8", errors="surrogateescape")
        clean = redactor.text(text)
        if clean != text:
            path.write_text(clean, "utf-8", errors="surrogateescape")


class _Router:
    """Stands in for sys.stdout or sys.stderr; writes to the log of the stage that is printing, if any."""

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


def install() -> None:
    """Route this process's stdout and stderr by stage; again after something else replaced them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, _Router) and stream is not None:
            setattr(sys, name, cast(TextIO, _Router(stream)))


def uninstall() -> None:
    """Give stdout and stderr back."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Router):
            setattr(sys, name, stream._under)
