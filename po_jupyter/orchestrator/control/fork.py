"""A fork (G5): a new run that starts with checkpoints of another one. Copies, so that either can be deleted."""

from __future__ import annotations

from typing import Any, NamedTuple

from po_jupyter.engine.replay.history import MAP, map_marker, read_history
from po_jupyter.engine.replay.row_table import RowTable
from po_jupyter.engine.state.effective_pipeline import with_tasks
from po_jupyter.engine.state.resume import gate_words
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.store.protocol import ItemDraft, LogStore, Ref


class Copies(NamedTuple):
    """What goes into the first record of the new run."""

    events: list[EventDraft]
    items: list[ItemDraft]
    payloads: list[Any]


def base(pipeline: Pipeline, state: RunState, from_task: str) -> Pipeline:
    """The definition of a fork that brings none of its own: the effective pipeline, without what tasks that run
    again added: they will add it again. Raises InvalidPipeline when what is left does not fit together."""
    again = {from_task, *(t.name for t in pipeline.tasks if from_task in pipeline.upstream_of(t.name))}
    gone: set[str] = set()
    while more := {n for n, added in state.added.items() if added.by in again | gone} - gone:
        gone |= more
    gone.discard(from_task)  # it was named, so it is wanted, whoever added it
    if not gone:
        return pipeline
    left = with_tasks(pipeline, [t for t in pipeline.tasks if t.name not in gone])
    return validate_pipeline(left.to_json())


def kept(pipeline: Pipeline, state: RunState, from_task: str) -> list[str]:
    """Tasks of the new pipeline whose checkpoints are taken over: finished in the old run, not after
    `from_task`, and with everything that they need taken over too. Raises NotFound."""
    names = [t.name for t in pipeline.tasks]
    if from_task not in names:
        raise NotFound(f"there is no task {from_task!r}{did_you_mean(from_task, names)}")
    found: dict[str, bool] = {}

    def is_kept(name: str) -> bool:
        if name not in found:
            task = state.tasks.get(name)
            found[name] = (
                name != from_task
                and task is not None
                and task.state in ("done", "skipped")
                and from_task not in pipeline.upstream_of(name)
                and all(
                    n in state.tasks and state.tasks[n].state in ("done", "skipped")
                    for n in pipeline.upstream_of(name)
                )
            )
        return found[name]

    return [n for n in names if is_kept(n)]


def copies(store: LogStore, state: RunState, names: list[str]) -> Copies:
    """The checkpoints of `names`, read from the old run. Blocks on the store."""
    events: list[EventDraft] = []
    items: list[ItemDraft] = []
    payloads: list[Any] = []
    history = None
    for name in names:
        task = state.tasks[name]
        if task.state == "skipped":
            events.append(draft("task.skipped", name, reason=task.reason, by=task.skipped_by))
            continue
        value = store.payload(state.run, Ref(*task.output)) if task.output is not None else None
        if task.items is not None and isinstance(value, dict) and value.keys() == {MAP, "total"}:
            history = history if history is not None else read_history(store, state.run)
            value = map_marker(name, value["total"])
            outcomes = history.rows.get(name, RowTable())
            files = history.artifacts.get(name, {})
            for index in sorted(outcomes):
                row = outcomes[index]
                item: ItemDraft = {"task": name, "index": index, "ok": row.ok}
                if row.output is not None:
                    item["output"] = len(payloads)
                    payloads.append(store.payload(state.run, Ref(*row.output)))
                if row.error is not None:
                    item["error"] = row.error
                if row.ok and index in files:
                    item["artifacts"] = files[index]
                items.append(item)
            good = sum(row.ok for row in outcomes.values())
            events.append(draft("map.started", name, total=value["total"]))
            events.append(draft("map.progress", name, done=good, failed=len(outcomes) - good, in_flight=0))
        wrote: dict[str, Any] = {"artifacts": list(task.artifacts)} if task.artifacts else {}
        events.append(draft("task.done", name, output=len(payloads), seconds=0.0, copied=True, **wrote))
        payloads.append(value)
        events += _gate(state, name)
    return Copies(events, items, payloads)


def _gate(state: RunState, name: str) -> list[EventDraft]:
    """A decision that was made holds in the fork; one that was not, or was a rejection, is asked for again."""
    task = state.tasks[name]
    if task.gate is None:
        return []
    info = task.gate_info or {}
    opened = draft("gate.opened", name, **gate_words(state, name))
    if task.gate != "approved":
        return [opened]
    said = {"note": info.get("note", ""), "by": info.get("by"), "copied": True}
    return [opened, draft("gate.decided", name, decision="approve", **said)]
