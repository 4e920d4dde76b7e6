"""The way from the run that people see to the gate that is open in it, or below."""

from __future__ import annotations

from typing import Any

from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.control.gates import way_to_gate
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import NewRun, Store

OUTER, INNER = "a" * 22, "b" * 22


def create(store: Store, run: str, task: str, kind: Any, parent: str | None = None) -> None:
    created = draft(
        "run.created",
        name="n",
        pipeline="p",
        version="1",
        tasks=[{"name": task, "kind": kind}],
        owner="me",
        budget={},
    )
    definition = {"pipeline": {"name": "p", "tasks": []}, "seed": {"name": "n", "data": {}}}
    store.create_run(NewRun(run, "me", "p", "1", "n", 0, definition, [created], parent=parent))


def test_the_way_goes_down_and_up() -> None:
    store = MemoryStore()
    views = RunProjections(store)
    create(store, OUTER, "t", "pipeline")
    create(store, INNER, "a", "prompt", OUTER)
    planned = draft("shards.planned", "t", number=1, shards=[{"run": INNER, "shard": 1, "rows": ""}])
    store.request(OUTER, [draft("task.started", "t", attempt=1), planned])
    none = way_to_gate(store, views, store.head(OUTER), None)
    assert (none.head["run"], none.outer) == (OUTER, ()), "nothing is open: the run itself says so"
    store.request(INNER, [draft("gate.opened", "a", message="?", artifacts=[])])
    for task, meant in ((None, None), ("t.a", "a"), ("t", None), ("t.b", "b")):
        way = way_to_gate(store, views, store.head(OUTER), task)
        assert (way.head["run"], way.task) == (INNER, meant)
        assert [(one.run, one.task, one.child) for one in way.outer] == [(OUTER, "t", INNER)]
    assert way_to_gate(store, views, store.head(OUTER), "other").head["run"] == OUTER
    named = way_to_gate(store, views, store.head(INNER), "a")
    assert (named.head["run"], [one.run for one in named.outer]) == (INNER, [OUTER])
    assert named.outer[0].event()["data"].get("gate") is None
