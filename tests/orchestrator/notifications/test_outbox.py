"""G12, P1: no event is lost and none is told twice under another id, whatever is between a write and the next."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.config.notifications import NotificationEvent
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.notifications import outbox as module
from po_jupyter.orchestrator.notifications.outbox import Outbox
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.stored_runs import RUN, store_run

ALL: frozenset[NotificationEvent] = frozenset({"done", "failed", "budget", "dead", "gate", "cancelled"})
FAILED = {"code": "stage_failed", "message": "m", "hint": "", "details": {}}


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store_run(store)
    return store


def outbox(store: MemoryStore, **channels: frozenset[NotificationEvent]) -> Outbox:
    return Outbox(store, RunProjections(store), channels or {"ops": ALL}, lambda run: f"https://lab/{run[-6:]}")


def ids(found: list[module.PendingDelivery]) -> list[tuple[str, str]]:
    return [(p.delivery["id"], p.delivery["message"]["type"]) for p in found]


def test_an_end_is_told_once_and_leaves_nothing_behind(store: MemoryStore) -> None:
    box = outbox(store)
    box.watch(RUN)
    assert box.collect(RUN) == []
    store.request(RUN, [draft("run.done")], "done")
    (found,) = box.collect(RUN)
    assert ids([found]) == [(f"msg_{RUN}_2", "run.done")]
    assert found.delivery["message"]["data"]["url"] == "https://lab/012345"
    assert box.collect(RUN) == [], "read once"
    assert [p.delivery["id"] for p in box.pending()] == [f"msg_{RUN}_2"]
    box.settle(found)
    assert box.runs() == [], "the document goes with the last message"


def test_what_a_killed_server_left_is_found_by_the_next_with_the_same_id(store: MemoryStore) -> None:
    outbox(store).watch(RUN)
    store.request(RUN, [draft("run.failed", error=FAILED)], "failed")  # and the server is killed
    after = outbox(store)
    (found,) = after.collect(RUN)
    again = outbox(store)  # killed once more, before it was sent
    assert again.collect(RUN) == []
    assert ids(list(again.pending())) == ids([found]) == [(f"msg_{RUN}_2", "run.failed")]


def test_each_resume_ends_with_a_message_of_its_own(store: MemoryStore) -> None:
    box = outbox(store)
    box.watch(RUN)
    store.request(RUN, [draft("run.failed", error=FAILED)], "failed")
    (first,) = box.collect(RUN)
    box.settle(first)
    resumed = draft("run.resumed", by="me")
    store.request(RUN, [resumed, draft("gate.opened", "one", message="", artifacts=[])], "pending")
    box.watch(RUN)
    assert ids(box.collect(RUN)) == [(f"msg_{RUN}_4", "gate.opened")], "a gate that opens again, and no old end"
    store.request(RUN, [draft("run.done")], "done")
    assert ids(box.collect(RUN)) == [(f"msg_{RUN}_5", "run.done")]


def test_a_run_that_goes_on_before_its_end_was_read_is_told_of_both(store: MemoryStore) -> None:
    box = outbox(store)
    box.watch(RUN)
    store.request(RUN, [draft("run.failed", error=FAILED)], "failed")
    store.request(RUN, [draft("run.resumed", by="me")], "pending")
    box.watch(RUN)
    store.request(RUN, [draft("run.done")], "done")
    assert ids(box.collect(RUN)) == [(f"msg_{RUN}_2", "run.failed"), (f"msg_{RUN}_4", "run.done")]


def test_channels_are_told_of_what_they_chose(store: MemoryStore) -> None:
    box = outbox(store, ops=frozenset({"failed", "dead"}), chat=frozenset({"gate", "done"}))
    box.watch(RUN)
    store.request(RUN, [draft("gate.opened", "one", message="", artifacts=[])])
    store.request(RUN, [draft("run.done")], "done")
    assert [(p.delivery["channel"], p.delivery["message"]["type"]) for p in box.collect(RUN)] == [
        ("chat", "gate.opened"),
        ("chat", "run.done"),
    ]


def test_runs_from_before_the_first_channel_are_told_of_from_now_on(store: MemoryStore) -> None:
    store.request(RUN, [draft("gate.opened", "one", message="", artifacts=[])])
    box = outbox(store)
    assert box.collect(RUN) == [], "not watched"
    box.watch_active()
    assert box.collect(RUN) == []
    store.request(RUN, [draft("run.done")], "done")
    assert ids(box.collect(RUN)) == [(f"msg_{RUN}_3", "run.done")]


def test_a_try_that_failed_is_written_down(store: MemoryStore) -> None:
    box = outbox(store)
    box.watch(RUN)
    store.request(RUN, [draft("run.done")], "done")
    (found,) = box.collect(RUN)
    later = box.postpone(found, "answered HTTP 500", 99.0)
    assert later is not None
    (kept,) = outbox(store).pending()
    assert kept == later
    assert (kept.delivery["tries"], kept.delivery["error"], kept.delivery["next_at"]) == (
        1,
        "answered HTTP 500",
        99.0,
    )


def test_a_deleted_run_is_forgotten_and_its_message_still_delivered(store: MemoryStore) -> None:
    box = outbox(store)
    box.watch(RUN)
    store.request(RUN, [draft("run.done")], "done")
    (found,) = box.collect(RUN)
    store.delete_run(RUN)
    assert box.collect(RUN) == []
    assert ids(list(box.pending())) == ids([found])
    box.settle(found)
    assert box.runs() == []


def test_a_fork_tells_nothing_of_what_it_took_over(store: MemoryStore) -> None:
    head = store.head(RUN)
    created = [
        draft("run.created", name="s", pipeline="p", version="1.0.0", owner="", budget={},
              tasks=[{"name": "one", "kind": "python"}]),
        draft("gate.opened", "one", message="", artifacts=[]),
        draft("gate.decided", "one", decision="approve"),
    ]  # fmt: skip
    new = module_new_run(store, created)
    assert head["run"] != new
    box = outbox(store)
    box.watch(new)
    assert box.collect(new) == []


def module_new_run(store: MemoryStore, events: list) -> str:
    from po_jupyter.store.protocol import NewRun

    run = "f" * 22
    definition = store.definition(RUN)
    store.create_run(NewRun(run, "", "p", "1.0.0", "s", 0, definition, events))
    return run


@pytest.mark.parametrize("state", ["done", ""])
def test_a_holder_that_stalled_over_a_takeover_adds_no_settled_message_again(
    store: MemoryStore, state: str
) -> None:
    """The run has ended, and its document is gone; or it goes on, and the document has moved on."""
    old, new = outbox(store), outbox(store)
    old.watch(RUN)
    if state:
        store.request(RUN, [draft("run.done")], "done")
    else:
        store.request(RUN, [draft("gate.opened", "one", message="", artifacts=[])])

    told: list[str] = []

    def take_over() -> None:
        for found in new.collect(RUN):
            told.append(found.delivery["id"])
            new.settle(found)

    read = old._read

    def stalls(*args: Any) -> Any:
        result = read(*args)
        take_over()
        return result

    old._read = stalls
    assert old.collect(RUN) == []
    assert told == [f"msg_{RUN}_2"]
    assert list(old.pending()) == []
    assert old.runs() == ([] if state else [RUN])
