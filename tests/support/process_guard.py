"""The guard of processes: what a test module started with `subprocess.Popen` has ended, and was waited for, with it.

One that is left behind takes its port and memory for the rest of the session, and Python prints `ResourceWarning:
subprocess NNN is still running` at its end, when nobody can tell whose it was.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Generator
from typing import Any

import pytest

_GRACE = 5.0  # seconds for a process that was told to end


class ProcessGuard:
    """Knows each process that was started since `begin`, and who started it."""

    def __init__(self) -> None:
        self._started: list[tuple[subprocess.Popen[Any], str]] = []
        self._whose = ""
        self._watching = True

    def install(self) -> Callable[[], None]:
        """Watch `subprocess.Popen` until the returned function is called."""
        start = subprocess.Popen.__init__
        guard = self

        def watched(process: subprocess.Popen[Any], *args: Any, **options: Any) -> None:
            start(process, *args, **options)
            if guard._watching:
                guard._started.append((process, guard._whose))

        def uninstall() -> None:
            subprocess.Popen.__init__ = start  # type: ignore[method-assign]

        subprocess.Popen.__init__ = watched  # type: ignore[assignment,method-assign]
        return uninstall

    def begin(self, whose: str) -> None:
        """What is started from now on is that of the test `whose`."""
        self._whose = whose
        self._started = [(process, owner) for process, owner in self._started if process.returncode is None]

    def left(self) -> list[str]:
        """What still runs, with whose it is; it is ended."""
        found = []
        for process, owner in self._started:
            try:
                process.wait(_GRACE)  # `po stop` returns when nothing answers any more, a moment before the end
            except subprocess.TimeoutExpired:
                found.append(f"{process.pid}: {_command(process)} of {owner}")
                process.kill()
                process.wait()
        self._started.clear()
        return found

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """What a fixture of the session starts lives on after the module."""
        if fixturedef.scope != "session":
            return (yield)
        self._watching = False
        try:
            return (yield)
        finally:
            self._watching = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Before its fixtures."""
        self.begin(item.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, None, None]:
        """After the fixtures of the module."""
        yield
        if (nextitem is None or nextitem.path != item.path) and (left := self.left()):
            pytest.fail(
                "processes were left running: end them and wait for them\n" + "\n".join(left), pytrace=False
            )


def _command(process: subprocess.Popen[Any]) -> str:
    args = process.args
    words = [args] if isinstance(args, str | bytes | os.PathLike) else list(args)
    return " ".join(os.fsdecode(word) for word in words)[:200]
