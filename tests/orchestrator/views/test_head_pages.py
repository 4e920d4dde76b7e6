"""Pages of runs by a text and by when they were made, and those that need a person."""

from __future__ import annotations

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.views.head_pages import HeadFilter, filtered_page
from tests.orchestrator.views.test_queries import Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_text_finds_ids_pipelines_and_names_whatever_the_case(desk: Desk) -> None:
    runs = [desk.create(run=f"{i:022x}") for i in range(5)]
    for q in ("TEST", "seed"):  # the pipeline, the run
        assert [view.id for view in (await desk.runs.page("a", q=q))[0]] == runs[::-1]
    assert [view.id for view in (await desk.runs.page("a", q="0003"))[0]] == [runs[3]]
    assert (await desk.runs.page("a", q="nothing like it"))[0] == []
    assert (await desk.runs.page("b", q="test"))[0] == []


async def test_pages_of_a_search_lead_on_without_gap_or_double(desk: Desk) -> None:
    runs = [desk.create(run=f"{i:022x}", owner="a" if i % 3 else "b") for i in range(20)]
    mine = [run for i, run in enumerate(runs) if i % 3][::-1]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        views, cursor = await desk.runs.page("a", q="test", cursor=cursor, limit=4)
        assert len(views) == 4 or cursor is None
        seen += [view.id for view in views]
        if cursor is None:
            break
    assert seen == mine
    with pytest.raises(InvalidInput):
        await desk.runs.page("a", q="test", cursor="nonsense")


async def test_runs_are_found_by_when_they_were_made(desk: Desk) -> None:
    runs = [desk.create(run=f"{i:022x}") for i in range(3)]
    for day, run in enumerate(runs, 1):
        head = desk.store.head(run)
        head["created_at"] = f"2026-11-0{day}T12:00:00.000Z"
        desk.store._at(0, lambda shard, head=head: shard.write(f"head/{head['run']}", head), write=True)

    async def found(**when: str) -> list[str]:
        return [view.id for view in (await desk.runs.page("a", **when))[0]][::-1]

    assert await found(since="2026-11-02T00:00:00.000Z") == runs[1:]
    assert await found(until="2026-11-02T12:00:00.000Z") == runs[:1]
    assert await found(since="2026-11-02T12:00:00.000Z", until="2026-11-02T12:00:00.001Z") == [runs[1]]


async def test_without_a_condition_the_store_is_asked_as_ever(desk: Desk) -> None:
    run = desk.create()
    page = filtered_page(desk.store, HeadFilter(), 5, owner="a", states=(), pipeline=None, cursor=None)
    assert [head["run"] for head in page.heads] == [run]


async def test_what_needs_a_person_is_found_whatever_its_age(desk: Desk) -> None:
    old = [desk.create(run=f"{i:022x}") for i in range(4)]
    for run, state in zip(old, ("failed", "dead", "waiting", "done"), strict=True):
        desk.store.request(run, [draft("run.started")], state=state)
    for i in range(150):
        desk.create(run=f"{i + 10:022x}")
    blocked = desk.create(run="f" * 22)
    desk.waiting.reasons[blocked] = "the disk is full"
    theirs = desk.create(owner="b", run="e" * 22)
    desk.store.request(theirs, [draft("run.started")], state="failed")
    views, total = await desk.runs.attention("a")
    assert [view.id for view in views] == [blocked, old[2], old[1], old[0]]
    assert total == 4
    assert (await desk.runs.attention(None))[1] == 5
    assert await desk.runs.attention("c") == ([], 0)


async def test_runs_of_which_a_part_waits_are_among_those_that_wait(desk: Desk) -> None:
    """`po runs --state waiting` showed none of them: the run itself is at work, and its parts are in no list."""
    whole, own = f"{1:022x}", []
    desk.create(run=whole)
    desk.store.request(whole, [draft("run.started")], state="running")
    part = desk.create(run=f"{9:022x}", parent=whole)
    desk.store.request(part, [draft("run.started")], state="waiting")
    for i in (2, 3):
        own.append(desk.create(run=f"{i:022x}"))
        desk.store.request(own[-1], [draft("run.started")], state="waiting")
    desk.create(run=f"{4:022x}")
    assert [view.id for view in (await desk.runs.page("a", ["waiting"]))[0]] == [*own[::-1], whole]
    assert [view.id for view in (await desk.runs.page("a", ["waiting"], q="0001"))[0]] == [whole]
    assert (await desk.runs.page("b", ["waiting"]))[0] == []
    assert [view.id for view in (await desk.runs.page("a", ["waiting"], "another"))[0]] == []
    seen: list[str] = []
    cursor: str | None = None
    while True:
        views, cursor = await desk.runs.page("a", ["waiting"], cursor=cursor, limit=1)
        seen += [view.id for view in views]
        if cursor is None:
            break
    assert seen == [*own[::-1], whole]
