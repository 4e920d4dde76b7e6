"""Two people, or two clicks, at the same moment: one of them decides, the other is told so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest

from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, Moved
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.run.view import RunView
from po_jupyter.orchestrator.control.conditional_append import LogAppend, append_if_current
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Head, NewRun
from tests.support.orchestrator import body, orchestrator, task, until

pytestmark = pytest.mark.integration


def meet(service: RunningOrchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two that look at a state have both seen it before either of them goes on."""
    barrier = Barrier(2)
    state = service.projections.state

    def seen(head: object) -> object:
        found = state(head)
        try:
            barrier.wait(2)
        except BrokenBarrierError:
            pass
        else:
            monkeypatch.setattr(service.projections, "state", state)
        return found

    monkeypatch.setattr(service.projections, "state", seen)


async def both(*asked: Awaitable[RunView]) -> list[RunView | BaseException]:
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_a_gate_is_decided_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN, Gates: any later decision is 409."""
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(
            body({**task("one"), "gate": "look"}, task("two")), owner="local"
        )
        await until(service, view.id, ["waiting"])
        meet(service, monkeypatch)
        answers = await both(
            service.control.gate(view.id, "local", "approve"),
            service.control.gate(view.id, "local", "reject", "no"),
        )
        assert [type(a) for a in answers].count(Conflict) == 1, answers
        decided = [e for e in await service.runs.events(view.id, None) if e["type"] == "gate.decided"]
        assert len(decided) == 1
        ended = await until(service, view.id)
        assert ended.state == ("done" if decided[0]["data"]["decision"] == "approve" else "cancelled")


AGAIN: dict[str, Callable[[RunningOrchestrator, str], Awaitable[RunView]]] = {
    "resume": lambda service, run: service.control.resume(run, "local"),
    "restart": lambda service, run: service.control.restart(run, "local"),
}


@pytest.mark.parametrize("again", AGAIN.values(), ids=AGAIN.keys())
async def test_a_run_goes_on_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    again: Callable[[RunningOrchestrator, str], Awaitable[RunView]],
) -> None:
    """P3, P12: a double click does not pay twice."""
    marker = tmp_path / "marker"
    async with orchestrator(tmp_path / "data") as service:
        view, _ = await service.submissions.submit(body(task("one", fail=str(marker))), owner="local")
        await until(service, view.id)
        marker.touch()
        meet(service, monkeypatch)
        answers = await both(again(service, view.id), again(service, view.id))
        assert [type(a) for a in answers].count(Conflict) == 1, answers
        assert (await until(service, view.id)).state == "done"
        types = [e["type"] for e in await service.runs.events(view.id, None)]
        assert types.count("run.resumed") == 1


def created() -> EventDraft:
    return draft("run.created", name="n", pipeline="p", version="1.0.0", tasks=[])


def test_what_was_decided_on_an_older_state_is_decided_again() -> None:
    """Of two that decide at the same moment the second one sees the first."""
    store = MemoryStore()
    head, _ = store.create_run(
        NewRun("0" * 22, "a", "p", "1.0.0", "n", 0, {"pipeline": {}, "seed": {"data": {}}}, [created()])
    )
    seen: list[bool] = []

    def build(now: Head, state: RunState) -> LogAppend:
        seen.append(state.cancel_requested)
        if len(seen) == 1:
            store.request(now["run"], [draft("run.cancel_requested", by="the first")])
        return LogAppend([draft("run.cancel_requested", by="the second")])

    after = append_if_current(store, RunProjections(store), head["run"], build)
    assert seen == [False, True]
    assert after["n"] == 3


def test_a_run_that_never_holds_still_is_given_up() -> None:
    store = MemoryStore()
    head, _ = store.create_run(
        NewRun("0" * 22, "a", "p", "1.0.0", "n", 0, {"pipeline": {}, "seed": {"data": {}}}, [created()])
    )

    def build(now: Head, state: RunState) -> LogAppend:
        store.request(now["run"], [draft("run.cancel_requested", by="another")])
        return LogAppend([draft("run.cancel_requested", by="me")])

    with pytest.raises(Moved):
        append_if_current(store, RunProjections(store), head["run"], build)
