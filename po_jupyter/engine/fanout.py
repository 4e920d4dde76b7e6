"""Maps: `for_each` over rows. Rows are rows, not tasks: a bounded window of coroutines takes them in order.

    rows ──► window (max_concurrency) ──► a row's lifecycle, its retries ──► durable outcome, by group commit

An outcome is said once, in one commit with the answers that led to it. A crash keeps what is durable; a failed
row is tried again by a resume only.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from po_jupyter.engine import snapshots
from po_jupyter.engine.history import Row, map_marker
from po_jupyter.engine.interrupts import Drained, Interrupt
from po_jupyter.engine.lifecycle import Frame, run_stages
from po_jupyter.engine.python_task import Inputs
from po_jupyter.engine.retries import delay_before, may_retry
from po_jupyter.engine.tally import Tally
from po_jupyter.engine.tracebacks import internal
from po_jupyter.engine.values import copied
from po_jupyter.errors import BudgetExceeded, ModelKeyError, PoError, StoreError, ThresholdExceeded
from po_jupyter.model.event import draft
from po_jupyter.model.pipeline import Task
from po_jupyter.telemetry import correlation
from po_jupyter.telemetry.logging import redactor

if TYPE_CHECKING:
    from po_jupyter.engine.work import Work

_PROGRESS = 0.2  # s between two `map.progress`
_UNFLUSHED = 500  # outcomes on their way to the disk before a row waits for them
# A call's key has one number for the attempt; a task has at most 20 row attempts (model.CallRetry).
_ROW_ATTEMPTS = 100


async def run_map(work: Work, task: Task, attempt: int) -> dict[str, Any]:
    """Run every row that has no outcome yet; answers what stands for the output in the checkpoint.

    Raises ThresholdExceeded when more rows failed than allowed, BudgetExceeded, or ModelKeyError (no further
    row could do better); finished rows are kept. Raises TemplateFailed when `for_each` gives no list.
    """
    return await _Map(work, task, attempt).run()


class _Map:
    def __init__(self, work: Work, task: Task, attempt: int) -> None:
        self.work, self.task, self.attempt = work, task, attempt
        self.names = work.names(task, attempt)
        rows = work.for_each(task, self.names)
        limit = work.options.get("limit")
        self.rows = rows[:limit] if limit is not None else rows
        self.total = len(self.rows)
        known = work.rows(task.name)
        self.known = known
        self.done = sum(1 for i, row in known.items() if row.ok and i < self.total)
        self.failed = sum(1 for i, row in known.items() if not row.ok and i < self.total)
        self.in_flight = 0
        self.used = work.history.uncounted.pop(task.name, Tally())
        self.over: PoError | None = None  # no further row starts
        self.unflushed = 0
        self.timer: asyncio.TimerHandle | None = None
        self.said = (-1, -1)
        self.definition = _definition_hash(work, task)

    async def run(self) -> dict[str, Any]:
        work, task = self.work, self.task
        make = await self._maker()
        work.emit(draft("map.started", task.name, total=self.total))
        if self.known:
            self._say()
        self._judge()
        todo = (i for i in range(self.total) if i not in self.known)
        window = min(task.max_concurrency, self.total - len(self.known))
        workers = [asyncio.ensure_future(self._worker(todo, make)) for _ in range(window)]
        try:
            if workers:
                await asyncio.gather(*workers)
        except BaseException:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            raise
        finally:
            self._progress_now()
        if work.draining and self.done + self.failed < self.total and self.over is None:
            raise Drained
        if self.over is not None:
            raise self.over
        return map_marker(task.name, self.total)

    async def _maker(self) -> Any:
        """What makes the stages of a row from its calls and names."""
        work, task = self.work, self.task
        if task.kind == "prompt":
            prompt = work.prompt_task(task)
            return prompt.stages
        python = await work.python_task(task)
        inputs = Inputs(work.seed.data, work.outputs_for(task))
        return lambda calls, names: python.stages(calls, inputs)

    async def _worker(self, todo: Iterator[int], make: Any) -> None:
        work = self.work
        for index in todo:
            if self.over is not None or work.draining:
                return
            self.in_flight += 1
            try:
                await self._row(index, make)
            except Drained:
                return
            finally:
                self.in_flight -= 1

    async def _row(self, index: int, make: Any) -> None:
        work, task = self.work, self.task
        item = self.rows[index]
        names = {**self.names, "item": item, "index": index}
        python = task.kind == "python"
        row_attempt = 0
        usage = Tally()
        while True:
            row_attempt += 1
            calls = work.calls(task, self.attempt * _ROW_ATTEMPTS + row_attempt, index)
            frame = Frame(task, row_attempt, copied(item) if python else item, index)
            correlation.place.set(frame.where)
            ended = False
            try:
                output = await run_stages(
                    make(calls, names),
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
                self._outcome(index, item, usage, output, None)
                break
            finally:
                if not ended:
                    self._given_up(index, frame, calls)
            usage.add(calls.usage)
            if isinstance(error, BudgetExceeded | ModelKeyError):
                # Not this row's fault, and no other row would do better: it stays open for a resume.
                self.over = self.over or error
                self.used.add_json(usage.to_json())
                return
            if not may_retry(error) or row_attempt >= task.retry.max_attempts:
                self._outcome(index, item, usage, None, error)
                break
            await work.sleep(delay_before(row_attempt, task.retry))
        if self.unflushed >= _UNFLUSHED:
            self.unflushed = 0
            await work.flush()

    def _given_up(self, index: int, frame: Frame, calls: Any) -> None:
        """A stop came in the middle of a row: what its calls used has no outcome to be in."""
        work = self.work
        used = calls.usage
        if work.draining or work.closed or not used.calls:
            return
        work.emit(draft("call.unknown", self.task.name, index, stage=frame.stage, usage=used.to_json()))

    def _outcome(self, index: int, item: Any, usage: Tally, output: Any, error: PoError | None) -> None:
        row: dict[str, Any] = {
            "task": self.task.name,
            "index": index,
            "ok": error is None,
            "key": self._key(item),
        }
        used = usage.to_json()
        if usage:
            row["usage"] = used
        self.used.add_json(used)
        self.unflushed += 1
        if error is None:
            self.done += 1
            row["output"] = 0
            row |= self.work.files.said(self.task.name, index)
            self.work.commit_soon(items=(row,), payloads=(output,))
            self.known[index] = Row(True, None, None)
        else:
            self.failed += 1
            said = redactor.scrub(error.to_json())
            row["error"] = said
            self.work.files.forget(self.task.name, index)
            self.work.commit_soon(draft("item.failed", self.task.name, index, error=said), items=(row,))
            self.known[index] = Row(False, None, None)
            self._judge()
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
                usage=self.used.take(),
            )
        )

    def _key(self, item: Any) -> str:
        """Names a row by its content and everything that makes its outcome: equal keys, equal work."""
        digest = self.definition.copy()
        digest.update(json.dumps(item, sort_keys=True, separators=(",", ":")).encode())
        return str(digest.hexdigest()[:32])


def _definition_hash(work: Work, task: Task) -> Any:
    """A hash object over what, besides its content, makes the outcome of a row."""
    said = task.model_dump(
        mode="json",
        exclude_defaults=True,
        include={"task", "source", "system", "prompt", "output", "refine", "config"},
    )
    llm = work.pipeline.llm_of(task)
    said["llm"] = llm.model_dump(mode="json", exclude_none=True, exclude={"retry", "timeout"})
    said["llm"].setdefault("model", work.settings.default_model)
    if task.kind == "python" and task.source is None:
        said["module"] = task.task or task.name
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode() + b"\n")
