"""Making the child runs of a map: a definition with the map alone, rows of its own, and answers that it finds again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.engine.replay.history import History, JournaledCall
from po_jupyter.engine.state.effective_pipeline import with_tasks
from po_jupyter.model.pipeline.pipeline import Budget, Pipeline, Task
from po_jupyter.model.run.definition import ParentTask
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.run.row_spans import parse_spans
from po_jupyter.model.run.shard_record import ShardRecord
from po_jupyter.model.values.lazy_list import LazyList
from po_jupyter.store.protocol import NewRun, Ref, Store

_REASON = "in the run that this one is a part of"


def child_run(state: MapState, shard: ShardRecord, history: History) -> NewRun:
    """The child run of a shard. `history` is that of the map's log as it is now. Blocks on the store."""
    parts, task = state.parts, state.task
    inputs, log = parts.inputs, parts.log
    rows = frozenset(parse_spans(shard["rows"]))
    parent: ParentTask = {
        "run": log.run, "task": task.name, "shard": shard["shard"], "rows": shard["rows"],
        "attempt": state.attempt, "number": shard["number"], "of": _rows_of_whole(state),
    }  # fmt: skip
    if redone := {str(i): last for i, last in history.redone.get(task.name, {}).items() if i in rows}:
        parent["redone"] = redone
    answers: list[Any] = []
    if calls := _recorded_calls(log.store, log.run, history.calls.get(task.name, {}), rows, answers):
        parent["calls"] = calls
    pipeline = child_pipeline(log.pipeline, task)
    definition = replace(
        inputs.definition,
        pipeline=pipeline.to_json(),
        seed={"name": inputs.seed.name, "data": {}},
        forked_from=None,
        seed_files=(),  # rows of a map may not read them
        parent=parent,
    )
    head = log.store.head(log.run)
    return NewRun(
        run=shard["run"], owner=inputs.owner, pipeline=pipeline.name, version=pipeline.version, name=inputs.seed.name,
        priority=head["priority"], definition=definition.to_json(),
        events=_first_events(inputs, log.store, log.state.request, pipeline, task, shard),
        payloads=answers, parent=log.run,
    )  # fmt: skip


def _rows_of_whole(state: MapState) -> int:
    """The rows of the map, or of the largest list of the seed: a child run reads all of them."""
    lists = (value for value in state.parts.inputs.seed_data.values() if isinstance(value, list | LazyList))
    return max(len(state.rows), *map(len, lists), 0)


def child_pipeline(pipeline: Pipeline, task: Task) -> Pipeline:
    """The pipeline of a child run: the map, and before it the tasks whose outputs it may see, which are not done
    again."""
    before = pipeline.upstream_of(task.name)
    alone = task.model_copy(update={"shards": None, "gate": None, "budget": Budget(), "failure_threshold": 1.0})
    tasks = [
        alone if one.name == task.name else one for one in pipeline.tasks if one.name in {*before, task.name}
    ]
    return with_tasks(pipeline.model_copy(update={"budget": Budget()}), tasks)


def _first_events(
    inputs: RunInputs, store: Store, request: str, pipeline: Pipeline, task: Task, shard: ShardRecord
) -> list[EventDraft]:
    share = shard.get("share") or [None, None]
    budget = {name: limit for name, limit in zip(("usd", "tokens"), share, strict=True) if limit is not None}
    created = draft(
        "run.created", name=inputs.seed.name, pipeline=pipeline.name, version=pipeline.version,
        tasks=[{"name": t.name, "kind": t.kind} for t in pipeline.tasks], owner=inputs.owner, budget=budget,
        request=request, parent={"run": inputs.run, "task": task.name, "shard": shard["shard"]},
    )  # fmt: skip
    if (trace := trace_of(store, inputs.run)) is not None:
        created["data"]["trace"] = trace
    skipped = [draft("task.skipped", t.name, reason=_REASON) for t in pipeline.tasks if t.name != task.name]
    return [created, *skipped]


def trace_of(store: Store, run: str) -> str | None:
    """The trace that a run is a part of. Blocks."""
    first = next(iter(store.records(run, limit=1)), None)
    for event in first["events"] if first is not None else ():
        if event["type"] == "run.created":
            trace: str | None = event["data"].get("trace")
            return trace
    return None


def _recorded_calls(
    store: Store,
    run: str,
    calls: Mapping[int | None, Mapping[str, JournaledCall]],
    rows: Collection[int],
    answers: list[Any],
) -> list[list[Any]]:
    """Answers of rows that were left before they had an outcome; their texts are added to `answers`."""
    recorded: list[list[Any]] = []
    for index, of_row in calls.items():
        for key, call in of_row.items() if index in rows else ():
            if call.response is None:
                continue
            response: dict[str, Any] = {**call.response}
            if call.answer is not None:
                response["answer"] = [1, len(answers)]
                answers.append(store.payload(run, Ref(*call.answer)))
            recorded.append([key, response, call.counted])
    return recorded
