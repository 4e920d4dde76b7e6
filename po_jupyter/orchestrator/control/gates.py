"""The way to an open gate: that of a run, or one in a pipeline that a task of it runs, at any depth. Blocks."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from po_jupyter.errors import NotFound
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.run.names import short_id
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.protocol import Head, Store


class OuterTask(NamedTuple):
    """A task that runs the pipeline in which the gate is, or one around that, and waits for the decision."""

    run: str
    task: str
    child: str

    def event(self) -> EventDraft:
        """What says that it does not wait for the decision any more."""
        return draft("task.waiting", self.task, reason=f"its run {short_id(self.child)}", stays=True)


class GateWay(NamedTuple):
    """The run that has the gate, the task that is meant as it is called there (None: any), and the tasks around,
    outermost first."""

    head: Head
    task: str | None
    outer: tuple[OuterTask, ...]


def way_to_gate(store: Store, projections: RunProjections, named: Head, task: str | None) -> GateWay:
    """The way from the run that a person names. `task` is the one that is meant: `t.a` is task `a` of the pipeline
    that task `t` runs. Without an open gate it ends at the run itself."""
    below = _below(store, projections, named, task) or GateWay(named, task, ())
    return below._replace(outer=(*_around(store, projections, named), *below.outer))


def _below(store: Store, projections: RunProjections, head: Head, task: str | None) -> GateWay | None:
    state = projections.state(head)
    if any(one.gate == "open" for one in state.tasks.values()):
        return GateWay(head, task, ())
    first, rest = (None, None) if task is None else (task.partition(".")[0], task.partition(".")[2] or None)
    for one in state.tasks.values():
        if one.kind != "pipeline" or one.state != "running" or first not in (None, one.name):
            continue
        for shard in one.open_shards:
            with suppress(NotFound):  # planned and not there yet
                if (way := _below(store, projections, store.head(shard["run"]), rest)) is not None:
                    outer = OuterTask(state.run, one.name, shard["run"])
                    return way._replace(outer=(outer, *way.outer))
    return None


def _around(store: Store, projections: RunProjections, head: Head) -> list[OuterTask]:
    """The tasks whose runs a run is a part of, outermost first."""
    outer: list[OuterTask] = []
    while (parent := head.get("parent")) is not None:
        child = head["run"]
        try:
            head = store.head(parent)
        except NotFound:
            break
        tasks = projections.state(head).tasks.values()
        outer += [OuterTask(parent, task.name, child) for task in tasks if child in task.shards]
    return outer[::-1]
