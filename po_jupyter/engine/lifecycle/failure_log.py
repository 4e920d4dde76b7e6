"""The failures of tasks, rows and calls in the log of the process, each with run, task, stage and attempt (R1.2).

The run's own log (its events) has their outcomes; these lines are for people who read log files.
"""

from __future__ import annotations

import structlog

from po_jupyter.engine.ports import CallFrame, Observer
from po_jupyter.errors import PoError, StoreError
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.usage import Usage

_log = structlog.get_logger(__name__)


class FailureLog(Observer):
    """An Observer that writes one warning for each attempt of a task or a row, and each try of a call, that failed.

    Stops and drains are no failures of theirs, and neither is a store that cannot be written.
    """

    __slots__ = ("_run",)

    def __init__(self, run: str) -> None:
        """The failures of the run with this id."""
        self._run = run

    def on_task_end(
        self, task: Task, attempt: int, seconds: float, usage: Usage, error: BaseException | None
    ) -> None:
        """Log an attempt of a task that failed."""
        if isinstance(error, PoError) and not isinstance(error, StoreError):
            self._warn("task failed", task, attempt, error.details.get("stage"), error)

    def on_row_end(
        self, task: Task, index: int, attempt: int, usage: Usage, error: BaseException | None
    ) -> None:
        """Log an attempt of a row that failed."""
        if isinstance(error, PoError) and not isinstance(error, StoreError):
            self._warn("row failed", task, attempt, error.details.get("stage"), error, index=index)

    def on_call_retry(self, frame: CallFrame, stage: str, tries: int, error: Exception) -> None:
        """Log a try of a call that is followed by another; `attempt` is the task's or the row's."""
        if isinstance(error, PoError):
            row = {} if frame.index is None else {"index": frame.index}
            self._warn("call failed", frame.task, frame.attempt, stage, error, tries=tries, **row)

    def _warn(
        self, event: str, task: Task, attempt: int, stage: str | None, error: PoError, **numbers: int
    ) -> None:
        _log.warning(
            event,
            run=self._run,
            task=task.name,
            stage=stage,
            attempt=attempt,
            error=error.to_json(),
            **numbers,
        )
