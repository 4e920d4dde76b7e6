"""Finding runs: by id, by a unique end of it, never somebody else's; with what they wait for."""

from __future__ import annotations

import asyncio

import pytest

from po_jupyter.errors import Conflict, NotFound
from po_jupyter.orchestrator.submission.request import check_submission, new_run, parse_submission
from po_jupyter.orchestrator.views import queries
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.orchestrator import body, task


class Waiting:
    """As a dispatcher says it."""

    def __init__(self) -> None:
        self.positions: dict[str, int] = {}
        self.reasons: dict[str, str] = {}

    def position(self, run: str) -> int | None:
        return self.positions.get(run)

    def waiting_reason(self, run: str) -> str | None:
        return self.reasons.get(run)


class Desk:
    """Queries over a store in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.waiting = Waiting()
        self.runs = RunQueries(self.store, RunProjections(self.store), self.waiting, asyncio.to_thread)

    def create(self, owner: str = "a", run: str = "", parent: str | None = None) -> str:
        submission = parse_submission(body(task("one")))
        pipeline, seed = check_submission(submission, lambda name: pytest.fail(name), code_allowed=True)
        new = new_run(submission, pipeline, seed, owner)._replace(parent=parent)
        head, _ = self.store.create_run(new._replace(run=run) if run else new)
        return head["run"]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_unique_end_of_an_id_will_do(desk: Desk) -> None:
    run = desk.create(run="0" * 16 + "abcdef")
    assert (await desk.runs.get("abcdef", "a")).id == run
    desk.create(run="0" * 15 + "1abcdef")
    with pytest.raises(Conflict, match="2 runs end with abcdef"):
        await desk.runs.get("abcdef", "a")
    for wrong in ("def", "zzzz", "", "0" * 30):
        with pytest.raises(NotFound):
            await desk.runs.get(wrong, "a")


async def test_a_run_is_found_behind_the_child_runs_of_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_NEWEST", 5)
    run = desk.create(run="0" * 16 + "abcdef")
    parent = desk.create(run="1" + "0" * 15 + "aaaaaa")
    for number in range(300):
        desk.create(run=f"2{number:021x}", parent=parent)
    assert (await desk.runs.get("abcdef", "a")).id == run
    child = f"2{299:021x}"
    assert (await desk.runs.get(child[-8:], "a")).id == child
    desk.create(run="3" + "0" * 15 + "abcdef", parent=parent)
    assert (await desk.runs.get("abcdef", "a")).id == run, "a part of another run is not what is meant"


async def test_somebody_elses_run_is_none(desk: Desk) -> None:
    """P5."""
    run = desk.create(owner="b")
    for name in (run, run[-6:]):
        with pytest.raises(NotFound, match="there is no run"):
            await desk.runs.get(name, "a")
    assert (await desk.runs.get(run, None)).owner == "b"
    assert (await desk.runs.page("a"))[0] == []


async def test_a_run_is_shown_with_what_it_waits_for(desk: Desk) -> None:
    """P7, B14: of which the store knows nothing."""
    run = desk.create()
    desk.waiting.positions[run], desk.waiting.reasons[run] = 3, "the disk is full"
    for view in (await desk.runs.get(run, "a"), (await desk.runs.page("a"))[0][0]):
        assert (view.position, view.waiting) == (3, "the disk is full")


async def test_pages_hold_what_they_are_asked_for_and_lead_on(desk: Desk) -> None:
    runs = [desk.create(run=f"{i:022x}") for i in range(5)]
    first, cursor = await desk.runs.page("a", limit=2)
    assert [view.id for view in first] == [runs[4], runs[3]]
    rest, cursor = await desk.runs.page("a", cursor=cursor, limit=10)
    assert [view.id for view in rest] == [runs[2], runs[1], runs[0]]
    assert cursor is None
    assert (await desk.runs.page("a", states=("done",)))[0] == []
    assert (await desk.runs.dead_letters("a"))[0] == []


async def test_the_recent_run_of_a_pipeline_is_looked_for_among_the_newest(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for at each key that is typed: without a run, every head of the store was read."""
    monkeypatch.setattr(queries, "_RECENT", 2)
    desk.create("b")
    run = desk.create("a")
    pipeline = desk.store.head(run)["pipeline"]
    found = await desk.runs.recent(pipeline, "a")
    assert found is not None and found.id == run
    assert await desk.runs.recent("another", "a") is None
    assert await desk.runs.recent(pipeline, "c") is None
    desk.create("b")
    desk.create("b")
    assert await desk.runs.recent(pipeline, "a") is None
