"""Examinations where a fork is missing or unsafe: each in a fresh process, which is watched and ended from here.

One process that has imported everything is kept ready, so that an examination does not wait for that.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from po_jupyter.errors import Unavailable
from po_jupyter.orchestrator.environment.variables import worker_environment
from po_jupyter.orchestrator.examination import child
from po_jupyter.platform import private_file, processes
from po_jupyter.platform.source_root import SOURCE_ROOT

MODULE = "po_jupyter.orchestrator.examination.child"
_LOOK = 0.2  # s between looks at what a process takes


class WatchedExaminations:
    """The processes of one examiner. `ask` blocks: call it in threads, several at once."""

    def __init__(self, interpreter: str, settings_json: str, logs: Path) -> None:
        """Starts none yet; what they write on standard error goes to a file in `logs`."""
        self._interpreter = interpreter
        self._settings = settings_json.encode()
        self._logs = logs
        self._lock = threading.Lock()
        self._ready: subprocess.Popen[bytes] | None = None
        self._at_work: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def warm_up(self) -> None:
        """Have a process ready. Raises Unavailable."""
        with self._lock:
            if self._ready is None and not self._closed:
                self._ready = self._start()

    def ask(self, request: bytes) -> bytes:
        """The answer to a request in JSON; empty when its process took too much, or ended. Raises Unavailable."""
        process = self._take()
        data: bytes | None = len(self._settings).to_bytes(child.LENGTH, "big") + self._settings + request
        deadline = time.monotonic() + child.WALL_SECONDS
        try:
            while True:
                try:
                    answer, _ = process.communicate(data, timeout=_LOOK)
                    return answer if process.returncode == 0 else b""
                except subprocess.TimeoutExpired:
                    data = None  # it is on its way
                if time.monotonic() > deadline or processes.memory_of(process.pid) > child.MEMORY_BYTES:
                    return b""
        finally:
            self._end(process)
            self._at_work.discard(process)
            with suppress(Unavailable):
                self.warm_up()

    def close(self) -> None:
        """End all of them, and with them whatever is being examined."""
        with self._lock:
            self._closed = True
            ready, self._ready = self._ready, None
            at_work = list(self._at_work)
        for process in at_work:
            process.kill()
        if ready is not None:
            self._end(ready)

    def _take(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise Unavailable("the orchestrator is stopping")
            process, self._ready = self._ready, None
            if process is not None and process.poll() is not None:
                self._end(process)
                process = None
            process = process or self._start()
            self._at_work.add(process)
            return process

    def _start(self) -> subprocess.Popen[bytes]:
        environment = worker_environment()
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCE_ROOT, environment.get("PYTHONPATH")]))
        try:
            self._logs.mkdir(mode=private_file.PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            errors = private_file.open_log(self._logs / "examiner.log")
            try:
                command = [self._interpreter, "-P", "-m", MODULE, child.ONCE]
                return processes.start_detached(command, env=environment, errors=errors)
            finally:
                os.close(errors)
        except OSError as error:
            raise Unavailable(f"no process can be started: {error.strerror}") from None

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def request_of(examination: object) -> bytes:
    """An examination as the process reads it."""
    return json.dumps(examination).encode("utf-8", "surrogatepass")
