"""The zygote: the process that workers are forked from, `INTERPRETER -P -m po_jupyter.worker.zygote FD`.

One per Python interpreter. It imports everything that a worker needs once, then forks on demand, so that a run
starts in milliseconds and still in a process of its own. It has one thread and one socket (`FD`, inherited; the
messages of `TO_ZYGOTE` and `FROM_ZYGOTE` in `ipc.messages`), and never runs anybody's code itself.

When the parent's end closes the zygote exits; workers go on, a new orchestrator adopts them.
"""

from __future__ import annotations

import gc
import os
import selectors
import socket
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from po_jupyter.ipc.messages import (
    TO_ZYGOTE,
    ForkFailed,
    Spawn,
    WorkerExited,
    WorkerRequest,
    WorkerSpawned,
    ZygoteHello,
)
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.platform import forking, open_files, private_file, signals

if TYPE_CHECKING:
    from po_jupyter.config import Settings
    from po_jupyter.model.values.json import JsonObject

PROTOCOL = 1
OPEN_FILES = 4096  # the 1,024 of many shells are few: a map may have 1,000 connections open
# Of CPython's allocator (Objects/obmalloc.c, 3.10 to 3.14), in bytes: a pool has blocks of one size behind its header.
# With another allocator `fill_holes` does nothing but take its most.
_POOL = 1 << 14
_POOL_HEADER = 48
_MOST_FILLED = 256 << 10  # of one size
_IN_ROW = 16  # blocks from the first of a pool on: nothing else is in it
_fillers: list[bytes] = []
# Modules whose import would cost a worker milliseconds. `tests/test_module_strings.py` imports each.
PRELOAD = (
    "asyncio",
    "concurrent.futures.thread",
    "structlog",
    "certifi",
    "po_jupyter.worker.main",
    "po_jupyter.store.disk.store",
    "po_jupyter.store.group_commit",
    "po_jupyter.engine.run.executor",
    "po_jupyter.engine.run.session",
    "po_jupyter.engine.python.python_task",
    "po_jupyter.engine.prompts.prompt_task",
    "po_jupyter.engine.maps.live_map",
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
    from po_jupyter.platform.lean_imports import import_structlog
    from po_jupyter.telemetry import tracing

    import_structlog()
    json_schema.load()
    if tracing.preload():
        importlib.import_module("po_jupyter.engine.lifecycle.trace_observer")
    for name in PRELOAD:
        importlib.import_module(name)
    from po_jupyter.worker.warmup import warm_up

    warm_up()


class Zygote:
    """The loop of the process: forks a worker for each `Spawn`, and tells the parent of each that ends."""

    def __init__(self, parent: socket.socket) -> None:
        """Takes over the signals of this process; `parent` is the orchestrator's socket."""
        self._parent = parent
        self._buffer = b""
        self._children: set[int] = set()
        self._settings_json: JsonObject | None = None  # as they came last ...
        self._settings: Settings | None = None  # ... and read
        self._wakeup, wakeup_end = socket.socketpair()
        for end in (self._wakeup, wakeup_end):
            end.setblocking(False)
        self._wakeup_end = wakeup_end
        forking.wake_for_children(wakeup_end.fileno())
        signals.ignore_interrupts()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._parent, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def serve(self) -> None:
        """Answer until the parent's end closes."""
        self._send(ZygoteHello(version(), PROTOCOL, sys.version.split()[0], os.getpid()))
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wakeup:
                    with suppress(BlockingIOError):
                        self._wakeup.recv(4096)
                    self._reap()
                elif not self._read():
                    return

    def _send(self, message: IpcMessage) -> None:
        with suppress(OSError):
            self._parent.sendall(message.encode())

    def _read(self) -> bool:
        try:
            data = self._parent.recv(1 << 16)
        except OSError:
            return False
        if not data:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = TO_ZYGOTE.decode(line)
            if isinstance(message, Spawn):
                self._spawn(message.id, WorkerRequest.from_json(message.request))
        return True

    def _spawn(self, id: int, request: WorkerRequest) -> None:
        from po_jupyter.platform.processes import created

        settings = self._read_settings(request.settings)
        try:
            pid = forking.fork_process()
        except OSError as error:
            self._send(ForkFailed(id, f"cannot fork: {error.strerror}"))
            return
        if pid == 0:
            self._be_child(request, settings)
        self._children.add(pid)
        self._send(WorkerSpawned(id, pid, created(pid)))

    def _read_settings(self, settings: JsonObject) -> Settings:
        """The settings of a request, read here, once for all that follow, and not in each worker."""
        from po_jupyter.config import Settings
        from po_jupyter.telemetry import logging

        if self._settings is None or settings != self._settings_json:
            self._settings_json, self._settings = settings, Settings.model_validate(settings)
            logging.preconfigure(self._settings)
        return self._settings

    def _be_child(self, request: WorkerRequest, settings: Settings) -> NoReturn:
        status = 1
        try:
            self._release()
            forking.lead_session()
            status = become_worker(request, settings, parent=os.getppid())
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _release(self) -> None:
        """In the child: give up everything that is the zygote's."""
        forking.reset_signals()
        self._selector.close()
        for end in (self._parent, self._wakeup, self._wakeup_end):
            end.close()

    def _reap(self) -> None:
        for pid in list(self._children):
            try:
                status = forking.reap(pid)
            except ChildProcessError:
                self._children.discard(pid)
                continue
            if status is not None:
                self._children.discard(pid)
                self._send(WorkerExited(pid, status))


def become_worker(request: WorkerRequest, settings: Settings, *, parent: int) -> int:
    """Turn this fresh process, which leads a session, into the worker of a run (log, directory, environment) and work
    the run off; the exit status. `parent` is the process that looks after it."""
    private_file.keep_private()
    log = request.log
    os.makedirs(os.path.dirname(log), mode=private_file.PRIVATE_DIRECTORY, exist_ok=True)
    output = private_file.open_log(log)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for fd in (null, output):
        if fd > 2:
            os.close(fd)
    # Most of it is what the zygote has already, and what is not written does not have to be copied. In plain
    # loops: set operations ask abstract base classes, whose first answers in a process cost a millisecond.
    env = request.env
    for name in [name for name in os.environ if name not in env]:
        del os.environ[name]
    for name in env:
        if os.environ.get(name) != env[name]:
            os.environ[name] = env[name]
    import time

    if hasattr(time, "tzset"):
        time.tzset()
    if request.cwd:
        os.chdir(request.cwd)
        # Last: a file there is no stand-in for a module of Python's or of a library that is imported later.
        sys.path.append(request.cwd)
    from po_jupyter.worker import main as worker

    try:
        return worker.main(request, settings)
    finally:
        if os.getppid() != parent:  # it ended before us: nobody else ends what user code left running
            from po_jupyter.platform.processes import end_own_leftovers

            end_own_leftovers()


def fill_holes() -> None:
    """Take the free blocks between objects, so that a fork's own objects lie side by side on pages of their own.

    What imports leave behind is full of holes, a megabyte in all. A fork that fills them copies a page of others'
    objects for nearly each of its own: 2,800 page faults of a small run instead of 2,340.
    """
    for size in range(
        48, 513, 16
    ):  # of blocks; below 48 there is nothing to fill them with that allocates nothing else
        in_row, last, left = 0, 0, _MOST_FILLED
        while in_row < _IN_ROW and left > 0:
            block = bytes(size - 33)  # 33: the head of a bytes object, and its closing zero
            _fillers.append(block)
            left -= size
            address = id(block)
            in_row = in_row + 1 if in_row and address - last == size else int(address % _POOL == _POOL_HEADER)
            last = address


def main() -> None:
    """Preload, freeze, serve."""
    open_files.raise_limit(OPEN_FILES)
    parent = socket.socket(fileno=int(sys.argv[1]))
    # A collection after the fork would touch every preloaded object and copy its page.
    gc.disable()
    preload()
    # Not collected before: that looks at 150,000 objects for 70 ms to find 0.1 MB.
    gc.freeze()
    fill_holes()
    gc.enable()
    gc.set_threshold(20_000, 20, 50)  # a short run ends before the first collection
    Zygote(parent).serve()
    os._exit(0)


if __name__ == "__main__":
    main()
