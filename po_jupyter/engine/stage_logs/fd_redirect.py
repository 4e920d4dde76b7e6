"""What C libraries and subprocesses write to descriptors 1 and 2 goes to the log of the stage that runs (B5).

Descriptors belong to the process, so this is exact only while one stage runs in it. While several do, their
output goes to one `output.log`, which says so; what Python prints is told apart by `capture` all the same. Off
until `own()` is called: a worker process owns its descriptors, a test or a kernel does not.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from functools import cache
from pathlib import Path
from threading import Lock

from po_jupyter.engine.stage_logs.live_file import LiveLogFile

SHARED = "output.log"
_NOTE = "[several stages ran at the same time; this is what their libraries and subprocesses wrote]\n"


class StdioRedirect:
    """Descriptors 1 and 2 of this process, aimed at the log of whoever runs. Use from one thread, but for
    `printed`."""

    def __init__(self) -> None:
        self._own: tuple[int, int] | None = None
        self._running: dict[object, tuple[Path, bool]] = {}
        self._target: Path | None = None
        self._spool: LiveLogFile | None = None
        self._lock = Lock()

    def own(self, run_dir: Path) -> None:
        """From now on; where they lead now is where they lead while no stage of that run does."""
        if self._own is None:
            self._own = (os.dup(1), os.dup(2))
            self._spool = LiveLogFile(run_dir)

    def disown(self) -> None:
        """Give them back: not any more."""
        self.release()
        if self._own is not None:
            for fd in self._own:
                os.close(fd)
        self._own = self._spool = None

    @property
    def owned(self) -> bool:
        """Whether `own` was called."""
        return self._own is not None

    def enter(self, who: object, log: Path, *, alone: bool) -> None:
        """A stage begins that logs to `log`. Not `alone`: it is one of many rows, which share a file."""
        if self._own is not None:
            self._running[who] = (log, alone)
            self._aim(self._wanted())

    def leave(self, who: object) -> None:
        """The stage ended."""
        if self._own is None:
            return
        _, alone = self._running.pop(who, (None, True))
        # Rows come and go thousands of times: their file stays in place until something else runs.
        if self._running or alone:
            self._aim(self._wanted())

    def printed(self, log: Path) -> None:
        """Python is about to write to `log`: have what others write there too, in the order of writing."""
        with self._lock:
            if self._spool is not None and self._target == log:
                with contextlib.suppress(OSError):  # whoever writes next says what is wrong
                    self._flush_c()
                    self._spool.keep(log, empty=True)

    def release(self) -> None:
        """Nobody runs any more."""
        if self._spool is not None:
            self._running.clear()
            self._aim(None)
            self._spool.close()

    def _wanted(self) -> Path | None:
        logs = list(self._running.values())
        if not logs:
            return None
        if len(logs) == 1 and logs[0][1]:
            return logs[0][0]
        directories = {path.parent for path, _ in logs}
        common = directories.pop() if len(directories) == 1 else logs[0][0].parent.parent
        return common / SHARED

    def _aim(self, target: Path | None) -> None:
        if target == self._target or self._own is None or self._spool is None:
            return
        self._flush()
        with self._lock:
            before, self._target = self._target, target
            if before is not None:
                self._kept(self._spool, before)
            try:
                self._lead(self._spool, target)
            except OSError:  # a full disk: the worker's own log takes it
                self._target = None
                os.dup2(self._own[0], 1)
                os.dup2(self._own[1], 2)

    def _lead(self, spool: LiveLogFile, target: Path | None) -> None:
        assert self._own is not None
        if target is None:
            os.dup2(self._own[0], 1)
            os.dup2(self._own[1], 2)
        elif target.name == SHARED or target.exists():
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
            fd = os.open(target, flags, 0o600)
            try:
                if target.name == SHARED and os.fstat(fd).st_size == 0:
                    os.write(fd, _NOTE.encode())
                _lead(fd)
            finally:
                os.close(fd)
        else:
            _lead(spool.open(target))

    @staticmethod
    def _kept(spool: LiveLogFile, log: Path) -> None:
        """They lead elsewhere in a moment: what was written becomes `log`."""
        if log.name == SHARED:
            _drop_empty(log)
            return
        with contextlib.suppress(OSError):  # then it stays where it is, and is found there
            spool.keep(log)

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        self._flush_c()

    def _flush_c(self) -> None:
        # C buffers what goes to a file: it belongs to the stage that wrote it.
        libc = c_library()
        if libc is not None:
            libc.fflush(None)


@cache
def c_library() -> ctypes.CDLL | None:
    """The C library that this process uses; None on Windows, where none is the one."""
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None


def _lead(fd: int) -> None:
    os.dup2(fd, 1)
    os.dup2(fd, 2)


def _drop_empty(path: Path) -> None:
    """Remove a shared log that nothing was written to."""
    with contextlib.suppress(OSError):
        if path.stat().st_size == len(_NOTE):
            path.unlink()


stdio_redirect = StdioRedirect()  # those of this process
