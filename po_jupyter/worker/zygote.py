"""The process that workers are forked from: `INTERPRETER -P -m po_jupyter.worker.zygote FD`.

One per Python interpreter. It imports everything that a worker needs once, then forks on demand, so that a run
starts in milliseconds and still in a process of its own. It has one thread and one socket (`FD`, inherited;
JSON lines), and never runs anybody's code itself.

    parent → zygote    spawn {id, request}
    zygote → parent    hello {version, protocol, python, pid}   spawned {id, pid, created}   failed {id, error}
                       exited {pid, status}        (status as `os.waitstatus_to_exitcode` gives it)

When the parent's end closes the zygote exits; workers go on, a new orchestrator adopts them.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any

PROTOCOL = 1
_FILES = 4096
# Names of modules whose import would cost a worker milliseconds; one that is missing costs nothing here.
_PRELOAD = (
    "asyncio",
    "concurrent.futures.thread",
    "structlog",
    "po_jupyter.worker.main",
    "po_jupyter.store.disk.store",
    "po_jupyter.store.group_commit",
    "po_jupyter.engine.run.executor",
    "po_jupyter.engine.run.session",
    "po_jupyter.engine.python.python_task",
    "po_jupyter.engine.prompts.prompt_task",
    "po_jupyter.engine.maps.map",
    "po_jupyter.llm.providers.registry",
    "po_jupyter.llm.providers.openai.client",
    "po_jupyter.llm.structured.parsing",
    "po_jupyter.llm.money.pricing",
)


def version() -> str:
    """The version of po_jupyter in this interpreter."""
    import po_jupyter

    return str(getattr(po_jupyter, "__version__", "0"))


def preload() -> None:
    """Import what workers need, and use it once where first use is slow."""
    import importlib

    from po_jupyter.model.pipeline import json_schema

    json_schema.load()
    for name in _PRELOAD:
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)
    from po_jupyter.worker.warmup import warm_up

    warm_up()


class Zygote:
    """The loop of the process."""

    def __init__(self, parent: socket.socket) -> None:
        self._parent = parent
        self._buffer = b""
        self._children: set[int] = set()
        self._settings: tuple[Any, Any] = (None, None)  # as they came last, and read
        self._wakeup, wakeup_end = socket.socketpair()
        for end in (self._wakeup, wakeup_end):
            end.setblocking(False)
        self._wakeup_end = wakeup_end
        signal.set_wakeup_fd(wakeup_end.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the server's terminal is the server's business
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._parent, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def serve(self) -> None:
        """Answer until the parent's end closes."""
        self._say(
            op="hello", version=version(), protocol=PROTOCOL, python=sys.version.split()[0], pid=os.getpid()
        )
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wakeup:
                    with suppress(BlockingIOError):
                        self._wakeup.recv(4096)
                    self._reap()
                elif not self._read():
                    return

    def _say(self, **message: Any) -> None:
        with suppress(OSError):
            self._parent.sendall(json.dumps(message).encode() + b"\n")

    def _read(self) -> bool:
        try:
            data = self._parent.recv(1 << 16)
        except OSError:
            return False
        if not data:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["op"] == "spawn":
                self._spawn(message)
        return True

    def _spawn(self, message: dict[str, Any]) -> None:
        from po_jupyter.config import Settings
        from po_jupyter.platform.processes import created
        from po_jupyter.telemetry import logging

        request = message["request"]
        if request["settings"] != self._settings[0]:
            # Read here, once for all that follow, and not in each of them.
            settings = Settings.model_validate(request["settings"])
            self._settings = request["settings"], settings
            logging.preconfigure(settings)
        try:
            pid = os.fork()
        except OSError as error:
            self._say(op="failed", id=message["id"], error=f"cannot fork: {error.strerror}")
            return
        if pid == 0:
            status = 1
            try:
                self._leave()
                status = become_worker(request, self._settings[1])
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                with suppress(Exception):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(status)
        self._children.add(pid)
        self._say(op="spawned", id=message["id"], pid=pid, created=created(pid))

    def _leave(self) -> None:
        """In the child: give up everything that is the zygote's."""
        signal.set_wakeup_fd(-1)
        for name in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)
        self._selector.close()
        for end in (self._parent, self._wakeup, self._wakeup_end):
            end.close()

    def _reap(self) -> None:
        for pid in list(self._children):
            if hasattr(os, "waitid"):
                # Looked at before it is reaped: as long as it is a zombie its number is nobody else's, and what
                # user code left running in its group can be ended without hitting a stranger.
                try:
                    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                        continue
                except ChildProcessError:
                    self._children.discard(pid)
                    continue
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._children.discard(pid)
                self._say(op="exited", pid=pid, status=os.waitstatus_to_exitcode(status))


def become_worker(request: dict[str, Any], settings: Any) -> int:
    """Turn this fresh child into the worker of a run: own session, log, directory, environment; its exit
    status."""
    os.setsid()
    os.umask(0o077)
    log = request["log"]
    os.makedirs(os.path.dirname(log), mode=0o700, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for fd in (null, output):
        if fd > 2:
            os.close(fd)
    # Most of it is what the zygote has already, and what is not written does not have to be copied. In plain
    # loops: set operations ask abstract base classes, whose first answers in a process cost a millisecond.
    env = request["env"]
    for name in [name for name in os.environ if name not in env]:
        del os.environ[name]
    for name in env:
        if os.environ.get(name) != env[name]:
            os.environ[name] = env[name]
    import time

    if hasattr(time, "tzset"):
        time.tzset()
    if request.get("cwd"):
        os.chdir(request["cwd"])
        sys.path.insert(0, request["cwd"])
    from po_jupyter.worker import main as worker

    return worker.main(request, settings)


def allow_files() -> None:
    """Let workers open more files than the 1,024 of many shells: a map may have 1,000 connections open."""
    with suppress(ImportError, OSError, ValueError):  # no such module on Windows
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    """Preload, freeze, serve."""
    allow_files()
    parent = socket.socket(fileno=int(sys.argv[1]))
    # A collection after the fork would touch every preloaded object and copy its page.
    gc.disable()
    preload()
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 50)  # a short run ends before the first collection
    Zygote(parent).serve()
    os._exit(0)


if __name__ == "__main__":
    main()
