"""A task that runs a pipeline: its run is created, followed to its end, and what it left is the output of the task.

    task ──► shards.planned ──► the run, worked off like any other ──► its log, merged into this one ──► shard.ended

The task holds no place meanwhile. A resume of the task resumes the same run; a restart of it makes another one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.shards.hold import ShardHold, Share, shares_of
from po_jupyter.engine.prompts.seed_values import evaluate_seed
from po_jupyter.engine.run.pipeline_run import RunCopy, new_run, outputs_of, resume
from po_jupyter.errors import (
    BudgetExceeded,
    Conflict,
    ModelKeyError,
    Moved,
    NotFound,
    PipelineFailed,
    PoError,
    from_json,
)
from po_jupyter.model.pipeline.contained import pipeline_in
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.event_data import ShardPlan
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.names import new_run_id, short_id
from po_jupyter.model.run.shard_record import ShardRecord
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.protocol import Head, Store

_FIRST_LOOK, _LONGEST_LOOK = 0.05, 1.0  # s between two looks at the run
_DECISION = "a decision in its run"
_LAST_EVENTS = 20  # among which is the end, or the pause, of a run


class PipelineTask:
    """One attempt of a task that runs a pipeline."""

    def __init__(self, parts: MapParts, task: Task, attempt: int) -> None:
        """Attempt `attempt` of `task`."""
        self._parts = parts
        self._task = task
        self._attempt = attempt
        self._store: Store = parts.log.store

    async def run(self) -> JsonValue:
        """The outputs of the pipeline's tasks, by name. Raises the error of a budget or a key, PipelineFailed for
        another end, TemplateFailed, Drained and StoreError."""
        for record in self._records(void=True):
            if "state" not in record:
                await _Follower(self._parts, self._task, record).to_end(cancel=True)
        records = self._records(void=False)
        if not records:
            record = await self._plan()
        else:
            record = records[-1]
            if "state" in record and record["state"] != "done":
                record = await self._reopen(record)
        if "state" not in record:
            record = await _Follower(self._parts, self._task, record).to_end()
        if record.get("state") == "done":
            return dict(await asyncio.to_thread(outputs_of, self._store, record["run"]))
        raise _failure_of(self._task.name, record)

    async def wind_up(self) -> None:
        """Cancel its runs, wait for that, and count what they used."""
        for record in self._parts.log.state.tasks[self._task.name].open_shards:
            await _Follower(self._parts, self._task, record).to_end(cancel=True)

    def _records(self, *, void: bool) -> list[ShardRecord]:
        """The runs of the task; `void`: those of before it was started over."""
        state = self._parts.log.state.tasks[self._task.name]
        return [one for one in state.shards.values() if (one["offset"] < state.cleared_at) == void]

    def _share(self) -> Share | None:
        """What is left of the budget of task and run. Raises BudgetExceeded where that is nothing."""
        share = shares_of(self._parts.calls.budget, self._task.name, 1)
        if share is not None and share.is_nothing:
            raise BudgetExceeded(
                f"task {self._task.name!r}: nothing is left of the budget for the pipeline that it runs",
                hint="po resume RUN --budget USD goes on with more.",
            )
        return share

    async def _plan(self) -> ShardRecord:
        log, name = self._parts.log, self._task.name
        await asyncio.to_thread(
            seed_data, self._parts, self._task, self._attempt
        )  # it fails here, or not at all
        # The id is durable before the run is: whoever creates it creates the same, and once.
        plan: ShardPlan = {"run": new_run_id(), "shard": len(log.state.tasks[name].shards) + 1, "rows": ""}
        if (share := self._share()) is not None:
            plan["share"] = [share.usd, share.tokens]
        log.commit_soon(draft("shards.planned", name, number=self._attempt, shards=[plan]))
        await log.flush()
        crashpoint("pipeline.planned.after")
        return log.state.tasks[name].shards[plan["run"]]

    async def _reopen(self, record: ShardRecord) -> ShardRecord:
        """Resume the run of an earlier attempt."""
        log, name, run = self._parts.log, self._task.name, record["run"]
        share, more = self._share(), {}
        if share is not None:
            copy = RunCopy(self._store, name, record)
            await asyncio.to_thread(copy.read_again)
            spent = copy.spent
            more["share"] = [
                None if share.usd is None else share.usd + spent.usd,
                None if share.tokens is None else share.tokens + spent.tokens,
            ]
        event = draft("shard.reopened", name, run=run, number=self._attempt, n=record["merged"], **more)
        log.commit_soon(event)
        await log.flush()
        crashpoint("pipeline.reopened.after")
        return log.state.tasks[name].shards[run]


def seed_data(parts: MapParts, task: Task, attempt: int) -> JsonObject:
    """The data of the pipeline's seed: that of this run, with references to files of rows, or what the task says.
    Blocks. Raises TemplateFailed."""
    if task.seed is None:
        return dict(parts.inputs.seed.data)
    return evaluate_seed(task.seed, parts.outputs.names(task, attempt), task=task.name)


class _Follower:
    """The run of a task's pipeline, followed by the worker of its parent."""

    def __init__(self, parts: MapParts, task: Task, record: ShardRecord) -> None:
        self._parts = parts
        self._task = task
        self._record = record
        self._run = record["run"]
        self._store: Store = parts.log.store
        self._copy = RunCopy(parts.log.store, task.name, record)
        self._hold: ShardHold | None = None
        self._reason = ""
        self._is_cancelled = False

    async def to_end(self, *, cancel: bool = False) -> ShardRecord:
        """Follow the run until all of it is in this log; the record of its end."""
        boundary, delay = self._parts.boundary, _FIRST_LOOK
        try:
            await self._set_aside()
            await asyncio.to_thread(self._set_going)
            crashpoint("pipeline.created.after")
            self._parts.on_child(self._run)
            while True:
                if cancel and not self._is_cancelled:
                    self._is_cancelled = True
                    await asyncio.to_thread(self._cancel)
                    self._parts.on_child(self._run)
                head = await asyncio.to_thread(self._store.head, self._run)
                moved = await self._merge(head)
                if head["state"] in ENDED:
                    return await self._close(head)
                await self._emit_waiting(head)
                boundary.rest(self._task.name, True)
                delay = _FIRST_LOOK if moved else min(2 * delay, _LONGEST_LOOK)
                await boundary.sleep(delay)
        finally:
            boundary.rest(self._task.name, False)

    async def _set_aside(self) -> None:
        guard, share = self._parts.calls.budget, self._record.get("share")
        if guard is None or share is None:
            return
        if self._record["merged"] > 1:
            await asyncio.to_thread(self._copy.read_again)
        usd, tokens = share
        whole = Share(usd, None if tokens is None else int(tokens)).amount
        self._hold = ShardHold(guard, self._task.name, whole.minus(self._copy.spent))

    def _set_going(self) -> None:
        """Create the run, or resume it, unless an earlier worker did."""
        log, inputs = self._parts.log, self._parts.inputs
        reopened = self._record.get("reopened")
        if reopened is None:
            try:
                self._store.head(self._run)
            except NotFound:
                inner = pipeline_in(self._task)
                assert inner is not None
                data = seed_data(self._parts, self._task, self._record["number"])
                new = new_run(inputs, self._store, log.state, inner, data, self._task.name, self._record)
                with suppress(Conflict):
                    self._store.create_run(new)
            return
        head = self._store.head(self._run)
        if head["n"] == reopened and head["state"] in ENDED:
            with suppress(Moved):
                resume(self._store, self._record, log.run, log.state.request)

    def _cancel(self) -> None:
        if self._store.head(self._run)["state"] not in ENDED:
            self._store.request(self._run, [draft("run.cancel_requested", by=self._parts.log.run)])

    async def _merge(self, head: Head) -> bool:
        log, name, moved = self._parts.log, self._task.name, False
        while (piece := await asyncio.to_thread(self._copy.next_piece, head["n"])) is not None:
            moved = True
            merged = draft("shard.merged", name, run=self._run, n=piece.n)
            if piece.usage:
                merged["data"]["usage"] = piece.usage
            log.commit_soon(merged, calls=piece.calls, payloads=piece.payloads)
            if self._hold is not None:
                self._hold.use(piece.used)
            await log.flush()
            crashpoint("pipeline.merged.after")
        return moved

    async def _close(self, head: Head) -> ShardRecord:
        log, name = self._parts.log, self._task.name
        ended = draft("shard.ended", name, run=self._run, state=head["state"])
        if error := await asyncio.to_thread(self._last, head, f"run.{head['state']}", "error"):
            ended["data"]["error"] = error
        log.commit_soon(ended)
        await log.flush()
        crashpoint("pipeline.ended.after")
        if self._hold is not None:
            self._hold.release()
            self._hold = None
        return log.state.tasks[name].shards[self._run]

    async def _emit_waiting(self, head: Head) -> None:
        short = short_id(self._run)
        reason = f"its run {short}"
        if self._is_cancelled:
            reason += ", being cancelled"
        elif head["state"] == "waiting":
            question = await asyncio.to_thread(self._last, head, "gate.opened", "message")
            reason = f"{_DECISION} {short} (po approve {short})" + (f": {question}" if question else "")
        else:
            inner = await asyncio.to_thread(self._last, head, "task.waiting", "reason")
            if isinstance(inner, str) and inner.startswith(_DECISION):  # of a pipeline in it
                reason = inner
        if reason != self._reason:
            self._reason = reason
            self._parts.log.emit(draft("task.waiting", self._task.name, reason=reason, stays=True))

    def _last(self, head: Head, kind: str, field: str) -> JsonValue:
        """A field of the last event of that type among the last of the run."""
        events = self._store.events(self._run, since=max(0, head["offset"] - _LAST_EVENTS))
        found: JsonValue = next((e["data"].get(field) for e in reversed(events) if e["type"] == kind), None)
        return found


def _failure_of(task: str, record: ShardRecord) -> PoError:
    error, state, short = record.get("error") or {}, record.get("state", ""), short_id(record["run"])
    if error.get("code") in (BudgetExceeded.code, ModelKeyError.code):
        return from_json(error)
    why = f": {error['message']}" if error.get("message") else ""
    return PipelineFailed(
        f"task {task!r}: its run {short} is {state}{why}",
        hint=f"po show {short} shows it. What it finished is kept: po resume RUN goes on with the rest.",
        details={"run": record["run"], "state": state, "error": error or None},
    )
