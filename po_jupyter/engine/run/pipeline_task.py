"""A task that runs a pipeline: its run is created, followed to its end, and what it left is the output of the task.

    task ──► shards.planned ──► the run, worked off like any other ──► its log, merged into this one ──► shard.ended

The task holds no place meanwhile. A resume of the task resumes the same run; a restart of it makes another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from po_jupyter.engine.budgets.account import larger_budget
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.shards.hold import ShardHold, Share, is_worth_taking, shares_of
from po_jupyter.engine.run.pipeline_child import FIRST_LOOK, LONGEST_LOOK, PipelineRun, seed_data
from po_jupyter.engine.run.pipeline_run import RunCopy, outputs_of
from po_jupyter.errors import BudgetExceeded, ModelKeyError, PipelineFailed, PoError, from_json
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.contained import pipeline_in
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.names import new_run_id, short_id
from po_jupyter.model.run.shard_record import ShardPlan, ShardRecord
from po_jupyter.model.values.json import JsonValue
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.protocol import Store


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
                await self._follow(record, cancel=True)
        records = self._records(void=False)
        record = records[-1] if records else await self._begin(self._plan)
        if "state" not in record:
            # One that was left at work, perhaps by an earlier worker; without a limit that there is now it stops.
            record = await self._follow(record)
        if record["number"] != self._attempt and _goes_on(record):
            record = await self._begin(partial(self._reopen, record))
        if record.get("state") == "done":
            return dict(await asyncio.to_thread(outputs_of, self._store, record["run"]))
        raise self._failure_of(record)

    def _failure_of(self, record: ShardRecord) -> PoError:
        error, name, guard = record.get("error") or {}, self._task.name, self._parts.calls.budget
        if error.get("code") != BudgetExceeded.code:
            return _failure_of(name, record)
        scope, inner = (error.get("details") or {}).get("scope"), pipeline_in(self._task)
        if scope == "run":
            limits, own = (
                error["details"]["budget"],
                inner.budget.model_dump(exclude_none=True) if inner else {},
            )
            of_task = any(account.name == name for account in guard.accounts_of(name)) if guard else False
            if not of_task and not any(limits.get(kind) == limit for kind, limit in own.items()):
                return from_json(error)  # this run's
        elif scope in (None, "day", "hub"):
            return from_json(error)
        place = name if scope == "run" else f"{name}.{scope}"
        details = {**error["details"], "scope": place}
        return BudgetExceeded(error["message"], hint=larger_budget(place), details=details)

    async def wind_up(self) -> None:
        """Cancel its runs, wait for that, and count what they used."""
        for record in self._parts.log.state.tasks[self._task.name].open_shards:
            await self._follow(record, cancel=True)

    def _records(self, *, void: bool) -> list[ShardRecord]:
        """The runs of the task; `void`: those of before it was started over."""
        state = self._parts.log.state.tasks[self._task.name]
        return [one for one in state.shards.values() if (one["offset"] < state.cleared_at) == void]

    async def _follow(
        self, record: ShardRecord, *, cancel: bool = False, taken: ShardHold | None = None
    ) -> ShardRecord:
        """Follow a run until all of it is in this log, and has ended; its record then. `taken`: its share of the
        budget, which is set aside already."""
        await PipelineRun(self._parts, self._task, record).to_end(cancel=cancel, taken=taken)
        return self._parts.log.state.tasks[self._task.name].shards[record["run"]]

    async def _begin(self, plan: Callable[[Share | None], Awaitable[ShardRecord]]) -> ShardRecord:
        """Follow the run that is planned with a share of the budget, which nobody else takes meanwhile. Raises
        BudgetExceeded."""
        guard = self._parts.calls.budget
        share = await self._share()
        taken = (
            ShardHold(guard, self._task.name, share.amount) if guard is not None and share is not None else None
        )
        try:
            record = await plan(share)
            return await self._follow(record, taken=taken)
        finally:
            if taken is not None:
                taken.release()

    async def _share(self) -> Share | None:
        """What is left of the budget of task and run, once others at work do not have most of it set aside. Raises
        BudgetExceeded where that is nothing."""
        guard, delay = self._parts.calls.budget, FIRST_LOOK
        if guard is None:
            return None
        try:
            while True:
                share = shares_of(guard, self._task.name, 1)
                if share is None or is_worth_taking(guard, self._task.name, share):
                    break
                if delay == FIRST_LOOK:
                    reason = "the budget: what is at work has most of it set aside"
                    self._parts.log.emit(draft("task.waiting", self._task.name, reason=reason, stays=True))
                self._parts.boundary.rest(self._task.name, True)
                delay = min(2 * delay, LONGEST_LOOK)
                await self._parts.boundary.sleep(delay)
        finally:
            self._parts.boundary.rest(self._task.name, False)
        if share is not None and share.is_nothing:
            raise BudgetExceeded(
                f"task {self._task.name!r}: nothing is left of the budget for the pipeline that it runs",
                hint="po resume RUN --budget USD goes on with more.",
            )
        return share

    async def _plan(self, share: Share | None) -> ShardRecord:
        log, name = self._parts.log, self._task.name
        # It fails here, or not at all.
        await asyncio.to_thread(seed_data, self._parts, self._task, self._attempt)
        # The id is durable before the run is: whoever creates it creates the same, and once.
        plan: ShardPlan = {"run": new_run_id(), "shard": len(log.state.tasks[name].shards) + 1, "rows": ""}
        if share is not None:
            plan["share"] = [share.usd, share.tokens]
        log.commit_soon(draft("shards.planned", name, number=self._attempt, shards=[plan]))
        await log.flush()
        crashpoint("pipeline.planned.after")
        return log.state.tasks[name].shards[plan["run"]]

    async def _reopen(self, record: ShardRecord, share: Share | None) -> ShardRecord:
        """Have the run of an earlier attempt go on: with what is left, or with rows that failed when it is done."""
        log, name, run = self._parts.log, self._task.name, record["run"]
        event = draft("shard.reopened", name, run=run, number=self._attempt, n=record["merged"])
        if record.get("state") == "done" or self._parts.history.only_failed:
            event["data"]["only_failed"] = True
        if share is not None:
            copy = RunCopy(self._store, name, record)
            await asyncio.to_thread(copy.read_again)
            spent = copy.spent
            event["data"]["share"] = [
                None if share.usd is None else share.usd + spent.usd,
                None if share.tokens is None else share.tokens + spent.tokens,
            ]
        log.commit_soon(event)
        await log.flush()
        crashpoint("pipeline.reopened.after")
        return log.state.tasks[name].shards[run]


def _goes_on(record: ShardRecord) -> bool:
    """Whether a run that ended in an earlier attempt has something left to do."""
    return record.get("state") != "done" or bool(record.get("failed_rows"))


def _failure_of(task: str, record: ShardRecord) -> PoError:
    error, state, short = record.get("error") or {}, record.get("state", ""), short_id(record["run"])
    if error.get("code") == ModelKeyError.code:
        return from_json(error)
    why = f": {error['message']}" if error.get("message") else ""
    return PipelineFailed(
        f"task {task!r}: its run {short} is {state}{why}",
        hint=f"po show {short} shows it. What it finished is kept: po resume RUN goes on with the rest.",
        details={"run": record["run"], "state": state, "error": error or None},
    )
