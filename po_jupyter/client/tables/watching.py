"""Watching of runs that a call waits for: the face that draws them, where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from po_jupyter.client.run import Run

Watcher: TypeAlias = Callable[["Run", float | None], None]
_watchers: list[Watcher] = []


def set_watcher(watcher: Watcher | None) -> None:
    """Have `watcher(run, timeout)` draw each run until it ended, or until TimeoutError; None: they are waited for
    unseen."""
    _watchers[:] = [] if watcher is None else [watcher]


def watch(run: Run, timeout: float | None) -> None:
    """Block until the run ended, drawn if there is a face. KeyboardInterrupt and TimeoutError end the waiting only."""
    if _watchers:
        _watchers[0](run, timeout)
    else:
        run.wait(timeout)
