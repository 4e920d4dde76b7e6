"""What all tests share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.support.process_guard import ProcessGuard
from tests.support.tiers import TierPlugin

pytest_plugins = ["po_jupyter.testing.pytest_plugin"]

# Before anything imports them: their assertions are explained like those of any test.
pytest.register_assert_rewrite("po_jupyter.testing.conformance")

# A shell starts what it puts into the background with interrupts ignored, and everything that tests start inherits
# that. Tests of interrupts mean what a person gets in the foreground.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(TierPlugin(), "po-tiers")
    if (start := os.environ.get("PO_WORKER_START")) is not None:
        from tests.support.start_mode import set_worker_start

        set_worker_start(start)
    guard = ProcessGuard()
    config.pluginmanager.register(guard, "po-processes")
    config.add_cleanup(guard.install())


@pytest.fixture(autouse=True)
def _no_worker_outlives_its_test() -> Iterator[None]:
    yield
    if (support := sys.modules.get("tests.support.orchestrator")) is not None:
        support.end_all_workers()


STRICT = os.environ.get("PO_TEST_STRICT") == "1"


def _refuse_skip(report: Any) -> None:
    """On CI a part that is missing is a failure: a test that did not run has kept no promise.

    A skip that belongs to the platform says so: its reason starts with "platform:". A case of a published suite
    that means nothing for what is tested (an API without images, a store of one process) starts with "inapplicable:".
    """
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(("platform:", "inapplicable:")):
        report.outcome = "failed"
        report.longrepr = f"{reason}\n(PO_TEST_STRICT=1: a skipped test is a failed one)"


if STRICT:

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport() -> Generator[None, Any, Any]:
        report = yield
        _refuse_skip(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report() -> Generator[None, Any, Any]:
        report = yield
        _refuse_skip(report)
        return report
