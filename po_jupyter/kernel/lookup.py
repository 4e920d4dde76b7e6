"""Names that the orchestrator knows, looked up in the background: Tab does not wait for a network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

PATIENCE = 0.1  # s that one look-up is waited for
_FRESH = 20.0  # s


class Lookup:
    """The newest answer of `ask`, which may block and raise; it is called in a thread, one at a time."""

    def __init__(self, ask: Callable[[], Sequence[str]]) -> None:
        """Asks nothing before the first `names`."""
        self._ask = ask
        self._names: tuple[str, ...] = ()
        self._answered = 0.0  # time.monotonic() of the newest answer
        self._lock = threading.Lock()
        self._running: threading.Thread | None = None

    def names(self) -> tuple[str, ...]:
        """The names, at most `PATIENCE` late; those of the last answer, or none, when this one takes longer."""
        with self._lock:
            if self._answered and time.monotonic() - self._answered < _FRESH:
                return self._names
            if self._running is None or not self._running.is_alive():
                self._running = threading.Thread(target=self._refresh, name="po look-up", daemon=True)
                self._running.start()
            running = self._running
        running.join(PATIENCE)
        return self._names

    def _refresh(self) -> None:
        with suppress(Exception):  # no names: completion is no place for errors
            self._names = tuple(self._ask())
            self._answered = time.monotonic()
