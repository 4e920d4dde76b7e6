"""One attempt of a task, from its start to its durable end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from po_jupyter.engine.base.interrupts import Drained, Interrupt
from po_jupyter.engine.base.task_retry import may_retry
from po_jupyter.engine.base.tracebacks import internal
from po_jupyter.engine.control import control
from po_jupyter.engine.control.directives import Directives
from po_jupyter.engine.lifecycle import failure_log as telling
from po_jupyter.engine.lifecycle import snapshots
from po_jupyter.engine.lifecycle.stages import Frame, run_stages
from po_jupyter.engine.maps.map import run_map
from po_jupyter.engine.python.python_task import Inputs
from po_jupyter.engine.state.decide import End, Start, decide
from po_jupyter.engine.state.fold import fold
from po_jupyter.errors import ControlInvalid, PoError, StoreError
from po_jupyter.llm.calls.retry import backoff_delay
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.events import EventDraft, NumberedEvent, draft, event_draft
from po_jupyter.telemetry import correlation
from po_jupyter.telemetry.logging import redactor

if TYPE_CHECKING:
    from po_jupyter.engine.calls.attempt_calls import Calls
    from po_jupyter.engine.run.session import Work


async def execute(work: Work, start: Start) -> None:
    """Run one attempt and commit how it ended. Raises StoreError, Interrupt and CancelledError only."""
    task = work.pipeline.task(start.task)
    if start.delay > 0:
        await work.sleep(start.delay)
    work.checkpoint()
    work.emit(draft("task.started", task.name, attempt=start.attempt))
    # Of this asyncio task, and of no other.
    correlation.place.set(lambda: {"task": task.name, "attempt": start.attempt})
    began = time.monotonic()
    path = control.file_of(work.run_dir, task.name)
    calls = work.calls(task, start.attempt)
    asked = control.Collected(work, task) if task.kind == "python" and task.for_each is None else None
    try:
        wanted: list[tuple[str, Directives]] = []
        control.drop_file(path)  # of an attempt that did not get through
        output = await _attempt(work, task, start.attempt, asked, calls)
        if asked is not None:
            wanted += asked.finish()
        if task.kind == "python":
            wanted += control.read_file(path)
    except (Interrupt, StoreError):
        raise
    except Exception as error:
        calls.drop()
        await _failed(work, task, start.attempt, internal(error), time.monotonic() - began)
        return
    seconds = round(time.monotonic() - began, 3)
    if not wanted:
        calls.keep()
        await _done(work, task, output, seconds, [])
        return
    async with work.directing:
        try:
            said = control.events(work, task, wanted)
        except ControlInvalid as error:
            calls.drop()
            await _failed(work, task, start.attempt, error, seconds)
            return
        work.held = control.names_in(said)
        calls.keep()
        try:
            await _done(work, task, output, seconds, said)
        finally:
            work.held = frozenset()
            work.wake.set()


async def _done(work: Work, task: Task, output: Any, seconds: float, said: list[EventDraft]) -> None:
    """Commit that the task is done, with its output and what it asked of the run."""
    done = draft("task.done", task.name, output=0, seconds=seconds, **work.files.said(task.name))
    events = [done, *said]
    if task.gate is not None and not any(e["type"] == "gate.opened" for e in said):
        gate = task.gate
        events.append(draft("gate.opened", task.name, message=gate.message, artifacts=list(gate.artifacts)))
    if task.for_each is None:
        work.keep(task.name, output)
    else:
        work.forget(task.name)
    await _commit_end(work, task, events, (output,))


async def _attempt(work: Work, task: Task, attempt: int, asked: control.Collected | None, calls: Calls) -> Any:
    if task.for_each is not None:
        return await run_map(work, task, attempt)
    frame = Frame(task, attempt, control=asked)
    correlation.place.set(frame.where)
    if task.kind == "prompt":
        # What an earlier map made, or a file of rows, is read row by row while it is rendered.
        off_loop = work.off_loop if work.reads_rows(task) else None
        stages = work.prompt_task(task).stages(calls, work.names(task, attempt), off_loop=off_loop)
    else:
        python = await work.python_task(task)
        stages = python.stages(calls, Inputs(work.seed_data, work.outputs_for(task)))

    def on_stage(stage: str, round_: int) -> None:
        work.emit(draft("task.stage", task.name, stage=stage, round=round_))

    drained = False
    try:
        output = await run_stages(
            stages,
            frame,
            max_refinements=task.refine.max_attempts,
            seconds=task.timeout,
            on_stage=on_stage,
            boundary=work.checkpoint,
        )
        return redactor.scrub(output) if task.kind == "python" else output
    except Drained:
        drained = True
        raise
    except (Interrupt, StoreError):
        raise
    except PoError as error:
        snapshots.keep(work, frame, error)
        raise
    finally:
        # After a drain the same attempt goes on, and the journal finds these calls by itself.
        if calls.lost and not drained and not work.closed:
            usage = {"calls": calls.lost, "unknown": calls.lost}
            work.emit(draft("call.unknown", task.name, stage=frame.stage, usage=usage))


async def _failed(work: Work, task: Task, attempt: int, error: PoError, seconds: float) -> None:
    error.details.setdefault("task", task.name)
    error.details.setdefault("attempt", attempt)
    told = redactor.scrub(error.to_json())
    telling.task_failed(work, task, attempt, error)
    since_resume = attempt - work.state.tasks[task.name].spent
    if task.for_each is None and may_retry(error) and since_resume < task.retry.max_attempts:
        delay = round(backoff_delay(since_resume, task.retry), 3)
        await work.commit(draft("task.retrying", task.name, attempt=attempt, delay=delay, error=told))
        return
    event = draft("task.failed", task.name, error=told, seconds=round(seconds, 3))
    await _commit_end(work, task, [event], ())


async def _commit_end(work: Work, task: Task, events: list[EventDraft], payloads: tuple[Any, ...]) -> None:
    """Commit the end of a task; when it is the end of the run too, both are one transaction."""
    end = _end_after(work, task, events)
    if end is None:
        await work.commit(*events, payloads=payloads)
    else:
        await work.flush_cache()
        await work.commit(*events, end_event(end), payloads=payloads, state=end.state, release=True)


def _end_after(work: Work, task: Task, events: list[EventDraft]) -> End | None:
    """The end that `decide` will say once `events` are in the log. A gate is left to `drive`: see there."""
    if len(work.running) > 1:
        return None
    state = work.state
    numbered: list[NumberedEvent] = [{**e, "offset": state.offset + i} for i, e in enumerate(events, 1)]
    commands = decide(work.pipeline, fold(state, numbered), frozenset(work.running - {task.name}))
    match commands:
        case [End() as end] if end.state != "waiting" and not state.open_batches:
            return end
    return None


def end_event(end: End) -> EventDraft:
    """The event of a run's end or pause."""
    if end.state == "waiting":
        return draft("run.waiting", task_name=end.task)
    return event_draft(f"run.{end.state}", None, None, {"error": end.error} if end.error else {})
