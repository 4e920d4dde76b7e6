"""The tiers of the tests (`unit`, `integration`, `acceptance`), and the guard that keeps the lowest one honest.

A test is `unit` as long as nothing says otherwise: a mark of its own (`integration`, `acceptance`, `slow`, `chaos`,
`benchmark`), a fixture that starts a process or a server, or its folder. While a unit test runs, starting a process,
binding or connecting a socket and looking up a host fail it, whether or not the code under test swallows the error.
"""

from __future__ import annotations

import gc
import re
import sys
import threading
from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

from tests.support.paths import TESTS

TIERS = ("unit", "integration", "acceptance")
# Marks of cost: such a test is not in the unit tier whatever else it is.
COSTS = ("slow", "chaos", "benchmark")

# Fixtures that start a process or listen on a port, and the tier of a test that uses one.
FIXTURES = {
    "jupyter": "acceptance",
    "browser": "acceptance",
    "collector": "integration",
    "other_process": "integration",
    "po_orchestrator": "acceptance",
    "po_model_server": "integration",
}
# Folders and files below tests/ in which every test is of one tier.
FOLDERS = {
    "benchmarks": "acceptance",
    "crash": "acceptance",
    "histories": "acceptance",
    "notebooks": "acceptance",
    "ui": "acceptance",
}

# The audit events of Python (docs.python.org/3/library/audit_events.html) that a unit test must not raise.
# `socket.socketpair`, as an event loop has one to wake itself, raises neither of the two of sockets.
FORBIDDEN = {
    "subprocess.Popen": "starts a process",
    "os.exec": "starts a process",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.spawn": "starts a process",
    "os.system": "starts a process",
    "socket.bind": "opens a socket",
    "socket.connect": "opens a socket",
    "socket.sendto": "opens a socket",
    "socket.getaddrinfo": "looks up a host",
    "socket.gethostbyname": "looks up a host",
}

_MODULE_MARK = re.compile(rf"^pytestmark = .*\bmark\.({'|'.join((*TIERS[1:], *COSTS))})\b", re.M)


class NotAUnitTest(BaseException):
    """Raised where a unit test starts a process or uses the network. No `except Exception` swallows it."""


class UnitGuard:
    """Fails what a unit test must not do. An audit hook cannot be removed: one guard serves the whole session."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._active = False
        self._exempt: frozenset[int | None] = frozenset()
        self._installed = False

    def begin(self, exempt: Iterable[int | None] = ()) -> None:
        """Watch from now on, all threads but those with an `exempt` identifier."""
        if not self._installed:
            self._installed = True
            sys.addaudithook(self._audit)
        self.violations = []
        self._exempt = frozenset(exempt)
        self._active = True

    def end(self) -> None:
        """Watch no longer."""
        self._active = False

    def check(self) -> None:
        """Raise NotAUnitTest for what was seen, also if the test went on after it."""
        if self.violations:
            raise NotAUnitTest(self.violations[0])

    def _audit(self, event: str, args: tuple[object, ...]) -> None:
        if not self._active or event not in FORBIDDEN or threading.get_ident() in self._exempt:
            return
        detail = " ".join(repr(arg)[:120] for arg in args[:2])
        message = (
            f"a unit test {FORBIDDEN[event]} ({event} {detail}): mark it `integration` or `acceptance`, "
            "or do without (tests/support/tiers.py)"
        )
        self.violations.append(message)
        raise NotAUnitTest(message)


def tier_of(item: pytest.Item) -> str:
    """The tier of a test: its own mark's, its fixtures', its folder's, else `unit`."""
    for tier in reversed(TIERS):
        if item.get_closest_marker(tier):
            return tier
    tiers = {FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in FIXTURES}
    tiers.add(_folder_tier(item.path))
    if any(item.get_closest_marker(cost) for cost in COSTS):
        tiers.add("integration")
    return max(tiers, key=TIERS.index)


def _folder_tier(path: Path) -> str:
    if not path.is_relative_to(TESTS):
        return "unit"
    return FOLDERS.get((path.relative_to(TESTS).parts or ("",))[0], "unit")


def is_above_unit(path: Path) -> bool:
    """Whether all tests of a folder or module are of a higher tier, told without importing it."""
    if path.suffix == ".py" and path.name.startswith("test_"):
        return _folder_tier(path) != "unit" or _MODULE_MARK.search(path.read_text("utf-8")) is not None
    return path.is_dir() and _folder_tier(path) != "unit"


class TierPlugin:
    """Gives each test the mark of its tier, and watches those of the unit tier.

    Threads that an earlier test of a higher tier left behind are none of a unit test's business: they are exempt,
    unless only unit tests run.
    """

    def __init__(self) -> None:
        self.guard = UnitGuard()
        self._only_unit = False

    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        """With `-m unit`: what has no unit test need not be imported, which takes longer than many a test."""
        return True if config.option.markexpr == "unit" and is_above_unit(collection_path) else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Before `-m` selects."""
        for item in items:
            tier = tier_of(item)
            if not item.get_closest_marker(tier):
                item.add_marker(tier)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """After it."""
        self._only_unit = all(item.get_closest_marker("unit") for item in session.items)
        # The objects of imported modules and of all tests, more than a million, need not be looked through at every
        # collection of garbage: one took half a second, and what a test measures had it in.
        gc.freeze()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch setup, call and teardown."""
        if item.get_closest_marker("unit"):
            own = threading.get_ident()
            others = {t.ident for t in threading.enumerate()} - {own}
            self.guard.begin(() if self._only_unit else others)
        try:
            return (yield)
        finally:
            self.guard.end()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None, None, None]:
        """One report of a violation is enough: what the test raised itself is not raised again at its end."""
        yield from self._report_once()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, None, None]:
        """As for the setup."""
        yield from self._report_once()

    def _report_once(self) -> Generator[None, None, None]:
        try:
            yield
        except NotAUnitTest:
            self.guard.violations.clear()
            raise

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Fail a test that swallowed the error, or whose thread had it."""
        yield
        if item.get_closest_marker("unit"):
            self.guard.check()
