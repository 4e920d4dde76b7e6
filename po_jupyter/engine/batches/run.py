"""A map that goes through batches: which rows are sent, what is made of the answers (see the package)."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from po_jupyter.engine import snapshots, telling
from po_jupyter.engine.batches.asking import Asking, pauses
from po_jupyter.engine.batches.calls import BatchCalls, Came, Deferred
from po_jupyter.engine.batches.rows import Open, Place, custom_id, opened, place_of, spans
from po_jupyter.engine.batches.wave import Wave, cannot
from po_jupyter.engine.fanout import ROW_ATTEMPTS, UNFLUSHED, Map
from po_jupyter.engine.interrupts import Interrupt
from po_jupyter.engine.lifecycle import Frame, run_stages
from po_jupyter.engine.spending import NOTHING
from po_jupyter.engine.tally import Tally
from po_jupyter.engine.tracebacks import internal
from po_jupyter.errors import (
    BudgetExceeded,
    ModelError,
    ModelKeyError,
    ModelRefused,
    ModelUnavailable,
    StoreError,
)
from po_jupyter.llm.batches.base import PRICE, BatchLine, BatchStatus, batches_of
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.providers import no_batches
from po_jupyter.model.event import draft
from po_jupyter.telemetry import correlation
from po_jupyter.testing.crashpoints import crashpoint

_BREATH = 50  # rows after which others on the loop get their turn
_LINES = 500  # lines of results read at once
_CROWDED = frozenset({"token_limit_exceeded"})  # the account has too much in batches already


class BatchMap(Map):
    """A map with `mode: batch`."""

    asking: Asking
    stopping = False  # the run ends: nothing more is sent, and what is not answered stays open
    crowded = False  # the provider takes no more before one of ours has ended

    async def rows_done(self) -> None:
        """Every row to its outcome, or until `over` is set."""
        work, name = self.work, self.task.name
        self._begin()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        await self._recover()
        try:
            while True:
                if self.over is None and not (self.crowded and self.open):
                    await self._fill()
                if not self.open:
                    return
                if self.over is not None:
                    await self._cancel_all()
                await self._until_one_ends()
        finally:
            work.rest(name, False)

    def _begin(self) -> None:
        work, task = self.work, self.task
        model = work.calls(task, 0).model
        why = no_batches(model)
        api = batches_of(work.provider_of(model)) if why is None else None
        if api is None:
            raise ModelRefused(
                why or f"`mode: batch` needs a provider with a batch API, and that of {model} has none",
                hint="Choose another model, or leave `mode` out: rows are then asked one by one.",
            )
        self.asking = Asking(work, task, api)
        self.open: dict[str, Open] = {}
        self.told = ""

    @property
    def _folder(self) -> Path:
        return self.work.run_dir / "batches" / self.task.name

    # -- what the log knows of batches ----------------------------------------------------------------
    async def _recover(self) -> None:
        """Take up the batches that an earlier worker left at the provider, or may have left there."""
        work, name = self.work, self.task.name
        state = work.state.tasks[name]
        batches = [(opened(said, _seconds(said["at"])), said["offset"]) for said in state.batches.values()]
        for batch, _ in batches:  # all of them first: while one is looked for, no row of another is free
            if work.budget is not None and not self.stopping:
                batch.hold = work.budget.adopt(name, work.history.spending.left_of(batch.token))
            self._add(batch)
        for batch, offset in batches:
            if batch.id is None:
                found = await self.asking.search(batch, self._ids())
                if found is None:
                    await self._drop(batch, None)
                    continue
                await self._submitted(batch, found, adopted=True)
            if offset < state.cleared_at:  # the task was restarted since: its rows are asked anew
                await self._cancel(batch)
                await self._close(batch, "void", 0)

    def _add(self, batch: Open) -> None:
        self.open[batch.token] = batch
        self.in_flight += len(batch.rows)

    def _gone(self, batch: Open) -> None:
        del self.open[batch.token]
        self.in_flight -= len(batch.rows) - batch.landed
        if batch.hold is not None and self.work.budget is not None:
            self.work.budget.release(batch.hold)

    def _ids(self) -> frozenset[str]:
        return frozenset(batch.id for batch in self.open.values() if batch.id is not None)

    async def _say_batch(self, what: str, batch: Open, **data: Any) -> None:
        await self.work.commit(draft(f"batch.{what}", self.task.name, token=batch.token, **data))

    async def _submitted(self, batch: Open, id: str, *, adopted: bool = False) -> None:
        batch.id = id
        await self._say_batch("submitted", batch, id=id, adopted=adopted)
        crashpoint("batch.submitted.after")

    async def _drop(self, batch: Open, error: ModelError | None) -> None:
        await self._say_batch("dropped", batch, error=error.to_json() if error is not None else None)
        self._gone(batch)

    async def _close(self, batch: Open, state: str, answered: int) -> None:
        crashpoint("batch.close.before")
        await self._say_batch("closed", batch, id=batch.id, answered=answered, state=state)
        crashpoint("batch.close.after")
        self._gone(batch)

    # -- sending --------------------------------------------------------------------------------------
    async def _fill(self) -> None:
        """Send every row that has no outcome and is in no batch, as far as budgets allow."""
        while self.over is None and not (self.crowded and self.open):
            wave = Wave(self._folder, self.work.budget.hold_for(self.task.name) if self.work.budget else None)
            try:
                await self._gather(wave)
                if not wave.rows or self.over is not None:
                    self._let_go(wave)
                    return
                await wave.write()
                await self._send(wave)
            except BaseException:
                self._let_go(wave)
                raise
            finally:
                await asyncio.to_thread(wave.path.unlink, missing_ok=True)

    def _let_go(self, wave: Wave) -> None:
        if wave.token not in self.open and wave.hold is not None and self.work.budget is not None:
            self.work.budget.release(wave.hold)

    async def _gather(self, wave: Wave) -> None:
        """Take rows into the wave until it is full, or no more can be afforded now."""
        work, api = self.work, self.asking.api
        away = {index for batch in self.open.values() for index in batch.rows}
        done = 0
        for index in range(self.total):
            if index in self.known or index in away:
                continue
            done += 1
            if done % _BREATH == 0:
                work.checkpoint()
                await asyncio.sleep(0)
            wanted, _ = await self._through(index, self.attempt)
            if self.over is not None:
                return
            if wanted is None:
                continue
            try:
                group = api.group(wanted.request)
                if wave.group not in (None, group):
                    continue
                place = Place(index, self.attempt, wanted.stage, wanted.round)
                line = api.line(custom_id(wave.token, place), wanted.request)
                if len(line) > api.max_bytes:
                    raise ModelRefused(f"the row takes {len(line):,} bytes; a batch may have {api.max_bytes:,}")
            except ModelError as error:
                await self._through(index, self.attempt, Came(wave.token, None, 0, _raising(error)))
                continue
            if len(wave.rows) >= api.max_requests or wave.bytes + len(line) + 1 > api.max_bytes:
                return
            if not await self._afford(wave, wanted.request):
                return
            wave.group = group
            await wave.add(index, line)

    async def _afford(self, wave: Wave, request: ChatRequest) -> bool:
        """Set the worst case of one more row aside. When not even one can be sent, it is the end."""
        budget = self.work.budget
        if budget is None or wave.hold is None:
            return True
        try:
            worst = await budget.worst_case(request)
            worst = worst._replace(usd=worst.usd * PRICE)
            if await budget.widen(wave.hold, worst):
                return True
            if wave.rows or self.open:
                return False  # later: what is on its way frees what it does not use
            wave.hold = await budget.begin(worst, self.task.name)
        except BudgetExceeded as error:
            self.over = error
            return False
        return True

    async def _send(self, wave: Wave) -> None:
        work, task, api = self.work, self.task, self.asking.api
        reserved = wave.hold.left if wave.hold is not None else NOTHING
        rows = tuple(wave.rows)
        batch = Open(wave.token, self.attempt, rows, time.time(), reserved, hold=wave.hold)
        group = wave.group or ""
        work.rest(task.name, False)
        crashpoint("batch.prepare.before")
        await work.commit(
            draft(
                "batch.prepared",
                task.name,
                token=batch.token,
                attempt=batch.attempt,
                provider=api.name,
                model=work.calls(task, 0).model,
                group=group,
                count=len(rows),
                rows=spans(rows),
                bytes=wave.bytes,
                digest=wave.digest,
                reserved=list(reserved),
            )
        )
        crashpoint("batch.prepare.after")
        self._add(batch)
        try:
            id = await self.asking.submit(batch, group, wave.path, self._ids())
        except ModelError as error:
            await self._drop(batch, error)
            self.over = self.over or error
            return
        await self._submitted(batch, id)

    # -- waiting --------------------------------------------------------------------------------------
    async def _until_one_ends(self) -> None:
        """Look at the batches now and then, until one has ended and was collected."""
        work, settings = self.work, self.work.settings
        pause = pauses(settings.batch_poll_min, settings.batch_poll_max)
        while True:
            self._say_waiting()
            work.rest(self.task.name, True)
            await work.sleep(pause())
            ended = False
            for batch in list(self.open.values()):
                if batch.cancelling and not batch.asked:
                    batch.asked = await self.asking.cancel(batch)
                status = await self.asking.look(batch)
                crashpoint("batch.look.after")
                batch.silent = status is None
                if status is None:
                    continue
                batch.seen = (status.done, status.total)
                if status.state == "ended":
                    work.rest(self.task.name, False)
                    await self._collect(batch, status)
                    ended = True
            if ended:
                return

    def _say_waiting(self) -> None:
        count = len(self.open)
        rows = sum(len(batch.rows) for batch in self.open.values())
        done = sum(batch.seen[0] for batch in self.open.values())
        what = f"batch of {rows:,}" if count == 1 else f"{count} batches of {rows:,}"
        reason = f"{what} {'row' if rows == 1 else 'rows'} at {self.asking.api.name}: {done:,} done"
        if all(batch.cancelling for batch in self.open.values()):
            reason += ", being cancelled"
        if any(batch.silent for batch in self.open.values()):
            reason += " (it does not answer now)"
        if reason != self.told:
            self.told = reason
            self._progress_now()
            self.work.emit(draft("task.waiting", self.task.name, reason=reason))

    async def _cancel(self, batch: Open) -> None:
        """Ask the provider to end it. That it was asked is durable first: rows that come back cancelled are no
        failures then."""
        if batch.id is not None and not batch.cancelling:
            await self._say_batch("cancelling", batch, id=batch.id)
            batch.cancelling = True
            batch.asked = await self.asking.cancel(batch)

    async def _cancel_all(self) -> None:
        for batch in list(self.open.values()):
            await self._cancel(batch)

    # -- collecting -----------------------------------------------------------------------------------
    async def _collect(self, batch: Open, status: BatchStatus) -> None:
        """Record every answer and what came of its row; then the batch is closed."""
        if status.error and not status.results:
            await self._refused(batch, status)
            return
        path = self._folder / f"{batch.token}.results"
        seen: set[int] = set()
        answered = 0
        try:
            await asyncio.to_thread(path.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
            await self.asking.sure(lambda: self.asking.api.fetch(status, path))
            crashpoint("batch.collect.before")
            with path.open("rb") as file:
                while lines := await asyncio.to_thread(file.readlines, _LINES * 1000):
                    for line in lines:
                        answered += await self._line(batch, line, seen)
        except OSError as error:
            raise cannot(path, error) from None
        finally:
            path.unlink(missing_ok=True)
        if not batch.cancelling:
            for index in batch.rows:
                if index not in seen:
                    why = f"{self.asking.api.name} returned no result for row {index} in batch {batch.id}"
                    await self._answer(
                        batch, index, Came(batch.token, None, 0, _raising(ModelUnavailable(why)))
                    )
        await self.work.flush()
        crashpoint("batch.collect.after")
        self.crowded = False
        await self._close(batch, "expired" if status.expired else "ended", answered)
        self._progress_now()

    async def _line(self, batch: Open, line: bytes, seen: set[int]) -> int:
        """One line of the results; 1 when it was an answer to a row that had none."""
        api = self.asking.api
        said = api.parse(line) if line.strip() else None
        place = place_of(batch.token, said.custom_id) if said is not None else None
        if said is None or place is None or place.row in seen or place.row not in batch.members:
            return 0  # nothing that was asked, or a second answer: the first one counts
        seen.add(place.row)
        batch.landed += 1
        self.in_flight -= 1
        if said.cancelled and batch.cancelling:
            return 0
        came = Came(batch.token, place.stage, place.round, _reading(api.read, said))
        return await self._answer(batch, place.row, came)

    async def _answer(self, batch: Open, index: int, came: Came) -> int:
        if index in self.known:
            return 0
        wanted, calls = await self._through(index, batch.attempt, came)
        if calls.fresh is not None and batch.hold is not None and self.work.budget is not None:
            self.work.budget.settle_part(batch.hold, batch.part, calls.fresh)
        if wanted is not None and (self.stopping or self.over is not None):
            self.used.add_json(calls.usage.to_json())  # no outcome will say it
        self.unflushed += wanted is not None
        if self.unflushed >= UNFLUSHED:
            self.unflushed = 0
            await self.work.flush()
        elif index % _BREATH == 0:
            await asyncio.sleep(0)
        return int(calls.fresh is not None)

    async def _refused(self, batch: Open, status: BatchStatus) -> None:
        """The provider took the batch and then refused it as a whole: no row was looked at, nothing is to be paid."""
        name = self.asking.api.name
        for number, why in status.lines.items():
            if 0 < number <= len(batch.rows):
                refused = ModelRefused(f"{name}: {why}", details={"reason": status.code or "invalid_line"})
                await self._answer(batch, batch.rows[number - 1], Came(batch.token, None, 0, _raising(refused)))
        if status.code == "gone":
            for index in batch.rows:
                await self._answer(
                    batch, index, Came(batch.token, None, 0, _raising(ModelUnavailable(status.error)))
                )
        await self.work.flush()
        await self._close(batch, "refused", 0)
        if status.lines or status.code == "gone":
            return
        if status.code in _CROWDED and self.open:
            self.crowded = True
            return
        self.over = self.over or ModelRefused(
            f"{name} refused the batch: {status.error}",
            hint="No row of it was asked. Mend that, then: po resume RUN",
            details={"provider": name, "reason": status.code, "batch": status.id},
        )

    # -- one row --------------------------------------------------------------------------------------
    async def _through(
        self, index: int, attempt: int, came: Came | None = None
    ) -> tuple[Deferred | None, BatchCalls]:
        """Take a row through its stages as far as known answers carry it: to its outcome (None), or to the question
        that nothing answers."""
        work, task = self.work, self.task
        item = self.rows[index]
        names = {**self.names, "item": item, "index": index}
        first = self._first(names)
        calls = work.calls_of(BatchCalls, task, attempt * ROW_ATTEMPTS + 1, index, again=attempt > 1)
        calls.came = came
        frame = Frame(task, 1, item, index)
        correlation.place.set(frame.where)
        assert self.prompt is not None
        usage = Tally()
        try:
            output = await run_stages(
                self.prompt.stages(calls, names, first=first),
                frame,
                max_refinements=task.refine.max_attempts,
                seconds=task.timeout,
                boundary=work.checkpoint,
            )
        except Deferred as wanted:
            calls.drop()
            return wanted, calls
        except (Interrupt, StoreError):
            raise
        except Exception as raised:
            calls.drop()
            error = internal(raised)
            telling.row_failed(work, task, index, 1, error)
            usage.add(calls.usage)
            if isinstance(error, BudgetExceeded | ModelKeyError):
                self.over = self.over or error
                self.used.add_json(usage.to_json())
                return None, calls
            snapshots.keep(work, frame, error)
            self._outcome(index, self._key(item, first, names), usage, None, error)
        else:
            calls.keep()
            usage.add(calls.usage)
            self._outcome(index, self._key(item, first, names), usage, output, None)
        return None, calls

    # -- the end of a run -------------------------------------------------------------------------------
    async def wind_up(self) -> None:
        """Cancel at the provider, wait for that, and keep what was finished: it is paid for (P12)."""
        self.stopping = True
        await self._prepare()
        self._begin()
        try:
            await self._recover()
            await self._cancel_all()
            while self.open:
                await self._until_one_ends()
        finally:
            self._progress_now()
            self.work.rest(self.task.name, False)


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def _raising(error: ModelError) -> Callable[[ChatRequest], ChatResponse]:
    def read(request: ChatRequest) -> ChatResponse:
        raise error

    return read


def _reading(
    read: Callable[[ChatRequest, BatchLine], ChatResponse], line: BatchLine
) -> Callable[[ChatRequest], ChatResponse]:
    return lambda request: read(request, line)
