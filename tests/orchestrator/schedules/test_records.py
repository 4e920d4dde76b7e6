"""Documents of schedules: of one owner, changed by compare and swap, bounded."""

from __future__ import annotations

import pytest

from po_jupyter.errors import NotFound
from po_jupyter.orchestrator.schedules.records import (
    KEPT,
    KIND,
    ScheduleRecord,
    ScheduleStore,
    SlotOutcome,
    with_outcome,
)
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.schedules import record_of


def test_an_owner_has_their_own() -> None:
    store = MemoryStore()
    schedules = ScheduleStore(store)
    for owner, name in (("ada", "a"), ("ada", "b"), ("bob", "c")):
        schedules.add(record_of(owner=owner, id=name))
    assert [record["id"] for record in schedules.of("ada")] == ["a", "b"]
    assert schedules.keys() == ["ada/a", "ada/b", "bob/c"]
    with pytest.raises(NotFound, match="no schedule 'c'"):
        schedules.get("c", "ada")
    with pytest.raises(NotFound):
        schedules.remove("c", "ada")
    schedules.remove("a", "ada")
    assert schedules.read("ada/a") is None
    assert store.names(KIND) == ["ada/b", "bob/c"]


def test_a_group_has_nothing_of_one_whose_name_begins_with_its_own() -> None:
    """Groups of a hub have slashes in their names where its accounts are kept in a tree."""
    store = MemoryStore()
    schedules = ScheduleStore(store)
    for owner in ("group:/ops", "group:/ops/secret", "group:/ops%2Fsecret"):
        schedules.add(record_of(owner=owner, id="a"))
    assert [record["owner"] for record in schedules.of("group:/ops")] == ["group:/ops"]
    with pytest.raises(NotFound):
        schedules.get("secret/a", "group:/ops")
    schedules.remove("a", "group:/ops")
    assert len(schedules.keys()) == 2
    assert schedules.get("a", "group:/ops/secret")["owner"] == "group:/ops/secret"


def test_a_change_that_was_overtaken_is_made_again() -> None:
    schedules = ScheduleStore(MemoryStore())
    schedules.add(record_of())
    tries = []

    def change(record: ScheduleRecord) -> ScheduleRecord:
        tries.append(record["cron"])
        if len(tries) == 1:
            schedules.change("local/s1", lambda before: {**before, "cron": "1 * * * *"})
        return {**record, "model": "fake:m"}

    changed = schedules.change("local/s1", change)
    assert changed is not None
    assert (changed["cron"], changed["model"]) == ("1 * * * *", "fake:m")
    assert tries == ["0 * * * *", "1 * * * *"]
    assert schedules.change("local/gone", change) is None


def test_outcomes_do_not_grow_for_ever() -> None:
    record = record_of()
    for n in range(KEPT + 10):
        outcome: SlotOutcome = {"slot": str(n), "at": "", "outcome": "run", "run": f"r{n}"}
        record = with_outcome(record, outcome)
    assert [o["slot"] for o in record["outcomes"]] == [str(n) for n in range(10, KEPT + 10)]
    assert record["last_run"] == f"r{KEPT + 9}"
    missed: SlotOutcome = {"slot": "x", "at": "", "outcome": "missed"}
    assert with_outcome(record, missed)["last_run"] == f"r{KEPT + 9}"
