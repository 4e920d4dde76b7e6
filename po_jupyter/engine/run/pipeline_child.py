"""The run of a task's pipeline, followed by the worker of its parent: until its end, with what it waits for."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.shards.hold import ShardHold
from po_jupyter.engine.maps.shards.open_child import ChildEnd, OpenChild
from po_jupyter.engine.prompts.seed_values import evaluate_seed
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.run.pipeline_run import RunCopy, RunPiece, new_run, resume
from po_jupyter.errors import Conflict, Moved, NotFound, TemplateFailed
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.contained import pipeline_in
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.row_file_ref import MARK
from po_jupyter.model.run.shard_record import GateBelow, ShardRecord
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.protocol import Head, NewRun

FIRST_LOOK, LONGEST_LOOK = 0.05, 1.0  # s between two looks at the run


class PipelineRun(OpenChild[RunPiece]):
    """The run of a task's pipeline, as the log of the task's run has it."""

    points = "pipeline"

    def __init__(self, parts: MapParts, task: Task, record: ShardRecord) -> None:
        """The run that `record` is about."""
        super().__init__(parts, task.name, record, RunCopy(parts.log.store, task.name, record))
        self._definition = task
        self._reason = ""  # of the wait, as it was emitted last
        self._gate: GateBelow | None = None

    async def to_end(self, *, cancel: bool = False, taken: ShardHold | None = None) -> None:
        """Follow the run until all of it is in this log. `taken` ends once its share is set aside. Raises Drained,
        TemplateFailed, StoreError."""
        boundary, delay = self._parts.boundary, FIRST_LOOK
        try:
            await self.set_aside()
            if taken is not None:
                taken.release()
            await self.set_going()
            if cancel or not self.keeps_budget:
                await self.cancel()
            while True:
                moved, end = await self.look()
                if end is not None:
                    await self.close(end)
                    return
                self._emit_waiting()
                boundary.rest(self._task, True)
                delay = FIRST_LOOK if moved else min(2 * delay, LONGEST_LOOK)
                await boundary.sleep(delay)
        finally:
            self.release()
            boundary.rest(self._task, False)

    def _create(self) -> None:
        """Create the run, or resume it, unless an earlier worker did."""
        if (reopened := self.record.get("reopened")) is not None:
            with suppress(NotFound, Conflict, Moved):  # deleted; nothing is left of it; an earlier worker did
                head = self._store.head(self.run)
                if head["n"] == reopened and head["state"] in ENDED:
                    resume(self._store, self._task, self.record, self._parts.log.state)
        elif self._is_new:
            try:
                self._store.head(self.run)
            except NotFound:
                super()._create()

    def _new_run(self) -> NewRun:
        log, inner = self._parts.log, pipeline_in(self._definition)
        assert inner is not None
        data = seed_data(self._parts, self._definition, self.record["number"])
        return new_run(self._parts.inputs, self._store, log.state, inner, data, self._task, self.record)

    async def _merge(self, piece: RunPiece) -> None:
        merged = draft("shard.merged", self._task, run=self.run, n=piece.n)
        if piece.usage:
            merged["data"]["usage"] = piece.usage
        self._parts.log.commit_soon(merged, calls=piece.calls, payloads=piece.payloads)

    def _end_of(self, head: Head) -> ChildEnd:
        end = super()._end_of(head)
        tasks = read_history(self._store, self.run).state.tasks.values()
        return end._replace(failed_rows=sum(task.failed_rows for task in tasks))

    # -- what it waits for ----------------------------------------------------------------------
    async def _note(self, head: Head, moved: bool) -> None:
        if moved and (head["state"] == "waiting" or self._has_pipelines):
            self._gate = await asyncio.to_thread(self._open_gate)
        elif head["state"] != "waiting" and not self._has_pipelines:
            self._gate = None

    @property
    def _has_pipelines(self) -> bool:
        inner = pipeline_in(self._definition)
        return inner is not None and any(task.pipeline is not None for task in inner.tasks)

    def _open_gate(self) -> GateBelow | None:
        """The gate that the run waits at, or one in a pipeline that it runs. Blocks."""
        for task in read_history(self._store, self.run).state.tasks.values():
            if task.gate == "open":
                info = task.gate_info or {}
                return {
                    "run": self.run, "task": task.name, "message": info.get("message", ""),
                    "artifacts": info.get("artifacts", []),
                }  # fmt: skip
            if task.state == "running" and task.waiting is not None and task.gate_below is not None:
                return {**task.gate_below, "task": f"{task.name}.{task.gate_below['task']}"}
        return None

    def _emit_waiting(self) -> None:
        reason, gate = f"its run {short_id(self.run)}", self._gate
        if self.is_cancelled:
            reason, gate = f"{reason}, being cancelled", None
        elif gate is not None:
            place = short_id(gate["run"])
            question = f": {gate['message']}" if gate["message"] else ""
            reason = f"a decision in its run {place} (po approve {place}){question}"
        if reason == self._reason:
            return
        self._reason = reason
        if gate is not None and self._parts.log.state.tasks[self._task].gate_below == gate:
            return  # an earlier worker said so
        event = draft("task.waiting", self._task, reason=reason, stays=True)
        if gate is not None:
            event["data"]["gate"] = gate
        self._parts.log.emit(event)


def seed_data(parts: MapParts, task: Task, attempt: int) -> JsonObject:
    """The data of the pipeline's seed: that of this run, with references to files of rows, or what the task says.
    Blocks. Raises TemplateFailed."""
    if task.seed is None:
        return dict(parts.inputs.seed.data)
    data = evaluate_seed(task.seed, parts.outputs.names(task, attempt), task=task.name)
    if mark := next((name for name, value in data.items() if isinstance(value, dict) and MARK in value), None):
        # A reference to a file of rows is what a client uploaded, never what a model answered.
        raise TemplateFailed(
            f"task {task.name!r}: `seed.{mark}` comes out as an object with the field {MARK!r}"
        )
    return data
