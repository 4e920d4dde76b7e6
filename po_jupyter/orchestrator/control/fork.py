"""A fork (G5): a new run that starts with checkpoints of another one. Copies, so that either can be deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from po_jupyter.engine.files.artifacts import Artifact
from po_jupyter.engine.maps.dependencies import AnswerNotes
from po_jupyter.engine.operators.result_rows import is_result
from po_jupyter.engine.replay.history import History, map_of_marker, read_history
from po_jupyter.engine.replay.row_table import RowTable
from po_jupyter.engine.state.effective_pipeline import effective_pipeline, with_tasks
from po_jupyter.engine.state.resume import gate_opened_data
from po_jupyter.engine.state.run_state import RunState, TaskState
from po_jupyter.errors import NotFound
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.contained import task_paths
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.row_index import left_behind
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.control.run_files import run_directory
from po_jupyter.orchestrator.submission.planner import RunPlanner
from po_jupyter.orchestrator.submission.request import read_submission
from po_jupyter.orchestrator.views import artifacts
from po_jupyter.orchestrator.views.child_artifacts import WholeArtifacts
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.objects.shared_files import SharedFiles
from po_jupyter.store.protocol import Head, ItemDraft, LogStore, NewRun, Ref, Store


class Checkpoints(NamedTuple):
    """Checkpoints of the old run, as the first record of the new one has them."""

    events: list[EventDraft]
    items: list[ItemDraft]
    payloads: list[Any]


class ForkPlanner:
    """Plans forks. Blocks: call it in a thread."""

    def __init__(
        self,
        store: Store,
        projections: RunProjections,
        planner: RunPlanner,
        data_dir: Path,
        files: SharedFiles | None = None,
    ) -> None:
        """`planner` checks the new run as it does a submission. `files` are those that nodes share."""
        self._files = files
        self._store = store
        self._projections = projections
        self._planner = planner
        self._data_dir = data_dir

    def plan(
        self,
        head: Head,
        owner: str,
        from_task: str,
        *,
        seed: object,
        pipeline: object,
        idempotency_key: str | None = None,
        code_allowed: bool,
    ) -> NewRun:
        """The new run of `owner`. `seed` and `pipeline` are None for those of the old run.

        The artifacts of the tasks taken over are copied already: a crash before the run is created leaves files
        without a run, never a run without its files. Raises what `RunPlanner.plan` does, and NotFound for an unknown
        task.
        """
        run = head["run"]
        request = [run, from_task, seed, pipeline]
        state = self._projections.state(self._store.head(run))
        definition = RunDefinition.from_json(self._store.definition(run))
        budget = None
        if pipeline is None:
            current = effective_pipeline(validate_pipeline(definition.pipeline, recorded=True), state)
            _check_task(current, from_task, run)
            inherited = inherited_definition(current, state, from_task)
            pipeline, budget = inherited.to_json(), budget_of(state, inherited)
        body = {
            "pipeline": pipeline,
            "seed": definition.seed if seed is None else seed,
            "priority": head["priority"],
            "budget": budget or None,
            "interpreter": definition.interpreter,
            "cwd": definition.cwd,
            "options": definition.options.to_json(),
        }
        submission = read_submission(body, code_allowed=code_allowed)
        checked, envelope = self._planner.check(submission, owner, code_allowed=code_allowed)
        _check_task(checked, from_task, run)
        renamed: dict[str, str] = {}
        if seed is not None:
            envelope, renamed = _with_old_index(envelope, definition.seed.get("index") or {}, run)
        new = self._planner.new_run(submission, checked, envelope, owner, code_allowed=code_allowed)
        tasks = tasks_taken_over(checked, state, from_task)
        below = self._copy_files(state, new.run, tasks, definition)
        checkpoints = copy_checkpoints(self._store, state, tasks, None if seed is None else renamed, below)
        origin = {"run": run, "from_task": from_task}
        created: EventDraft = {**new.events[0], "data": {**new.events[0]["data"], "forked_from": origin}}
        return new._replace(
            definition={**new.definition, **_seed_files(definition), "forked_from": origin},
            events=[created, *checkpoints.events],
            items=checkpoints.items,
            payloads=checkpoints.payloads,
            idempotency_key=idempotency_key,
            request_hash=short_digest(json.dumps(request, sort_keys=True)) if idempotency_key else "",
        )

    def _copy_files(
        self, state: RunState, new: str, tasks: Sequence[str], definition: RunDefinition
    ) -> dict[str, list[Artifact]]:
        """Copy the files of the tasks; those of the pipelines that they run are artifacts of theirs: these."""
        target = run_directory(self._data_dir, new)
        artifacts.take_over(
            run_directory(self._data_dir, state.run),
            target,
            [state.tasks[name] for name in tasks],
            self._files,
            definition.seed_files,
        )
        whole = WholeArtifacts(self._data_dir, self._projections, self._store.head, self._files)
        return {name: copied for name in tasks if (copied := whole.copied_below(state.tasks[name], target))}


def budget_of(state: RunState, pipeline: Pipeline) -> JsonObject:
    """The budget of a run, as far as it is one of `pipeline`."""
    budget: JsonObject = {k: v for k, v in state.budget.items() if k in ("usd", "tokens") and v is not None}
    paths = set(task_paths(pipeline))
    if tasks := {name: it for name, it in (state.budget.get("tasks") or {}).items() if name in paths}:
        budget["tasks"] = tasks
    return budget


def _seed_files(definition: RunDefinition) -> JsonObject:
    """The field of a definition that has what came with the seed; nothing where nodes share no files."""
    return {"seed_files": [dict(file) for file in definition.seed_files]} if definition.seed_files else {}


def inherited_definition(pipeline: Pipeline, state: RunState, from_task: str) -> Pipeline:
    """The definition of a fork that brings none of its own: the effective pipeline, without the tasks that were added
    by tasks which run again, because they will add them again. Raises InvalidPipeline when the rest does not fit
    together."""
    run_again = {from_task, *(t.name for t in pipeline.tasks if from_task in pipeline.upstream_of(t.name))}
    dropped: set[str] = set()
    while more := {n for n, added in state.added.items() if added.by in run_again | dropped} - dropped:
        dropped |= more
    dropped.discard(from_task)  # it was named, so it is wanted, whichever task added it
    if not dropped:
        return pipeline
    rest = with_tasks(pipeline, [t for t in pipeline.tasks if t.name not in dropped])
    return validate_pipeline(rest.to_json(), recorded=True)


def tasks_taken_over(pipeline: Pipeline, state: RunState, from_task: str) -> list[str]:
    """Tasks of the new pipeline whose checkpoints are taken over: finished in the old run, not after
    `from_task`, and with everything that they need taken over too. Raises NotFound."""
    names = [t.name for t in pipeline.tasks]
    if from_task not in names:
        raise NotFound(f"there is no task {from_task!r}{did_you_mean(from_task, names)}")

    def finished(name: str) -> bool:
        return name in state.tasks and state.tasks[name].state in ("done", "skipped")

    def taken_over(name: str) -> bool:
        upstream = pipeline.upstream_of(name)
        return (
            name != from_task
            and from_task not in upstream
            and finished(name)
            and all(finished(needed) for needed in upstream)
        )

    return [name for name in names if taken_over(name)]


def _with_old_index(seed: Seed, old: Mapping[str, Any], run: str) -> tuple[Seed, dict[str, str]]:
    """The seed of a fork with the labels of the rows that were the old run's, which the rows of maps that are taken
    over keep; and what their lists are called in its index."""
    renamed = {path: left_behind(path, run) for path in old}
    if not renamed:
        return seed, renamed
    index = {**(seed.index or {}), **{renamed[path]: labels for path, labels in old.items()}}
    return seed.model_copy(update={"index": index}), renamed


def copy_checkpoints(
    store: LogStore,
    state: RunState,
    names: Sequence[str],
    lists: Mapping[str, str] | None = None,
    below: Mapping[str, Sequence[Artifact]] = MappingProxyType({}),
) -> Checkpoints:
    """The checkpoints of the tasks `names`, read from the old run. Blocks on the store.

    `lists` are new names of the lists whose rows maps work on, for a fork with another seed; a list without a new
    name has no index there. `below` are artifacts that tasks get which run a pipeline.
    """
    copier = _Copier(store, state, lists, below)
    for name in names:
        copier.copy(name)
    return copier.checkpoints


class _Copier:
    """Reads one run; its history, which is read whole, only when a map is copied."""

    def __init__(
        self,
        store: LogStore,
        state: RunState,
        lists: Mapping[str, str] | None,
        below: Mapping[str, Sequence[Artifact]],
    ) -> None:
        self._store = store
        self._state = state
        self._lists = lists
        self._below = below
        self._history: History | None = None
        self.checkpoints = Checkpoints([], [], [])

    def copy(self, name: str) -> None:
        """Append the checkpoint of a finished task."""
        task = self._state.tasks[name]
        events, _, payloads = self.checkpoints
        if task.state == "skipped":
            events.append(draft("task.skipped", name, reason=task.reason, by=task.skipped_by))
            return
        value = self._payload(task.output) if task.output is not None else None
        if task.items is not None and isinstance(value, dict) and map_of_marker(value) is not None:
            self._copy_rows(name, value["total"])
        elif task.items is not None and is_result(value):
            value = self._copy_operator(task, value)
        files = [*task.artifacts, *self._below.get(name, ())]
        data: JsonObject = {"artifacts": files} if files else {}
        data |= {k: v for k, v in self._origins.ends.get(name, {}).items() if k in ("votes", "scores")}
        if task.cascade is not None:
            events.append(draft("cascade.learned", name, **task.cascade))
        events.append(draft("task.done", name, output=len(payloads), seconds=0.0, copied=True, **data))
        payloads.append(value)
        events += _gate_events(self._state, task)

    def _copy_operator(self, task: TaskState, value: JsonObject) -> JsonObject:
        """The rows of an operator under the new name of their list; what it asked about stays behind."""
        assert task.items is not None
        total = task.items.total
        self.checkpoints.events.append(draft("map.started", task.name, total=total))
        self.checkpoints.events.append(_progress(task, total, 0))
        if self._lists is None or value["of"] is None:
            return value
        return {**value, "of": self._lists.get(value["of"])}

    def _copy_rows(self, name: str, total: int) -> None:
        """Append the outcomes of a map's rows."""
        if self._history is None:
            self._history = read_history(self._store, self._state.run)
        events, items, payloads = self.checkpoints
        outcomes = self._history.rows.get(name, RowTable())
        files = self._history.artifacts.get(name, {})
        places = self._history.places.get(name, {})
        for index in sorted(outcomes):
            row = outcomes[index]
            item: ItemDraft = {"task": name, "index": index, "ok": row.ok}
            if row.output is not None:
                item["output"] = len(payloads)
                payloads.append(self._payload(row.output))
            if row.error is not None:
                item["error"] = row.error
            if row.ok:
                self._origins.rows[name, index].add_to(item)
            if row.ok and index in files:
                item["artifacts"] = files[index]
            if index in places:
                item["row"] = places[index]
            items.append(item)
        good = sum(row.ok for row in outcomes.values())
        started = draft("map.started", name, total=total)
        rows_of = self._state.tasks[name].rows_of
        if rows_of is not None and (self._lists is None or rows_of in self._lists):
            started["data"]["of"] = rows_of if self._lists is None else self._lists[rows_of]
        events.append(started)
        events.append(_progress(self._state.tasks[name], good, len(outcomes) - good))

    @cached_property
    def _origins(self) -> _Origins:
        return _read_origins(self._store, self._state.run)

    def _payload(self, ref: Sequence[int]) -> Any:
        return self._store.payload(self._state.run, Ref(*ref))


class _Origins(NamedTuple):
    """How what a run has came about: of rows their notes, of tasks their last end."""

    rows: dict[tuple[str, int], AnswerNotes]
    ends: dict[str, JsonObject]


def _read_origins(store: LogStore, run: str) -> _Origins:
    found = _Origins({}, {})
    for record in store.records(run):
        for item in record["items"]:
            found.rows[item["task"], item["index"]] = AnswerNotes.of(item)
        for event in record["events"]:
            if event["type"] == "task.done":
                found.ends[event["task"]] = event["data"]
    return found


def _progress(task: TaskState, done: int, failed: int) -> EventDraft:
    """The last count of a map, with what is said of it besides."""
    progress = draft("map.progress", task.name, done=done, failed=failed, in_flight=0)
    besides = {name: getattr(task.items, name) for name in ("kept", "made", "of", "alone")}
    progress["data"].update({name: number for name, number in besides.items() if number is not None})
    return progress


def _gate_events(state: RunState, task: TaskState) -> list[EventDraft]:
    """A decision that was made holds in the fork; one that was not, or was a rejection, is asked for again."""
    if task.gate is None:
        return []
    opened = draft("gate.opened", task.name, **gate_opened_data(state, task.name))
    if task.gate != "approved":
        return [opened]
    decision = task.gate_info or {}
    copied = {"note": decision.get("note", ""), "by": decision.get("by"), "copied": True}
    return [opened, draft("gate.decided", task.name, decision="approve", **copied)]


def _check_task(pipeline: Pipeline, task: str, run: str) -> None:
    """Raises NotFound when the new run's pipeline has no such task."""
    names = [t.name for t in pipeline.tasks]
    if task not in names:
        raise NotFound(f"the fork of run {short_id(run)} has no task {task!r}{did_you_mean(task, names)}")
