"""Redirection of descriptors 1 and 2: what C libraries and subprocesses write goes to the running stage's log (B5).

Descriptors belong to the process, so this is exact only while one stage runs in it. While several do, their
output goes to one `output.log`, which says so; `capture` separates what Python prints all the same. Off until
`own()` is called: a worker process owns its descriptors, a test or a kernel does not.
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
from po_jupyter.platform import private_file

SHARED = "output.log"
_NOTE = "[several stages ran at the same time; this is what their libraries and subprocesses wrote]\n"


class StdioRedirect:
    """Descriptors 1 and 2 of this process, redirected to the log of the stage that runs.

    Use it from one thread, except `attach`.
    """

    def __init__(self) -> None:
        """Nothing is redirected before `own`."""
        self._own: tuple[int, int] | None = None
        self._running: dict[object, tuple[Path, bool]] = {}
        self._target: Path | None = None
        self._live_file: LiveLogFile | None = None
        self._lock = Lock()

    def own(self, run_dir: Path) -> None:
        """Redirect from now on; while no stage of the run runs, the descriptors lead where they lead now."""
        if self._own is None:
            self._own = (os.dup(1), os.dup(2))
            self._live_file = LiveLogFile(run_dir)

    def disown(self) -> None:
        """Stop redirecting, and give the descriptors back."""
        self.release()
        if self._own is not None:
            for fd in self._own:
                os.close(fd)
        self._own = self._live_file = None

    @property
    def owned(self) -> bool:
        """True after `own`."""
        return self._own is not None

    def enter(self, stage: object, log: Path, *, alone: bool) -> None:
        """Note that `stage`, which logs to `log`, begins. `alone` is false for one of many rows, which share a file."""
        if self._own is not None:
            self._running[stage] = (log, alone)
            self._redirect(self._target_of_stages())

    def leave(self, stage: object) -> None:
        """Note that `stage` ended."""
        if self._own is None:
            return
        _, alone = self._running.pop(stage, (None, True))
        # Rows come and go thousands of times: their file stays in place until something else runs.
        if self._running or alone:
            self._redirect(self._target_of_stages())

    def attach(self, log: Path) -> None:
        """Lead the descriptors to `log` itself: Python is about to write to it, and the order of writing is kept."""
        with self._lock:
            if self._live_file is not None and self._target == log:
                with contextlib.suppress(OSError):  # the next write raises what is wrong
                    self._flush_c()
                    self._live_file.move_to(log, empty=True)

    def release(self) -> None:
        """Forget every stage and lead the descriptors back."""
        if self._live_file is not None:
            self._running.clear()
            self._redirect(None)
            self._live_file.close()

    def _target_of_stages(self) -> Path | None:
        logs = list(self._running.values())
        if not logs:
            return None
        if len(logs) == 1 and logs[0][1]:
            return logs[0][0]
        directories = {path.parent for path, _ in logs}
        common = directories.pop() if len(directories) == 1 else logs[0][0].parent.parent
        return common / SHARED

    def _redirect(self, target: Path | None) -> None:
        if target == self._target or self._own is None or self._live_file is None:
            return
        self._flush()
        with self._lock:
            before, self._target = self._target, target
            if before is not None:
                self._move_to_log(self._live_file, before)
            try:
                self._lead_to(self._live_file, target)
            except OSError:  # a full disk: the worker's own log takes it
                self._target = None
                os.dup2(self._own[0], 1)
                os.dup2(self._own[1], 2)

    def _lead_to(self, live_file: LiveLogFile, target: Path | None) -> None:
        assert self._own is not None
        if target is None:
            os.dup2(self._own[0], 1)
            os.dup2(self._own[1], 2)
        elif target.name == SHARED or target.exists():
            target.parent.mkdir(parents=True, exist_ok=True, mode=private_file.PRIVATE_DIRECTORY)
            fd = private_file.open_log(target)
            try:
                if target.name == SHARED and os.fstat(fd).st_size == 0:
                    os.write(fd, _NOTE.encode())
                _lead(fd)
            finally:
                os.close(fd)
        else:
            _lead(live_file.open(target))

    @staticmethod
    def _move_to_log(live_file: LiveLogFile, log: Path) -> None:
        """Make what was written the log `log`: the descriptors lead elsewhere in a moment."""
        if log.name == SHARED:
            _drop_empty(log)
            return
        with contextlib.suppress(OSError):  # then it stays where it is, and is found there
            live_file.move_to(log)

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


stdio_redirect = StdioRedirect()  # of this process
