"""Who waits for what: an owner's own runs by name, and how many of others wait."""

from __future__ import annotations

import asyncio

import pytest

from po_jupyter.ipc.messages import CallWait
from po_jupyter.orchestrator.submission.request import check_submission, new_run, parse_submission
from po_jupyter.orchestrator.views.waits import RunWaits, WaitReports
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.orchestrator import body, task


class Waits:
    """A dispatcher with runs that wait."""

    def __init__(self, calls: list[CallWait], store: dict[str, str], queue: dict[str, int]) -> None:
        self.found: RunWaits = {"calls": calls, "store": store, "queue": queue}

    def waits(self) -> RunWaits:
        return self.found

    def rate_limits(self) -> dict[str, object]:
        return {"openai": {"requests": 5}}


def create(store: MemoryStore, name: str, owner: str) -> str:
    submitted = body(task("one"))
    submitted["seed"]["name"] = name
    submission = parse_submission(submitted)
    pipeline, seed = check_submission(submission, lambda name: pytest.fail(name), code_allowed=True)
    head, _ = store.create_run(new_run(submission, pipeline, seed, owner))
    return head["run"]


def wait(run: str) -> CallWait:
    return {
        "run": run,
        "model": "openai:x",
        "calls": 3,
        "seconds": 4.0,
        "waited": 9.0,
        "reason": "openai (requests)",
    }


async def test_the_waits_of_an_owner() -> None:
    """B14, P10: of somebody else's run nothing is told but that one waits."""
    store = MemoryStore()
    mine, held, queued = (create(store, name, "me") for name in ("tickets", "letters", "labels"))
    theirs = create(store, "secret", "you")
    source = Waits(
        [wait(mine), wait(theirs), wait("0" * 22)], {held: "the disk is full"}, {theirs: 1, queued: 2}
    )
    reports = WaitReports(store, source, asyncio.to_thread)
    report = await reports.report("me")
    assert report["calls"] == [{**wait(mine), "name": "tickets"}]
    assert report["store"] == [{"run": held, "name": "letters", "reason": "the disk is full"}]
    assert report["queue"] == [{"run": queued, "name": "labels", "position": 2}]
    assert report["rates"] == {"openai": {"requests": 5}}
    assert "secret" not in str(report)
    assert theirs not in str(report)
    assert report["others"] == 1
    everybody = await reports.report(None)
    assert [one["name"] for one in everybody["queue"]] == ["secret", "labels"]
    assert everybody["others"] == 0


async def test_no_more_than_a_page_of_each_kind() -> None:
    store = MemoryStore()
    runs = [create(store, f"run {n}", "me") for n in range(120)]
    source = Waits(
        [wait(run) for run in runs], dict.fromkeys(runs, "full"), {run: n for n, run in enumerate(runs, 1)}
    )
    report = await WaitReports(store, source, asyncio.to_thread).report("me")
    assert [len(report["calls"]), len(report["store"]), len(report["queue"])] == [100, 100, 100]
