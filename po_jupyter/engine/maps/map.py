"""Maps: `for_each` over rows. Rows are rows, not tasks: a bounded window of coroutines takes them in order.

    rows ──► window (max_concurrency) ──► a row's lifecycle, its retries ──► durable outcome, by group commit

An outcome is said once, in one commit with the answers that led to it. A crash keeps what is durable; a failed
row is tried again by a resume only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.engine.base.json_values import copied
from po_jupyter.engine.base.task_retry import may_retry
from po_jupyter.engine.base.tracebacks import internal
from po_jupyter.engine.base.usage_sum import Tally
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import run_stages
from po_jupyter.engine.maps.dependencies import RowDependencies
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.reuse import Found, announce, definition_of, find
from po_jupyter.engine.python.inputs import TaskInputs
from po_jupyter.engine.replay.history import map_marker
from po_jupyter.engine.replay.row_table import DONE, FAILED
from po_jupyter.errors import BudgetExceeded, ModelKeyError, PoError, StoreError, ThresholdExceeded
from po_jupyter.llm.calls.retry import backoff_delay
from po_jupyter.model.pipeline.pipeline import STAGES, Task
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.values.digests import short_digest
from po_jupyter.platform.concurrency import gather_or_cancel
from po_jupyter.telemetry import correlation
from po_jupyter.telemetry.redaction import redactor

if TYPE_CHECKING:
    from po_jupyter.engine.calls.attempt_calls import AttemptCalls
    from po_jupyter.engine.lifecycle.stages import Stage
    from po_jupyter.engine.ports import CommitPlace
    from po_jupyter.engine.prompts.prompt_task import PromptTask
    from po_jupyter.engine.python.python_task import PythonTask
    from po_jupyter.llm.chat import Message
    from po_jupyter.store.protocol import ItemDraft

_PROGRESS = 0.2  # s between two `map.progress`
UNFLUSHED = 500  # outcomes on their way to the disk before a row waits for them
# A call's key has one number for the attempt; a task has at most 20 row attempts (model.CallRetry).
ROW_ATTEMPTS = 100


class Map:
    """The rows of one task, asked one by one. `over` is set when no further row may start."""

    def __init__(
        self, parts: MapParts, task: Task, attempt: int, rows: Sequence[Any], names: dict[str, Any]
    ) -> None:
        """Attempt `attempt` of a map over `rows`; `names` are what templates see of the run."""
        self.parts, self.task, self.attempt = parts, task, attempt
        self.names = names
        self.rows = rows
        limit = parts.inputs.options.limit
        self.total = len(rows) if limit is None else min(len(rows), limit)
        self.known = parts.history.table(task.name)
        self.done = sum(1 for i in self.known.indexes(DONE) if i < self.total)
        self.failed = sum(1 for i in self.known.indexes(FAILED) if i < self.total)
        self.reused = parts.history.reused[task.name]
        self.in_flight = 0
        self.used = parts.history.uncounted.pop(task.name, Tally())
        self.over: PoError | None = None  # no further row starts
        self.unflushed = 0
        self.timer: asyncio.TimerHandle | None = None
        self.said = (-1, -1)
        self.prompt: PromptTask | None = None
        self.python: PythonTask | None = None
        self.dependencies: RowDependencies | None = None
        self.definition: str | None = None
        self.contents: dict[str, str] = {}  # what artifacts hold, where rows show them

    async def run(self) -> dict[str, Any]:
        """Every row to its outcome; what stands for the output in the checkpoint. See `run_map.run_map`."""
        parts, task = self.parts, self.task
        stage = await self._prepare()
        parts.log.emit(draft("map.started", task.name, total=self.total, stage=stage))
        if self.known:
            self._say()
        self._judge()
        if self.over is None and len(self.known) < self.total:
            await self._reuse()
        try:
            await self.rows_done()
        finally:
            self._progress_now()
        if parts.boundary.draining and self.done + self.failed < self.total and self.over is None:
            raise Drained
        if self.over is not None:
            raise self.over
        return map_marker(task.name, self.total)

    async def rows_done(self) -> None:
        """Every row to its outcome, or until `over` is set."""
        todo = (i for i in range(self.total) if i not in self.known)
        window = min(self.task.max_concurrency, self.total - self.done - self.failed)
        await gather_or_cancel(self._worker(todo) for _ in range(window))

    async def _prepare(self) -> str:
        """Get what makes the stages of a row; the stage that stands for all of a row's in views."""
        parts, task = self.parts, self.task
        if task.kind == "prompt":
            self.prompt = parts.tasks.prompt_task(task)
            functions = None
            if task.images:
                self.contents = await asyncio.to_thread(parts.files.contents)
        else:
            self.python = await parts.tasks.python_task(task)
            functions = self.python.functions
            outputs = parts.outputs.outputs_for(task)
            self.dependencies = RowDependencies(parts.inputs, parts.files, outputs)
            self.inputs = TaskInputs(parts.inputs.seed_data, outputs, self.dependencies)
        self.definition = await asyncio.to_thread(definition_of, parts.inputs, task, functions)
        if functions is None or "inference" in functions:
            return "inference"
        return next(stage for stage in STAGES if stage in functions)

    # -- outcomes of earlier runs ---------------------------------------------------------------------
    async def _reuse(self) -> None:
        """Take over what earlier runs paid for; say that this run has outcomes to take, too."""
        parts, task, log, options = self.parts, self.task, self.parts.log, self.parts.inputs.options
        if self.definition is None or task.cache is False or options.cache is False:
            return
        runs = await asyncio.to_thread(announce, log.store, self.definition, log.run)
        refresh = "refresh" in (task.cache, options.cache) or options.fresh
        if refresh or log.state.tasks[task.name].cleared_at or not runs:
            return
        wanted = await asyncio.to_thread(self._wanted)
        chunks = find(log.store, runs, wanted, self.dependencies)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            parts.boundary.checkpoint()
            for found in chunk:
                self._taken(found)
            await log.flush()

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
        if self.dependencies is not None and (said := self.dependencies.recorded(index)):
            row["looked"] = said
        self.done += 1
        self.reused += 1
        self.parts.history.reused[self.task.name] = self.reused
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
        boundary = self.parts.boundary
        for index in todo:
            if self.over is not None or boundary.draining:
                return
            self.in_flight += 1
            try:
                await self._row(index)
            except Drained:
                return
            finally:
                self.in_flight -= 1

    def _stages(
        self, calls: AttemptCalls, names: dict[str, Any], first: tuple[Message, ...] | None
    ) -> dict[str, Stage]:
        if self.prompt is not None:
            return self.prompt.stages(calls, names, first=first)
        assert self.python is not None
        return self.python.stages(calls, self.inputs)

    async def _row(self, index: int) -> None:
        parts, task = self.parts, self.task
        observer = parts.observer
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
            calls = parts.calls.calls(task, self.attempt * ROW_ATTEMPTS + row_attempt, index, again=again)
            frame = Frame(task, row_attempt, copied(item) if python else item, index)
            correlation.place.set(frame.where)
            observer.on_row_start(task, index, row_attempt)
            try:
                output = await run_stages(
                    self._stages(calls, names, first),
                    frame,
                    max_refinements=task.refine.max_attempts,
                    seconds=task.timeout,
                    boundary=parts.boundary.checkpoint,
                )
                if task.kind == "python":
                    output = redactor.scrub(output)
            except BaseException as raised:
                if not isinstance(raised, Exception) or isinstance(raised, StoreError):
                    self._given_up(index, frame, calls)
                    observer.on_row_end(task, index, row_attempt, calls.usage, raised)
                    raise
                error = internal(raised)
                parts.snapshots.write(frame, error)
            else:
                used = calls.usage
                usage.add(used)
                observer.on_row_end(task, index, row_attempt, used, None)
                if self.dependencies is not None and self.dependencies.unknown:
                    await asyncio.to_thread(self.dependencies.fill)
                self._outcome(index, key, usage, output, None)
                calls.keep()
                break
            used = calls.usage
            usage.add(used)
            calls.drop()
            observer.on_row_end(task, index, row_attempt, used, error)
            if isinstance(error, BudgetExceeded | ModelKeyError):
                # Not this row's fault, and no other row would do better: it stays open for a resume.
                self.over = self.over or error
                self.used.add_json(usage.to_json())
                return
            if not may_retry(error) or row_attempt >= task.retry.max_attempts:
                self._outcome(index, key, usage, None, error)
                break
            await parts.boundary.sleep(backoff_delay(row_attempt, task.retry))
        if self.unflushed >= UNFLUSHED:
            self.unflushed = 0
            await parts.log.flush()

    def _given_up(self, index: int, frame: Frame, calls: AttemptCalls) -> None:
        """A stop came in the middle of a row: what its calls used has no outcome to be in."""
        log = self.parts.log
        used = calls.usage
        if self.parts.boundary.draining or log.closed or not used.calls:
            return
        log.emit(draft("call.unknown", self.task.name, index, stage=frame.stage, usage=used.to_json()))

    def _outcome(self, index: int, key: str, usage: Tally, output: Any, error: PoError | None) -> None:
        row: ItemDraft = {"task": self.task.name, "index": index, "ok": error is None, "key": key}
        used = usage.to_json()
        if usage:
            row["usage"] = used
        self.used.add_json(used)
        if error is None:
            self.done += 1
            row["output"] = 0
            if self.dependencies is not None and (said := self.dependencies.recorded(index)):
                row["looked"] = said
            if wrote := self.parts.files.said(self.task.name, index):
                row["artifacts"] = wrote["artifacts"]
            self._commit(row, (output,))
        else:
            self.failed += 1
            said = redactor.scrub(error.to_json())
            row["error"] = said
            self.parts.files.forget(self.task.name, index)
            self._commit(row, (), draft("item.failed", self.task.name, index, error=said))
            self._judge()

    def _commit(self, row: ItemDraft, payloads: tuple[Any, ...], *events: EventDraft) -> None:
        """Queue the outcome. The table knows at once that there is one, and where it is once it is durable."""
        index, ok = row["index"], row["ok"]
        answers = self.parts.history.calls.setdefault(self.task.name, {})

        def placed(result: CommitPlace) -> None:
            self.known.set(index, ok, result.refs[0] if ok else None, n=result.n)
            answers.pop(index, None)  # of a row that was in several batches

        self.unflushed += 1
        self.known.set(index, ok)
        self.parts.log.commit_soon(*events, items=(row,), payloads=payloads, then=placed)
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
        if self.parts.log.closed:
            return
        self.parts.log.emit(
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
        return short_digest(f"{self.definition}\n{text}")
