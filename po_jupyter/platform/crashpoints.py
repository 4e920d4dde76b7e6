"""Crash points: named places in the product where a test lets the process die as `kill -9` would (R2.3).

Each stands where the durable state has just changed, or is about to: before and after every commit, between the
rows of one, around every rename. A point that is not armed costs a call and a look at one bool.

    PO_TESTING=1 PO_CRASHPOINT=store.commit.before:3   the third passing of that point
    PO_TESTING=1 PO_CRASHPOINT=*:7                      the seventh passing of any point
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

ANY = "*"
STATUS = 137  # of a process that died here where there is no SIGKILL: what a shell says after `kill -9`

armed = False
_lock = Lock()
_name = ANY
_remaining = 0
_passed: list[str] | None = None


def crashpoint(name: str) -> None:
    """Die here if this passing of `name` is the one that was armed."""
    if armed:
        _pass(name)


def _pass(name: str) -> None:
    global _remaining
    with _lock:
        if _passed is not None:
            _passed.append(name)
        if _remaining and _name in (ANY, name):
            _remaining -= 1
            if not _remaining:
                die()


def die() -> None:
    """End this process as `kill -9` does: nothing is flushed, closed or undone."""
    if sys.platform != "win32":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(STATUS)


def arm(name: str, k: int) -> None:
    """Die at the `k`-th passing (from 1) of `name`, or of any point (`*`), here or in a forked child."""
    global armed, _name, _remaining
    if k < 1:
        raise ValueError(f"a passing is counted from 1, not {k}")
    _name, _remaining, armed = name, k, True


def disarm() -> None:
    """No point is armed any more."""
    global armed, _remaining, _passed
    armed, _remaining, _passed = False, 0, None


@contextmanager
def passing() -> Iterator[list[str]]:
    """The names of the points that are passed meanwhile, in order."""
    global armed, _passed
    disarm()
    names: list[str] = []
    _passed, armed = names, True
    try:
        yield names
    finally:
        disarm()


def arm_from(environ: Mapping[str, str]) -> None:
    """Arm the point that `PO_CRASHPOINT` names, only beside `PO_TESTING=1`. Raises ValueError unless it is `name:k`."""
    spec = environ.get("PO_CRASHPOINT")
    if spec and environ.get("PO_TESTING") == "1":
        name, colon, k = spec.rpartition(":")
        if not colon or not name or not k.isdigit():
            raise ValueError(f"PO_CRASHPOINT is NAME:K, for example store.commit.before:3, not {spec!r:.80}")
        arm(name, int(k))


arm_from(os.environ)
