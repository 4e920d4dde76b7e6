"""Maps with `shards`: rounds of child runs, followed until every row has an outcome, or the map stops."""

from __future__ import annotations

import asyncio

from po_jupyter.engine.maps.live_map import LiveMap
from po_jupyter.engine.maps.map_state import MapState
from po_jupyter.engine.maps.shards.hold import shares_of
from po_jupyter.engine.maps.shards.open_child import ChildEnd
from po_jupyter.engine.maps.shards.open_shard import OpenShard
from po_jupyter.engine.maps.shards.split import shard_count, split, split_alike
from po_jupyter.engine.replay.history import History, read_history
from po_jupyter.errors import BudgetExceeded, ModelKeyError, NotFound, PoError, ShardFailed, from_json
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.names import new_run_id, short_id
from po_jupyter.model.run.row_spans import format_spans
from po_jupyter.model.run.shard_record import ShardPlan
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.crashpoints import crashpoint

_FIRST_LOOK, _LONGEST_LOOK = 0.1, 1.0  # s between two looks at the child runs


class ShardedMap:
    """A map whose rows are shared out. A child run that its share of the budget was too small for, or that left rows
    for another reason, is followed by a smaller round; the last rows of all the map works on itself, so that the error
    of a budget is the map's own."""

    def __init__(self, state: MapState) -> None:
        """Over the rows of `state`."""
        self._state = state
        self._log, self._name = state.parts.log, state.task.name
        self._open: dict[str, OpenShard] = {}
        self._failure: PoError | None = None  # of a child run, while the others finish their rows
        self._delay = _FIRST_LOOK
        self._reason = ""  # of the wait, as it was emitted last

    async def run(self) -> None:
        """Work on every row without an outcome, or until the map stops and its child runs have ended."""
        state, count = self._state, shard_count(self._state.task.shards, self._state.remaining)
        try:
            await self._recover()
            while True:
                if self._open:
                    if state.error is not None:
                        await self._cancel_all()
                    await self._look_soon()
                    continue
                if self._failure is not None:
                    state.stop(self._failure)
                if state.error is not None or not state.remaining or state.parts.boundary.draining:
                    return
                if not await self._begin_round(min(count, state.remaining)):
                    await self._work_here()
                    return
                count //= 2
        finally:
            self._release()
            state.in_flight = 0
            state.parts.boundary.rest(self._name, False)

    async def wind_up(self) -> None:
        """Cancel the child runs, wait for that, and keep what they finished: it is paid for (P12)."""
        try:
            await self._recover()
            await self._cancel_all()
            while self._open:
                await self._look_soon()
        finally:
            self._release()
            self._state.in_flight = 0
            self._state.report_progress()
            self._state.parts.boundary.rest(self._name, False)

    def _release(self) -> None:
        """End the holds of child runs that are left open: whoever takes them up sets their shares aside again."""
        for shard in self._open.values():
            shard.release()

    async def _recover(self) -> None:
        """Take up the child runs that an earlier worker planned; those of a map that was started over are
        cancelled, and those that know nothing of a limit of the budget: the next round does."""
        for record in self._log.state.tasks[self._name].open_shards:
            shard = self._open[record["run"]] = OpenShard(self._state, record)
            await shard.set_aside()
            if shard.is_void or not shard.keeps_budget:
                await shard.cancel()

    async def _work_here(self) -> None:
        await self._recall_answers()
        self._state.parts.boundary.rest(self._name, False)
        self._state.in_flight = 0
        await LiveMap(self._state).run()

    async def _recall_answers(self) -> None:
        """Have calls of the rows that are left answer again which child runs recorded (P3)."""
        known, now = self._state.parts.history, await self._history()
        if now is known:
            return
        calls = now.calls.get(self._name, {})
        for index in self._state.open_indexes():
            for key, call in calls.get(index, {}).items():
                known.remember_call(key, call)

    # -- rounds ---------------------------------------------------------------------------------
    async def _begin_round(self, count: int) -> bool:
        """Share the open rows out to `count` child runs; False where the map had better work on them itself."""
        state, log = self._state, self._log
        if count < 2:
            return False
        share = shares_of(state.parts.calls.budget, self._name, count)
        if share is not None and share.is_nothing:
            return False
        parts = await asyncio.to_thread(self._split, count)
        if len(parts) < 2:
            return False
        share = shares_of(state.parts.calls.budget, self._name, len(parts))
        first = len(log.state.tasks[self._name].shards) + 1
        plans: list[ShardPlan] = []
        for number, rows in enumerate(parts, first):
            plan: ShardPlan = {"run": new_run_id(), "shard": number, "rows": format_spans(rows)}
            if share is not None:
                plan["share"] = [share.usd, share.tokens]
            plans.append(plan)
        # The ids are durable before the runs are: whoever creates one creates the same, and once.
        log.commit_soon(
            draft("shards.planned", self._name, number=log.state.tasks[self._name].attempt, shards=plans)
        )
        await log.flush()
        crashpoint("shards.planned.after")
        history = await self._history()
        for record in log.state.tasks[self._name].open_shards:
            shard = self._open[record["run"]] = OpenShard(state, record)
            await shard.set_aside()
            await shard.create(history)
        self._delay = _FIRST_LOOK
        return True

    def _split(self, count: int) -> list[list[int]]:
        """The open rows in at most `count` parts. Blocks."""
        state, rows = self._state, list(self._state.open_indexes())
        if state.task.cache is False or state.parts.inputs.options.cache is False:
            return [list(part) for part in split(rows, count)]
        # Who asks the same is asked for in one child run: each of them finds another answer of an earlier run.
        keys = [state.code.key(state.row(index)) for index in rows]
        return [[rows[place] for place in part] for part in split_alike(keys, count)]

    async def _history(self) -> History:
        """The history as it is now: what earlier child runs recorded is not in that of the worker's start."""
        history, log = self._state.parts.history, self._log
        if len(log.state.tasks[self._name].shards) == len(log.state.tasks[self._name].open_shards):
            return history
        return await asyncio.to_thread(read_history, log.store, log.run)

    # -- child runs -----------------------------------------------------------------------------
    async def _cancel_all(self) -> None:
        for shard in self._open.values():
            await shard.cancel()

    async def _look_soon(self) -> None:
        """Wait a moment, and merge what the child runs have done."""
        state, boundary = self._state, self._state.parts.boundary
        self._emit_waiting()
        boundary.rest(self._name, True)
        await boundary.sleep(self._delay)
        moved = False
        for shard in list(self._open.values()):
            try:
                has_moved, end = await shard.look()
            except NotFound:  # planned by a worker that did not live to create it
                await shard.create(await self._history())
                continue
            moved = moved or has_moved
            if end is not None:
                await shard.close(end)
                del self._open[shard.run]
                self._judge(shard, end)
        state.in_flight = sum(shard.in_flight for shard in self._open.values())
        self._delay = _FIRST_LOOK if moved else min(2 * self._delay, _LONGEST_LOOK)

    def _judge(self, shard: OpenShard, end: ChildEnd) -> None:
        """Have the map stop, or finish with an error, for a child run that ended without all of its outcomes."""
        if end.state in ("done", "cancelled") or shard.is_cancelled:
            return  # nobody but this run cancels one, perhaps in the time of an earlier worker
        error = end.error or {}
        if error.get("code") == BudgetExceeded.code:
            if (error.get("details") or {}).get("scope") == "day":
                self._state.stop(from_json(error))
            return  # of its share: there is another round
        if error.get("code") == ModelKeyError.code:
            self._state.stop(from_json(error))  # no other row would do better
            return
        self._failure = self._failure or _failure_of(shard, end.state, error)

    def _emit_waiting(self) -> None:
        count = len(self._open)
        reason = f"{count} child {'run' if count == 1 else 'runs'}"
        if all(shard.is_cancelled for shard in self._open.values()):
            reason += ", being cancelled"
        if reason != self._reason:
            self._reason = reason
            self._state.report_progress()
            self._log.emit(draft("task.waiting", self._name, reason=reason, stays=True))


def _failure_of(shard: OpenShard, state: str, error: JsonObject) -> ShardFailed:
    why = f": {error['message']}" if error.get("message") else ""
    return ShardFailed(
        f"child run {short_id(shard.run)}, of rows {shard.record['rows']:.60}, is {state}{why}",
        hint="What it finished is kept. po resume RUN goes on with the rows that are left.",
        details={"run": shard.run, "rows": shard.record["rows"], "state": state, "error": error or None},
    )
