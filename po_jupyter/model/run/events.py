"""One line of a run's history, and the list of types it can have.

Offsets start at 1 and have no gaps. The state of a run is the fold of its events (`engine.fold`), so
an event carries everything that the state needs.

run.created         {name, pipeline, version, tasks: [{name, kind}], owner, budget, forked_from?}
run.started         {pid, fence, worker}                a worker claimed the run
run.waiting         {task, message, artifacts}          a gate is open, nothing else can run
run.done            {}
run.failed          {error}
run.cancelled       {error?}
run.dead            {error}
run.resumed         {from_task?, only_failed?, budget?, by, reset, clear, restart?, only?, clear_usage?}
                    tasks of `reset` are pending again; `only`: that one runs, then the run stops
run.cancel_requested {by}
run.held            {reason, seconds, tries}            it waited so long because the store could not be written
worker.crashed      {error, crashes}                    consecutive crashes without a commit
gate.opened         {message, artifacts}                (task)
gate.decided        {decision, note, by}                (task)
task.started        {attempt}
task.stage          {stage, round}
task.waiting        {reason, seconds, stays?}           a wait that a person should see; `stays`: until a stage
                    begins, the task ends, or one with `reason` null says that it is over
task.retrying       {attempt, delay, error}             the attempt failed; the next one starts after `delay` s
task.done           {output: ref, seconds}
task.failed         {error, seconds}
task.skipped        {reason, by?}                   `by`: the task that skipped it
tasks.added         {tasks: [definition], after}    (task) it put these tasks behind `after`
task.cancelled      {}
map.started         {total, stage}                      `stage` stands for all stages of its rows
map.progress        {done, failed, in_flight, reused, usage}    absolute; `usage` is what was added
item.failed         {error}                             (task, item)
call.retry          {attempt, delay, error, stage}
call.done           {usage, model, seconds, stage, cached}    `cached`: an earlier run's answer, nothing was sent
call.unknown        {stage, usage}                      sent, and the answer lost (a crash, a timeout): sent again
batch.prepared      {token, attempt, provider, model, group, count, rows, bytes, digest, reserved}    (task)
                    about to be handed over to a provider; `rows` as `0-99,105`, `reserved` as [usd, tokens]
batch.submitted     {token, id, adopted}                (task) `adopted`: found there after a crash
batch.cancelling    {token, id}                         (task)
batch.dropped       {token, error}                      (task) it is certain that the provider does not have it
batch.closed        {token, id, answered, state}        (task) every answer that there is was recorded
call.withdrawn      {stage, usage}                      given up between two tries, nothing in flight; what those used
budget.warning      {scope, used, budget, fraction}     80 % are used; scope `run`, `day` or a task's name

Ephemeral (SSE only, no offset): text {task, item?, text, round}.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def now() -> str:
    """The time as ISO 8601 UTC with milliseconds, e.g. `2026-11-22T12:00:00.000Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Event(BaseModel):
    """`{offset, at, type, run, task?, item?, data}`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    offset: int
    at: str
    type: str
    run: str
    task: str | None = None
    item: int | None = None
    data: dict[str, Any] = Field(default_factory=dict)


def draft(type: str, task: str | None = None, item: int | None = None, **data: Any) -> dict[str, Any]:
    """An event before the store gives it its offset and run: what a commit carries."""
    event: dict[str, Any] = {"at": now(), "type": type, "data": data}
    if task is not None:
        event["task"] = task
    if item is not None:
        event["item"] = item
    return event
