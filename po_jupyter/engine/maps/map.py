"""Maps: `for_each` over rows. Rows are rows, not tasks: a bounded window of coroutines takes them in order.

    rows ──► window (max_concurrency) ──► a row's lifecycle, its retries ──► durable outcome, by group commit

An outcome is said once, in one commit with the answers that led to it. A crash keeps what is durable; a failed
row is tried again by a resume only.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from po_jupyter.engine.base.interrupts import Drained, Interrupt
from po_jupyter.engine.base.json_values import copied
from po_jupyter.engine.base.task_retry import may_retry
from po_jupyter.engine.base.tracebacks import internal
from po_jupyter.engine.base.usage_sum import Tally
from po_jupyter.engine.lifecycle import failure_log as telling
from po_jupyter.engine.lifecycle import snapshots
from po_jupyter.engine.lifecycle.stages import Frame, run_stages
from po_jupyter.engine.maps.reuse import Found, Looks, announce, definition_of, find
from po_jupyter.engine.python.python_task import Inputs
from po_jupyter.engine.replay.history import map_marker
from po_jupyter.engine.replay.row_table import DONE, FAILED
from po_jupyter.errors import BudgetExceeded, ModelKeyError, PoError, StoreError, ThresholdExceeded
from po_jupyter.llm.calls.retry import backoff_delay
from po_jupyter.model.pipeline.pipeline import STAGES, Task
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.platform.concurrency import together
from po_jupyter.telemetry import correlation
from po_jupyter.telemetry.logging import redactor

if TYPE_CHECKING:
    from po_jupyter.engine.calls.attempt_calls import Calls
    from po_jupyter.engine.lifecycle.stages import Stage
    from po_jupyter.engine.prompts.prompt_task import PromptTask
    from po_jupyter.engine.python.python_task import PythonTask
    from po_jupyter.engine.run.session import Work
    from po_jupyter.llm.chat import Message
    from po_jupyter.store.group_commit import CommitResult
    from po_jupyter.store.protocol import ItemDraft

_PROGRESS = 0.2  # s between two `map.progress`
UNFLUSHED = 500  # outcomes on their way to the disk before a row waits for them
# A call's key has one number for the attempt; a task has at most 20 row attempts (model.CallRetry).
ROW_ATTEMPTS = 100


async def run_map(work: Work, task: Task, attempt: int) -> dict[str, Any]:
    """Run every row that has no outcome yet; answers what stands for the output in the checkpoint.

    Raises ThresholdExceeded when more rows failed than allowed, BudgetExceeded, or ModelKeyError (no further
    row could do better); finished rows are kept. Raises TemplateFailed when `for_each` gives no list.
    """
    names = work.names(task, attempt)
    rows = await work.off_loop(work.for_each, task, names)  # it may read every row of an earlier map
    if task.mode == "batch":
        from po_jupyter.engine.maps.batches.batch_map import BatchMap

        return await BatchMap(work, task, attempt, rows, names).run()
    return await Map(work, task, attempt, rows, names).run()


class Map:
    """The rows of one task, asked one by one. `over` is set when no further row may start."""

    def __init__(
        self, work: Work, task: Task, attempt: int, rows: Sequence[Any], names: dict[str, Any]
    ) -> None:
        self.work, self.task, self.attempt = work, task, attempt
        self.names = names
        self.rows = rows
        limit = work.options.get("limit")
        self.total = len(rows) if limit is None else min(len(rows), limit)
        self.known = work.rows(task.name)
        self.done = sum(1 for i in self.known.indexes(DONE) if i < self.total)
        self.failed = sum(1 for i in self.known.indexes(FAILED) if i < self.total)
        self.reused = work.history.reused[task.name]
        self.in_flight = 0
        self.used = work.history.uncounted.pop(task.name, Tally())
        self.over: PoError | None = None  # no further row starts
        self.unflushed = 0
        self.timer: asyncio.TimerHandle | None = None
        self.said = (-1, -1)
        self.prompt: PromptTask | None = None
        self.python: PythonTask | None = None
        self.looks: Looks | None = None
        self.definition: str | None = None
        self.contents: dict[str, str] = {}  # what artifacts hold, where rows show them

    async def run(self) -> dict[str, Any]:
        work, task = self.work, self.task
        stage = await self._prepare()
        work.emit(draft("map.started", task.name, total=self.total, stage=stage))
        if self.known:
            self._say()
        self._judge()
        if self.over is None and len(self.known) < self.total:
            await self._reuse()
        try:
            await self.rows_done()
        finally:
            self._progress_now()
        if work.draining and self.done + self.failed < self.total and self.over is None:
            raise Drained
        if self.over is not None:
            raise self.over
        return map_marker(task.name, self.total)

    async def rows_done(self) -> None:
        """Every row to its outcome, or until `over` is set."""
        todo = (i for i in range(self.total) if i not in self.known)
        window = min(self.task.max_concurrency, self.total - self.done - self.failed)
        await together(self._worker(todo) for _ in range(window))

    async def _prepare(self) -> str:
        """Get what makes the stages of a row; the stage that stands for all of a row's in views."""
        work, task = self.work, self.task
        if task.kind == "prompt":
            self.prompt = work.prompt_task(task)
            functions = None
            if task.images:
                self.contents = await asyncio.to_thread(work.files.contents)
        else:
            self.python = await work.python_task(task)
            functions = self.python.functions
            self.looks = Looks(work, task)
            self.inputs = Inputs(work.seed_data, work.outputs_for(task), self.looks)
        self.definition = await asyncio.to_thread(definition_of, work, task, functions)
        if functions is None or "inference" in functions:
            return "inference"
        return next(stage for stage in STAGES if stage in functions)

    # -- outcomes of earlier runs ---------------------------------------------------------------------
    async def _reuse(self) -> None:
        """Take over what earlier runs paid for; say that this run has outcomes to take, too."""
        work, task = self.work, self.task
        if self.definition is None or task.cache is False or work.options.get("cache") is False:
            return
        runs = await asyncio.to_thread(announce, work.store, self.definition, work.run)
        refresh = "refresh" in (task.cache, work.options.get("cache")) or work.options.get("fresh")
        if refresh or work.state.tasks[task.name].cleared_at or not runs:
            return
        wanted = await asyncio.to_thread(self._wanted)
        chunks = find(work.store, runs, wanted, self.looks)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            work.checkpoint()
            for found in chunk:
                self._taken(found)
            await work.flush()

    def _wanted(self) -> dict[str, list[int]]:
        wanted: dict[str, list[int]] = {}
        for index in range(self.total):
            if index not in self.known:
                item = self.rows[index]
                names = {**self.names, "item": item, "index": index}
                wanted.setdefault(self._key(item, self._first(names), names), []).append(index)
        return wanted

    def _taken(self, found: Found) -> None:
        index = found.row
        item = self.rows[index]
        names = {**self.names, "item": item, "index": index}
        key = self._key(item, self._first(names), names)
        row: ItemDraft = {"task": self.task.name, "index": index, "ok": True, "key": key, "output": 0}
        row["reused"] = found.origin
        if self.looks is not None and (said := self.looks.said(index)):
            row["looked"] = said
        self.done += 1
        self.reused += 1
        self.work.history.reused[self.task.name] = self.reused
        self._commit(row, (found.output,))

    def _first(self, names: dict[str, Any]) -> tuple[Message, ...] | None:
        """What a prompt row asks at first; None when it cannot be rendered, which its stage will say."""
        if self.prompt is None:
            return None
        try:
            if self.task.images:
                self.prompt.images(names)
            return self.prompt.first(names)
        except PoError:
            return None

    # -- rows -------------------------------------------------------------------------------------------
    async def _worker(self, todo: Iterator[int]) -> None:
        work = self.work
        for index in todo:
            if self.over is not None or work.draining:
                return
            self.in_flight += 1
            try:
                await self._row(index)
            except Drained:
                return
            finally:
                self.in_flight -= 1

    def _stages(
        self, calls: Calls, names: dict[str, Any], first: tuple[Message, ...] | None
    ) -> dict[str, Stage]:
        if self.prompt is not None:
            return self.prompt.stages(calls, names, first=first)
        assert self.python is not None
        return self.python.stages(calls, self.inputs)

    async def _row(self, index: int) -> None:
        work, task = self.work, self.task
        item = self.rows[index]
        names = {**self.names, "item": item, "index": index}
        python = self.python is not None
        first = self._first(names)
        key = self._key(item, first, names)
        row_attempt = 0
        usage = Tally()
        while True:
            row_attempt += 1
            again = self.attempt > 1 or row_attempt > 1
            calls = work.calls(task, self.attempt * ROW_ATTEMPTS + row_attempt, index, again=again)
            frame = Frame(task, row_attempt, copied(item) if python else item, index)
            correlation.place.set(frame.where)
            ended = False
            try:
                output = await run_stages(
                    self._stages(calls, names, first),
                    frame,
                    max_refinements=task.refine.max_attempts,
                    seconds=task.timeout,
                    boundary=work.checkpoint,
                )
                if task.kind == "python":
                    output = redactor.scrub(output)
                ended = True
            except Interrupt:
                raise
            except StoreError:
                raise
            except Exception as raised:
                ended = True
                error = internal(raised)
                snapshots.keep(work, frame, error)
            else:
                usage.add(calls.usage)
                if self.looks is not None and self.looks.unknown:
                    await asyncio.to_thread(self.looks.fill)
                self._outcome(index, key, usage, output, None)
                calls.keep()
                break
            finally:
                if not ended:
                    self._given_up(index, frame, calls)
            usage.add(calls.usage)
            calls.drop()
            telling.row_failed(work, task, index, row_attempt, error)
            if isinstance(error, BudgetExceeded | ModelKeyError):
                # Not this row's fault, and no other row would do better: it stays open for a resume.
                self.over = self.over or error
                self.used.add_json(usage.to_json())
                return
            if not may_retry(error) or row_attempt >= task.retry.max_attempts:
                self._outcome(index, key, usage, None, error)
                break
            await work.sleep(backoff_delay(row_attempt, task.retry))
        if self.unflushed >= UNFLUSHED:
            self.unflushed = 0
            await work.flush()

    def _given_up(self, index: int, frame: Frame, calls: Any) -> None:
        """A stop came in the middle of a row: what its calls used has no outcome to be in."""
        work = self.work
        used = calls.usage
        if work.draining or work.closed or not used.calls:
            return
        work.emit(draft("call.unknown", self.task.name, index, stage=frame.stage, usage=used.to_json()))

    def _outcome(self, index: int, key: str, usage: Tally, output: Any, error: PoError | None) -> None:
        row: ItemDraft = {"task": self.task.name, "index": index, "ok": error is None, "key": key}
        used = usage.to_json()
        if usage:
            row["usage"] = used
        self.used.add_json(used)
        if error is None:
            self.done += 1
            row["output"] = 0
            if self.looks is not None and (said := self.looks.said(index)):
                row["looked"] = said
            if wrote := self.work.files.said(self.task.name, index):
                row["artifacts"] = wrote["artifacts"]
            self._commit(row, (output,))
        else:
            self.failed += 1
            said = redactor.scrub(error.to_json())
            row["error"] = said
            self.work.files.forget(self.task.name, index)
            self._commit(row, (), draft("item.failed", self.task.name, index, error=said))
            self._judge()

    def _commit(self, row: ItemDraft, payloads: tuple[Any, ...], *events: EventDraft) -> None:
        """Queue the outcome. The table knows at once that there is one, and where it is once it is durable."""
        index, ok = row["index"], row["ok"]
        answers = self.work.history.calls.setdefault(self.task.name, {})

        def placed(result: CommitResult) -> None:
            self.known.set(index, ok, result.refs[0] if ok else None, n=result.n)
            answers.pop(index, None)  # of a row that was in several batches

        self.unflushed += 1
        self.known.set(index, ok)
        self.work.commit_soon(*events, items=(row,), payloads=payloads, then=placed)
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(_PROGRESS, self._progress_now)

    def _judge(self) -> None:
        """Stop starting rows once too many failed."""
        if self.over is None and self.total and self.failed / self.total > self.task.failure_threshold:
            self.over = ThresholdExceeded(
                f"{self.failed} of {self.total} rows failed; failure_threshold {self.task.failure_threshold:g} "
                f"allows {int(self.task.failure_threshold * self.total)}",
                hint="Finished rows are kept. po resume RUN --only-failed tries the others again.",
                details={"failed": self.failed, "total": self.total, "done": self.done},
            )

    def _progress_now(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if (self.done, self.failed) != self.said or self.used:
            self._say()

    def _say(self) -> None:
        self.said = (self.done, self.failed)
        if self.work.closed:
            return
        self.work.emit(
            draft(
                "map.progress",
                self.task.name,
                done=self.done,
                failed=self.failed,
                in_flight=self.in_flight,
                reused=self.reused,
                usage=self.used.take(),
            )
        )

    def _key(self, item: Any, first: tuple[Message, ...] | None, names: dict[str, Any]) -> str:
        """Names a row by its content and everything that makes its outcome: equal keys, equal work."""
        if first is not None:
            assert self.prompt is not None
            text = "".join(f"{m.role} {len(m.content)} {m.content}" for m in first)
            if self.task.images:
                # An artifact by what it holds; behind a URL the same picture is taken to stand.
                text += json.dumps([self.contents.get(i.text, i.text) for i in self.prompt.images(names)])
        else:
            text = json.dumps(item, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{self.definition}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
