"""The run of a pipeline that a task of another run runs: made, resumed, and its log copied into that of its parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.base.usage_sum import UsageSum
from po_jupyter.engine.maps.shards.child_run import trace_of
from po_jupyter.engine.maps.shards.pieces import MergedLog, RecordCopy
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.engine.run.parent_run import output_from_log
from po_jupyter.engine.state.effective_pipeline import effective_pipeline
from po_jupyter.engine.state.resume import gate_opened_data, kept_tasks, resume_plan
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.shard_record import ShardRecord
from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.model.values.lazy_list import LazyList
from po_jupyter.store.protocol import CallDraft, CallRecord, LogStore, NewRun, Store

_MOST = 500  # calls of one piece, unless a single record has more
_WITH_USAGE = frozenset({"call.done", "call.unknown", "call.withdrawn", "map.progress", "shard.merged"})


def new_run(
    inputs: RunInputs,
    store: Store,
    state: RunState,
    pipeline: Pipeline,
    data: Mapping[str, JsonValue],
    task: str,
    record: ShardRecord,
) -> NewRun:
    """The run of `pipeline` with the seed data `data`, as `record` plans it. Blocks on the store."""
    definition = replace(
        inputs.definition,
        pipeline=pipeline.to_json(),
        seed={"name": inputs.seed.name, "data": dict(data)},
        forked_from=None,
        seed_files=(),
    )
    created = draft(
        "run.created", name=inputs.seed.name, pipeline=pipeline.name, version=pipeline.version,
        tasks=[{"name": t.name, "kind": t.kind} for t in pipeline.tasks], owner=inputs.owner,
        budget=_budget(pipeline, task, record, state), request=state.request,
        parent={"run": inputs.run, "task": task, "shard": record["shard"]},
    )  # fmt: skip
    if (trace := trace_of(store, inputs.run)) is not None:
        created["data"]["trace"] = trace
    return NewRun(
        run=record["run"], owner=inputs.owner, pipeline=pipeline.name, version=pipeline.version,
        name=inputs.seed.name, priority=store.head(inputs.run)["priority"], definition=definition.to_json(),
        events=[created], parent=inputs.run,
    )  # fmt: skip


def _budget(pipeline: Pipeline, task: str, record: ShardRecord, outer: RunState) -> JsonObject:
    """The smaller one of its own limits and its share, of each kind. The limits that the run around, `outer`, has of
    the task stand in the place of its own; those of tasks in it go along."""
    outside = outer.budget.get("tasks") or {}
    own = {**pipeline.budget.model_dump(exclude_none=True), **outside.get(task, {})}
    share = dict(zip(("usd", "tokens"), record.get("share") or (), strict=False))
    limits = {
        name: [v for v in (own.get(name), share.get(name)) if v is not None] for name in ("usd", "tokens")
    }
    budget: JsonObject = {name: min(values) for name, values in limits.items() if values}
    inside = f"{task}."
    if tasks := {name.removeprefix(inside): it for name, it in outside.items() if name.startswith(inside)}:
        budget["tasks"] = tasks
    return budget


def resume(store: Store, task: str, record: ShardRecord, outer: RunState) -> None:
    """Have the run of `record`, which has ended, go on with what failed or was cancelled. It is that of `task` in the
    run `outer`. Blocks. Raises Conflict where there is nothing left to do, Moved."""
    run = record["run"]
    history = read_history(store, run)
    pipeline = effective_pipeline(
        validate_pipeline(store.definition(run)["pipeline"], recorded=True), history.state
    )
    only_failed = record.get("only_failed", False)
    plan = resume_plan(pipeline, history.state, only_failed=only_failed)
    resumed = draft(
        "run.resumed", by=outer.run, from_task=None, only_failed=only_failed,
        budget=_budget(pipeline, task, record, outer), reset=list(plan.reset), clear=list(plan.clear),
        keep=kept_tasks(history.state, plan), request=outer.request,
    )  # fmt: skip
    gates = [draft("gate.opened", name, **gate_opened_data(history.state, name)) for name in plan.reopen]
    store.request(run, [resumed, *gates], "pending", after=history.n)


def outputs_of(store: LogStore, run: str) -> JsonObject:
    """The outputs of a run's tasks by name, those of maps as lists of `{index, ok, output, error}`. Blocks."""
    history = read_history(store, run)
    outputs: JsonObject = {}
    for name, task in history.state.tasks.items():
        if task.state == "done":
            value = output_from_log(store, history.state, name, history.table)
            outputs[name] = list(value) if isinstance(value, LazyList) else value
    return outputs


class RunPiece(NamedTuple):
    """Records of a run up to `n`: its calls as calls of the task that it is the pipeline of, with their payloads; what
    its tasks used, and the change of the amount that counts against budgets."""

    n: int
    calls: tuple[CallDraft, ...]
    payloads: tuple[Any, ...]
    usage: JsonObject
    used: Amount


class RunCopy(MergedLog):
    """The log of the run of a task's pipeline."""

    def __init__(self, store: LogStore, task: str, record: ShardRecord) -> None:
        """Of the run that `record` is about."""
        super().__init__(store, record["run"], record["merged"])
        self._place = f"{task}/-/{record['number']}"

    def next_piece(self, last: int) -> RunPiece | None:
        """The next piece, of records up to `last`; None when there is no further record. Blocks."""
        if self.merged >= last:
            return None
        before, usage = self.spent, UsageSum()
        copy = RecordCopy(self._store, self._run)
        calls: list[CallDraft] = []
        for record in self._read_on(last):
            calls += [self._copied(call, copy) for call in record["calls"]]
            for event in record["events"]:
                if event["type"] in _WITH_USAGE and (used := event["data"].get("usage")):
                    usage.add_json(used)
            if len(calls) >= _MOST or copy.is_full:
                break
        return RunPiece(
            self.merged, tuple(calls), tuple(copy.payloads), usage.to_json() if usage else {},
            self.spent.change_since(before),
        )  # fmt: skip

    def _copied(self, call: CallRecord, copy: RecordCopy) -> CallDraft:
        copied = copy.call(call)
        return cast("CallDraft", {**copied, "key": self._key(copied["key"])})

    def _key(self, key: str) -> str:
        """The key of a call in the log of the parent: one of the task's, whose stage says which one it is."""
        task, item, attempt, round_, stage, digest, nth = key.split("/")
        return f"{self._place}/{round_}/{task}.{item}.{attempt}.{stage}/{digest}/{nth}"
