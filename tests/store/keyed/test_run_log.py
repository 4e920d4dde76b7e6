"""The log of a run as rows: references of payloads, the head that follows, and the search for an offset."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.errors import CorruptRow, InvalidInput, NotFound
from po_jupyter.store.keyed import payloads, run_index, run_log
from po_jupyter.store.keyed.memory import _Overlay
from po_jupyter.store.protocol import Commit, Head

RUN = "00a1"


class Rig:
    """A shard with one run; `head` is that of its last record."""

    def __init__(self) -> None:
        self.shard = _Overlay({})
        self.head: Head = {
            "run": RUN,
            "owner": "me",
            "pipeline": "p",
            "version": "1",
            "name": "n",
            "state": "pending",
            "created_at": "2026-01-01",
            "updated_at": "2026-01-01",
            "priority": 0,
            "fence": 3,
            "n": 0,
            "offset": 0,
            "holder": {"pid": 1},
        }

    def append(self, *types: str, **more: Any) -> Head:
        events: Any = [{"type": kind, "data": {}} for kind in types]
        self.head = run_log.append(self.shard, self.head, Commit(events, **more))
        return self.head

    def record(self, n: int) -> Any:
        return run_log.read(self.shard, RUN, n, n)[0]


def test_the_head_follows_from_the_record_and_the_old_one_stays_as_it_was() -> None:
    rig = Rig()
    before = rig.head
    first = rig.append("run.created", "run.started", state="running")
    assert (first["n"], first["offset"], first["state"], first["holder"]) == (1, 2, "running", {"pid": 1})
    second = rig.append(release=True)
    assert (second["n"], second["offset"], second["state"], second["holder"]) == (2, 2, "running", None)
    assert (before["n"], before["state"]) == (0, "pending")
    assert rig.shard.read(f"head/{RUN}") == second
    assert (rig.record(1)["first"], rig.record(2)["first"], rig.record(1)["fence"]) == (1, 3, 3)


def test_an_index_into_payloads_becomes_a_reference_and_other_values_stay() -> None:
    """P4: a task's output may be a number of its own."""
    rig = Rig()
    rig.append()
    events: Any = [
        {"type": "task.done", "task": "a", "data": {"output": 1, "seconds": 0}, "offset": 99, "run": "another"},
        {"type": "task.stage", "task": "a", "data": {"output": 1}},
        {"type": "task.done", "task": "b", "data": {"output": [1, 0]}},
        {"type": "task.done", "task": "c"},
    ]
    items: Any = [{"task": "m", "index": 0, "ok": True, "output": 0}, {"task": "m", "index": 1, "ok": False}]
    calls: Any = [{"key": "k", "kind": "response", "ok": True, "answer": 1}]
    rig.head = run_log.append(rig.shard, rig.head, Commit(events, items, calls, payloads=["x", "y"]))
    record = rig.record(2)
    assert [event["data"] for event in record["events"]] == [
        {"output": [2, 1], "seconds": 0}, {"output": 1}, {"output": [1, 0]}, {},
    ]  # fmt: skip
    assert record["events"][0].keys() == {"at", "type", "task", "data"}, "offset and run follow from the record"
    assert record["items"][0]["output"] == [2, 0]
    assert "output" not in record["items"][1]
    assert record["calls"][0]["answer"] == [2, 1]
    assert rig.shard.text(run_log.key_of("p", RUN, 2)) is None, "a record without payloads has no row of them"
    rig.head = run_log.append(rig.shard, rig.head, Commit([]), payloads.join(["x"]))
    assert rig.shard.text(run_log.key_of("p", RUN, 3)) == payloads.join(["x"])
    assert (events[0]["data"]["output"], items[0]["output"]) == (1, 0), "drafts are the caller's"


@pytest.mark.parametrize("index", [-1, 1])
def test_an_index_to_no_payload_writes_nothing(index: int) -> None:
    rig = Rig()
    rig.append("run.created")
    rows = dict(rig.shard.changed)
    items: Any = [{"task": "m", "index": 0, "ok": True, "output": index}]
    with pytest.raises(InvalidInput, match="the commit carries 1"):
        run_log.append(rig.shard, rig.head, Commit([], items, payloads=["x"]))
    assert rig.shard.changed == rows


def test_a_run_is_active_from_its_start_to_its_end_and_again_after_a_resume() -> None:
    """R3.3: a start of the orchestrator looks at these, and at no others."""
    rig = Rig()
    rig.append("run.created")
    run_index.set_active(rig.shard, RUN, True)
    rig.append(state="running")
    assert [head["run"] for head in run_log.active_heads(rig.shard)] == [RUN]
    rig.append(state="done")
    assert run_log.active_heads(rig.shard) == []
    rig.append(state="pending")
    assert [head["state"] for head in run_log.active_heads(rig.shard)] == ["pending"]


def test_a_record_of_a_deleted_run_is_not_found_and_of_a_living_one_corrupt() -> None:
    """P4: a reader that is overtaken by a deletion did nothing wrong."""
    rig = Rig()
    rig.append("run.created")
    rig.append("run.started")
    rig.shard.erase(run_log.key_of("c", RUN, 1))
    with pytest.raises(CorruptRow, match="record 1"):
        run_log.read(rig.shard, RUN, 1, 2)
    rig.shard.erase(f"head/{RUN}")
    for act in (lambda: run_log.read(rig.shard, RUN, 1, 2), lambda: run_log.head_of(rig.shard, RUN)):
        with pytest.raises(NotFound, match="there is no run"):
            act()


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=30), data=st.data())
def test_the_record_of_an_offset_is_found_with_and_without_a_hint(
    sizes: list[int], data: st.DataObject
) -> None:
    rig = Rig()
    home: dict[int, int] = {}
    firsts: dict[int, int] = {}
    for n, size in enumerate(sizes, 1):
        firsts[n] = rig.head["offset"] + 1
        rig.append(*["task.stage"] * size)
        home |= dict.fromkeys(range(firsts[n], firsts[n] + size), n)
    for offset, n in home.items():
        hinted = data.draw(st.integers(1, len(sizes)))
        for hint in (None, (hinted, firsts[hinted])):
            assert run_log.find(rig.shard, RUN, offset, len(sizes), hint) == n
