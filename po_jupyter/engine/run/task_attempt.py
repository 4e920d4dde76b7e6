"""One attempt of a task, from its start to its durable end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from po_jupyter.engine.base.interrupts import Drained, Interrupt
from po_jupyter.engine.base.retry_decision import should_retry
from po_jupyter.engine.base.threads import OffLoop
from po_jupyter.engine.base.tracebacks import as_po_error
from po_jupyter.engine.calls.attempt_calls import AttemptCalls
from po_jupyter.engine.control.apply import SourcedDirectives
from po_jupyter.engine.control.control import (
    DirectiveCollector,
    control_file_path,
    read_control_file,
    remove_control_file,
)
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import Stage, run_stages
from po_jupyter.engine.maps.run_map import run_map
from po_jupyter.engine.ports import ModelCalls
from po_jupyter.engine.python.inputs import TaskInputs
from po_jupyter.engine.run.directives import RunDirectives
from po_jupyter.engine.run.session import RunSession
from po_jupyter.engine.state.decide import End, Start, decide, goes_on
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.votes.voted_output import RunStages, VotedOutput, voted_output
from po_jupyter.errors import ControlInvalid, PoError, StoreError
from po_jupyter.llm.calls.retry import backoff_delay
from po_jupyter.model.run.events import EventDraft, NumberedEvent, draft, event_draft
from po_jupyter.model.values.json import JsonValue
from po_jupyter.model.values.task_kind import ASKS_MODEL
from po_jupyter.telemetry import correlation
from po_jupyter.telemetry.redaction import redactor

T = TypeVar("T")


class TaskAttempt:
    """One attempt of a task: waits for its turn, goes through the stages or the rows, commits how it ended."""

    def __init__(self, session: RunSession, directives: RunDirectives, start: Start) -> None:
        """The attempt that `start` orders."""
        self.session = session
        self.task = session.log.pipeline.task(start.task)
        self.number = start.attempt
        self._start = start
        self._directives = directives
        self._began = 0.0
        self._calls: AttemptCalls | None = None
        self._observed = False  # its end was reported

    async def run(self) -> None:
        """Run the attempt and commit its end. Raises StoreError, Interrupt and CancelledError only."""
        session, task = self.session, self.task
        if self._start.delay > 0:
            await session.signals.sleep(self._start.delay)
        session.signals.checkpoint()
        session.log.emit(draft("task.started", task.name, attempt=self.number))
        # Of this asyncio task, and of no other.
        correlation.place.set(lambda: {"task": task.name, "attempt": self.number})
        self._began = time.monotonic()
        calls = self._calls = session.calls.calls(task, self.number)
        session.observer.on_task_start(task, self.number)
        try:
            await self._run(calls)
        except BaseException as error:
            self._observe_end(error)
            raise
        self._observe_end(None)

    def _observe_end(self, error: BaseException | None) -> None:
        if not self._observed:
            self._observed = True
            assert self._calls is not None
            seconds = time.monotonic() - self._began
            self.session.observer.on_task_end(self.task, self.number, seconds, self._calls.usage, error)

    async def _run(self, calls: AttemptCalls) -> None:
        session, task = self.session, self.task
        sink = self._directives.collect(task) if task.kind == "python" and task.for_each is None else None
        directives: list[SourcedDirectives] = []
        try:
            if task.kind == "python":
                control_file = control_file_path(session.inputs.run_dir, task.name)
                remove_control_file(control_file)  # of an attempt that did not get through
            await session.resources.files.fetch()
            voted = await self._output(calls, sink)
            await session.resources.files.keep(task.name)
            if sink is not None:
                directives += sink.finish()
            if task.kind == "python":
                directives += read_control_file(control_file)
        except (Interrupt, StoreError):
            raise
        except Exception as error:
            calls.drop()
            await session.resources.files.take_back(task.name)
            await self._commit_failure(as_po_error(error))
            return
        seconds = round(time.monotonic() - self._began, 3)
        if not directives:
            calls.keep()
            await self._commit_output(voted, seconds, [])
            return
        try:
            async with self._directives.applied(task, directives) as events:
                calls.keep()
                await self._commit_output(voted, seconds, events)
        except ControlInvalid as error:
            calls.drop()
            await session.resources.files.take_back(task.name)
            await self._commit_failure(error)

    async def _output(self, calls: AttemptCalls, sink: DirectiveCollector | None) -> VotedOutput:
        """The output of the stages, or what stands for the rows of a map."""
        session, task = self.session, self.task
        if task.for_each is not None:
            return VotedOutput(await run_map(session.map_parts, task, self.number))
        if task.kind == "pipeline":
            from po_jupyter.engine.run.pipeline_task import PipelineTask  # few tasks need it

            return VotedOutput(await PipelineTask(session.map_parts, task, self.number).run())
        frame = Frame(task, self.number, control=sink)
        correlation.place.set(frame.log_fields)
        seen: set[tuple[str, int]] = set()  # stages of a vote are gone through many times, at the same time

        def on_stage(stage: str, round_: int) -> None:
            if task.votes is None or (stage, round_) not in seen:
                seen.add((stage, round_))
                session.log.emit(draft("task.stage", task.name, stage=stage, round=round_))

        run = partial(
            run_stages,
            seconds=task.timeout,
            on_stage=on_stage,
            boundary=session.signals.checkpoint,
            hold=session.signals.hold,
        )
        drained = False
        try:
            voted = await self._run_stages(calls, frame, run)
            voted = voted._replace(output=redactor.scrub(voted.output))
            if (scoring := await session.tasks.scoring(task)) is not None:
                scores = await scoring.scores(calls, frame, partial(run, on_stage=None), None, voted.output)
                voted = voted._replace(scores=redactor.scrub(scores))
            return voted
        except Drained:
            drained = True
            raise
        except (Interrupt, StoreError):
            raise
        except PoError as error:
            session.resources.snapshots.write(frame, error)
            raise
        finally:
            # After a drain the same attempt goes on, and the journal finds these calls by itself.
            if calls.lost and not drained and not session.log.closed:
                usage = {"calls": calls.lost, "unknown": calls.lost}
                unknown = draft(
                    "call.unknown", task.name, stage=frame.stage, usage=usage, covers=calls.scope.attempt
                )
                session.log.emit(unknown)

    async def _run_stages(self, calls: AttemptCalls, frame: Frame, run: RunStages) -> VotedOutput:
        session, task = self.session, self.task
        if task.kind in ASKS_MODEL:
            names = session.outputs.names(task, self.number)
            prompt = session.tasks.prompt_task(task)
            await prompt.load()
            off_loop: OffLoop | None = None
            if session.outputs.reads_rows(task):
                # The output of an earlier map, or a file of rows, is read row by row while it is rendered.
                off_loop = asyncio.to_thread
            elif prompt.is_costly:
                off_loop = self._render

            def stages_of(asked: ModelCalls) -> dict[str, Stage]:
                return prompt.stages(asked, names, off_loop=off_loop)

            return await voted_output(prompt, calls, frame, names, stages_of, run)
        python = await session.tasks.python_task(task)
        inputs = TaskInputs(session.inputs.seed_data, session.outputs.outputs_for(task))
        return VotedOutput(await run(python.stages(calls, inputs), frame))

    async def _render(self, render: Callable[..., T], *args: object) -> T:
        """Render in a thread, where it can be stopped: it may take minutes."""
        session = self.session
        return await session.signals.unless_drained(session.resources.threads.run(render, *args))

    async def _commit_output(self, voted: VotedOutput, seconds: float, directed: list[EventDraft]) -> None:
        """Commit that the task is done, with its output and the events of its directives."""
        session, task = self.session, self.task
        artifacts = session.resources.files.commit_fields(task.name)
        output, votes, scores = voted[:3]
        event = draft("task.done", task.name, output=0, seconds=seconds, **artifacts)
        if votes is not None:
            event["data"]["votes"] = votes
        if scores is not None:
            event["data"]["scores"] = scores
        events = [event, *directed]
        if task.gate is not None and not any(e["type"] == "gate.opened" for e in directed):
            gate = task.gate
            events.append(draft("gate.opened", task.name, message=gate.message, artifacts=list(gate.artifacts)))
        if task.for_each is None:
            session.outputs.put(task.name, output)
        else:
            session.outputs.forget(task.name)
        await self._commit_end(events, (output,))

    async def _commit_failure(self, error: PoError) -> None:
        """Commit that the attempt failed: the task is tried again, or has failed."""
        task, log = self.task, self.session.log
        seconds = time.monotonic() - self._began
        error.details.setdefault("task", task.name)
        error.details.setdefault("attempt", self.number)
        error_json = redactor.scrub(error.to_json())
        self._observe_end(error)
        since_resume = self.number - log.state.tasks[task.name].spent
        if task.for_each is None and should_retry(error, since_resume, task.retry):
            delay = round(backoff_delay(since_resume, task.retry), 3)
            await log.commit(
                draft("task.retrying", task.name, attempt=self.number, delay=delay, error=error_json)
            )
            return
        event = draft("task.failed", task.name, error=error_json, seconds=round(seconds, 3))
        await self._commit_end([event], ())

    async def _commit_end(self, events: list[EventDraft], payloads: tuple[JsonValue, ...]) -> None:
        """Commit the end of the task; when it is the end of the run too, both are one transaction."""
        log = self.session.log
        end = self._end_after(events)
        if end is None:
            await log.commit(*events, payloads=payloads)
        else:
            await self.session.calls.flush_cache()
            await log.commit(*events, end_event(end), payloads=payloads, state=end.state, release=True)

    def _end_after(self, events: list[EventDraft]) -> End | None:
        """The end that `decide` will order once `events` are in the log. A gate is left to the executor: see there."""
        running, log = self.session.signals.running, self.session.log
        if len(running) > 1:
            return None
        if (
            len(events) == 1
            and events[0]["type"] == "task.done"
            and goes_on(log.pipeline, log.run_state, self.task.name)  # only events of this task may be missing
        ):
            return None
        state = log.state
        numbered: list[NumberedEvent] = [{**e, "offset": state.offset + i} for i, e in enumerate(events, 1)]
        commands = decide(log.pipeline, fold(state, numbered), frozenset(running - {self.task.name}))
        match commands:
            case [End() as end] if end.state != "waiting" and not state.works_elsewhere:
                return end
        return None


def end_event(end: End) -> EventDraft:
    """The event of a run's end or pause."""
    if end.state == "waiting":
        return draft("run.waiting", task_name=end.task)
    return event_draft(f"run.{end.state}", None, None, {"error": end.error} if end.error else {})
