"""The listener of a store in PostgreSQL: a connection and a thread of their own that hear which runs changed."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from threading import Lock, Thread
from typing import Any

import psycopg
import structlog
from psycopg import Connection, sql

log = structlog.get_logger(__name__)

_FIRST_PAUSE = 0.1  # s before the connection is made again; doubled up to
_LAST_PAUSE = 5.0
_END = 1.0  # s that closing waits for the thread: one that connects, or whose line is cut, ends itself later


def channel_of(schema: str) -> str:
    """The channel of the store in a schema: channels are names of the whole database, and short."""
    return f"po_{blake2b(schema.encode(), digest_size=12).hexdigest()}"


class ChangeListener:
    """Calls who listens as `ListeningStore.listen` says. One that raises is logged, and called at the next change."""

    def __init__(self, conninfo: str, channel: str, where: str) -> None:
        """Nothing is connected before the first `add`; `where` names the store to people."""
        self._conninfo = conninfo
        self._channel = channel
        self._where = where
        self._callbacks: list[Callable[[str], None]] = []
        self._new: list[Callable[[str], None]] = []  # not called yet
        self._lock = Lock()
        self._thread: Thread | None = None
        self._wake: socket.socket | None = None  # a byte: somebody is new; closed: the thread ends
        self._pid = os.getpid()

    def add(self, on_change: Callable[[str], None]) -> Callable[[], None]:
        """Call it from now on; returns what ends that."""
        with self._lock:
            self._forget_parent()
            self._new.append(on_change)
            if self._wake is None:
                self._wake, other = socket.socketpair()
                self._thread = Thread(target=self._listen, args=(other,), name="po-store-listen", daemon=True)
                self._thread.start()
            self._wake.send(b"+")

        def end() -> None:
            with self._lock:
                self._new = [callback for callback in self._new if callback is not on_change]
                self._callbacks = [callback for callback in self._callbacks if callback is not on_change]
                idle = not self._new and not self._callbacks
            if idle:
                self.close()

        return end

    def close(self) -> None:
        """Call nobody any more, and end the thread, which may take longer than this call."""
        with self._lock:
            self._forget_parent()
            self._callbacks, self._new = [], []
            thread, self._thread = self._thread, None
            wake, self._wake = self._wake, None
        if wake is not None:
            wake.close()
        if thread is not None:
            with suppress(RuntimeError):  # ended by a callback: a thread cannot wait for itself
                thread.join(_END)

    def _forget_parent(self) -> None:
        """In a forked child: the thread and the connection are its parent's."""
        if self._pid != os.getpid():
            self._pid, self._thread, self._callbacks, self._new = os.getpid(), None, [], []
            if self._wake is not None:
                self._wake.close()
                self._wake = None

    # -- in the thread --------------------------------------------------------------------------
    def _listen(self, wake: socket.socket) -> None:
        pause = _FIRST_PAUSE
        with wake:
            while True:
                try:
                    with self._connect() as connection:
                        pause = _FIRST_PAUSE
                        self._greet(everybody=True)
                        if self._follow(connection, wake):
                            return
                except psycopg.Error as error:
                    log.info("the store does not say what changes", store=self._where, error=str(error).strip())
                except Exception:  # without this thread nobody would hear of a change again
                    log.exception("unexpected while listening to the store", store=self._where)
                if self._is_closed(wake, pause):
                    return
                pause = min(2 * pause, _LAST_PAUSE)

    def _is_closed(self, wake: socket.socket, within: float) -> bool:
        """True when the listener is closed within so many seconds; who is new meanwhile is greeted once connected."""
        until = time.monotonic() + within
        while (left := until - time.monotonic()) > 0:
            wake.settimeout(left)
            with suppress(TimeoutError):
                if not wake.recv(64):
                    return True
        return False

    def _connect(self) -> Connection[Any]:
        connection = psycopg.connect(
            self._conninfo, autocommit=True, application_name="po_jupyter", connect_timeout=5,
            # It only reads: without these it would not find out that the other end of a cut line is gone.
            keepalives_idle=2, keepalives_interval=1, keepalives_count=3,
        )  # fmt: skip
        try:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
        except BaseException:
            connection.close()
            raise
        return connection

    def _follow(self, connection: Connection[Any], wake: socket.socket) -> bool:
        """Call for what arrives; True when the listener was closed. Raises psycopg.Error when the line is cut."""
        with selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ)
            selector.register(connection.fileno(), selectors.EVENT_READ)
            while True:
                # What came together is one: a dict keeps the order, and each run once.
                runs: dict[str, None] = {}
                while (notification := connection.pgconn.notifies()) is not None:
                    runs[notification.extra.decode(errors="replace")] = None
                for run in runs:
                    self._call(run, self._callbacks)
                ready = {key.fileobj for key, _ in selector.select()}
                if wake in ready:
                    if not wake.recv(64):
                        return True
                    self._greet(everybody=False)
                connection.pgconn.consume_input()

    def _greet(self, *, everybody: bool) -> None:
        """Say that anything may have changed: to who is new, or to all."""
        with self._lock:
            new, self._new = self._new, []
            self._callbacks = [*self._callbacks, *new]
            greeted = self._callbacks if everybody else new
        self._call("", greeted)

    def _call(self, run: str, callbacks: Sequence[Callable[[str], None]]) -> None:
        for callback in callbacks:
            try:
                callback(run)
            except Exception:
                log.exception("a listener of the store failed", run=run)
