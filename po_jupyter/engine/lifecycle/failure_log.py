"""Errors in the log of the process, each with run, task, stage and attempt (R1.2).

The run's own log (its events) says what became of them; this is for whoever reads log files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from po_jupyter.errors import PoError
from po_jupyter.model.pipeline.pipeline import Task

if TYPE_CHECKING:
    from po_jupyter.engine.run.session import Work

_log = structlog.get_logger(__name__)


def task_failed(work: Work, task: Task, attempt: int, error: PoError) -> None:
    """An attempt of a task came to nothing."""
    _say("task failed", work, task, attempt, error.details.get("stage"), error)


def row_failed(work: Work, task: Task, index: int, attempt: int, error: PoError) -> None:
    """An attempt of a row came to nothing."""
    _say("row failed", work, task, attempt, error.details.get("stage"), error, index=index)


def call_failed(
    work: Work, task: Task, attempt: int, stage: str, error: PoError, *, index: int | None, tries: int
) -> None:
    """A try of a call came to nothing and is followed by another. `attempt` is the task's or the row's."""
    more = {} if index is None else {"index": index}
    _say("call failed", work, task, attempt, stage, error, tries=tries, **more)


def _say(
    event: str, work: Work, task: Task, attempt: int, stage: str | None, error: PoError, **more: Any
) -> None:
    _log.warning(
        event, run=work.run, task=task.name, stage=stage, attempt=attempt, error=error.to_json(), **more
    )
