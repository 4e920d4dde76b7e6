"""The stages of one attempt of a task or of a row (B1-B3).

    ingestion, pre_processing                               once
    ┌► prompt_templating, inference, parsing, validate_structure, validate_quality
    │      valid ──────────────────────────────────────────────► final_validation, integration
    └─ critique, refine ◄─ not valid, and `refine.max_attempts` of the frame's task not spent

Stages that a task does not define are skipped. A validation fails when it returns False, raises OutputInvalid,
AnswerUnreadable, AssertionError or the ValidationError of jsonschema or pydantic, or sets
`flags["needs_refinement"]`; an answer that `parsing` cannot read counts as one. Validations and `critique` do
not replace the output, and neither does a stage that returns None.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from po_jupyter.engine.base.deadline import Deadline
from po_jupyter.engine.base.interrupts import Drained, Interrupt
from po_jupyter.engine.base.json_values import NotJson, as_json
from po_jupyter.engine.base.shortage import shortage_of
from po_jupyter.engine.base.tracebacks import user_traceback
from po_jupyter.engine.lifecycle.frame import Frame, StageResult
from po_jupyter.engine.lifecycle.output_check import check_output
from po_jupyter.errors import AnswerUnreadable, OutputInvalid, PoError, StageFailed, StageTimeout, StoreError
from po_jupyter.model.values.json import JsonObject

BEFORE = ("ingestion", "pre_processing")
ROUND = ("prompt_templating", "inference", "parsing", "validate_structure", "validate_quality")
BETWEEN = ("critique", "refine")
AFTER = ("final_validation", "integration")
VALIDATIONS = frozenset({"validate_structure", "validate_quality", "final_validation"})
KEEP_OUTPUT = VALIDATIONS | {"critique"}
# Without one of these a second round would only repeat the first.
_CHANGING = frozenset({*ROUND[:3], *BETWEEN})
NEEDS_REFINEMENT = "needs_refinement"


Stage = Callable[[Frame], Any]
OnStage = Callable[[str, int], None]


async def run_stages(
    stages: Mapping[str, Stage],
    frame: Frame,
    *,
    seconds: float,
    on_stage: OnStage | None = None,
    boundary: Callable[[], None] | None = None,
    hold: Callable[[StoreError], None] | None = None,
) -> Any:
    """Go through `stages`: the output, a JSON value.

    A stage is called with `frame`; when it returns an awaitable, that has `seconds`. `on_stage(stage, round)` is
    called before each stage; `boundary()` may raise an Interrupt there. A stage that meets a full disk, or another
    shortage of the machine, is told to `hold` and ends with Drained: it is no failure.

    Raises a PoError: OutputInvalid when a validation still fails after the last refinement, or the output of Python
    does not fit the task's schema, StageFailed, StageTimeout, or the one that the stage raised, with stage, previous
    stage and log in its `details`.
    """
    return await _StageLoop(stages, frame, seconds, on_stage, boundary, hold).run()


@dataclass(slots=True, eq=False)
class _StageLoop:
    """The way of one frame through its stages, round by round."""

    stages: Mapping[str, Stage]
    frame: Frame
    seconds: float
    on_stage: OnStage | None
    boundary: Callable[[], None] | None
    hold: Callable[[StoreError], None] | None

    async def run(self) -> Any:
        """The stages before the rounds, the rounds, the stages after. The output."""
        await self._run_present(BEFORE)
        may_refine = not _CHANGING.isdisjoint(self.stages)
        while violations := await self._run_round():
            if self.frame.round >= self.frame.task.refine.max_attempts or not may_refine:
                raise _invalid(self.frame, violations)
            self.frame.violations = violations
            await self._run_present(BETWEEN)
            self.frame.round += 1
        for stage in AFTER:
            if stage in self.stages and (violations := await self._run_stage(stage)):
                raise _invalid(self.frame, violations)
        await self._check_output()
        return self.frame.output

    async def _check_output(self) -> None:
        try:
            await check_output(self.frame.task, self.frame.output)
        except OutputInvalid as error:
            error.details = {**_frame_details(self.frame), **error.details}
            raise

    async def _run_present(self, names: Sequence[str]) -> None:
        for stage in names:
            if stage in self.stages:
                await self._run_stage(stage)

    async def _run_round(self) -> list[str] | None:
        """The violations that the round ended with, or None."""
        if self.frame.flags.get(NEEDS_REFINEMENT):
            self.frame.flags[NEEDS_REFINEMENT] = False
        for stage in ROUND:
            if stage in self.stages and (violations := await self._run_stage(stage)):
                return violations
        return None

    async def _run_stage(self, stage: str) -> list[str] | None:
        """Run one stage; the violations that its validation found, or None."""
        frame = self.frame
        frame.previous, frame.stage = frame.stage, stage
        frame.log = None
        if self.boundary is not None:
            self.boundary()
        if self.on_stage is not None:
            self.on_stage(stage, frame.round)
        try:
            result = self.stages[stage](frame)
            if result is not None and inspect.isawaitable(result):
                result = await _in_time(result, frame, self.seconds)
            return _store_result(frame, stage, result)
        except (Interrupt, StoreError):
            raise
        except Exception as error:
            self._hold(error)
            if violations := _violations(error, frame):
                return violations
            raise _stage_error(error, frame, self.seconds) from error
        except BaseException as error:
            if is_interrupt(error):
                raise
            raise _stage_error(error, frame, self.seconds) from error

    def _hold(self, error: Exception) -> None:
        """Raise Drained when `error` comes from a shortage of the machine."""
        if self.hold is not None and (shortage := shortage_of(error)) is not None:
            self.hold(shortage)
            raise Drained from error


def is_interrupt(error: BaseException) -> bool:
    """Whether an error came from outside of the user's code: a stop, or Ctrl-C where a task is tried.

    `sys.exit()`, or a cancellation that nobody requested, is a program error like any other: passed on, it would end
    the worker, or the task as if somebody had cancelled it.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, Interrupt | KeyboardInterrupt | GeneratorExit)


class _OverTime(Exception):
    """The stage's own deadline passed; a TimeoutError of the user's code is something else."""


async def _in_time(result: Any, frame: Frame, seconds: float) -> Any:
    deadline = frame.deadline = Deadline(seconds)
    try:
        async with deadline:
            return await result
    except TimeoutError as error:
        if deadline.expired():
            raise _OverTime from error
        raise
    finally:
        frame.deadline = None


def _store_result(frame: Frame, stage: str, result: Any) -> list[str] | None:
    """Store what a stage returned in the frame. The violations of a validation, or None."""
    explicit = isinstance(result, StageResult)
    if explicit:
        frame.flags.update(result.flags)
        result = result.output
    if stage in VALIDATIONS:
        if frame.flags.get(NEEDS_REFINEMENT):
            return [f"{stage} asked for a refinement"]
        return [f"{stage} returned False"] if result is False else None
    if result is None and not explicit:
        frame.data[stage] = None
        return None
    value = as_json(result)
    frame.data[stage] = value
    if stage not in KEEP_OUTPUT:
        frame.output = value
    return None


def _violations(error: Exception, frame: Frame) -> list[str] | None:
    """The violations of a round, for its error; None for any other error."""
    if frame.stage not in VALIDATIONS:
        # A prompt task's inference is one question: an answer that is no text is asked again.
        reads = frame.stage == "parsing" or (frame.stage == "inference" and frame.task.kind == "prompt")
        return [error.message] if reads and isinstance(error, AnswerUnreadable) else None
    if isinstance(error, OutputInvalid | AnswerUnreadable):
        listed = error.violations if isinstance(error, OutputInvalid) else []
        return list(map(str, listed)) or [error.message]
    kind = type(error)
    foreign = kind.__name__ == "ValidationError" and kind.__module__.partition(".")[0] in (
        "jsonschema",
        "pydantic",
        "pydantic_core",
    )
    if foreign or isinstance(error, AssertionError):
        text = str(error).strip()
        return [text.splitlines()[0][:500] if text else "an assertion failed"]
    return None


def _invalid(frame: Frame, violations: list[str]) -> OutputInvalid:
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    rounds = f" (asked {frame.round + 1} times)" if frame.round else ""
    return OutputInvalid(
        f"{frame.stage}: {violations[0]}{more}{rounds}",
        details={**_frame_details(frame), "violations": violations[:20], "rounds": frame.round + 1},
    )


def _frame_details(frame: Frame) -> JsonObject:
    details: JsonObject = {"task": frame.task.name, "stage": frame.stage, "attempt": frame.attempt}
    if frame.previous:
        details["previous_stage"] = frame.previous
    if frame.index is not None:
        details["index"] = frame.index
    if frame.log:
        details["log"] = frame.log
    return details


def _stage_error(error: BaseException, frame: Frame, timeout: float) -> PoError:
    """The PoError for what a stage raised, with its place in `details`."""
    details = _frame_details(frame)
    if isinstance(error, PoError):
        # Such as one of `ctx.llm`: the author's line that asked is worth as much as for an error of their own.
        if trace := user_traceback(error):
            details["traceback"] = trace
        error.details = {**details, **error.details}
        return error
    if isinstance(error, NotJson):
        location = f" at {error.path}" if error.path else ""
        return StageFailed(
            f"{frame.stage} returned something that is not JSON{location}: {error.problem}",
            hint=error.hint,
            details=details,
            permanent=True,
        )
    if isinstance(error, _OverTime):
        return StageTimeout(
            f"{frame.stage} took longer than {timeout:g} s",
            hint="Give the task a larger `timeout` (seconds).",
            details=details,
        )
    lines = user_traceback(error)
    text = str(error).strip()
    message = f"{frame.stage} raised {type(error).__name__}" + (f": {text[:1000]}" if text else "")
    return StageFailed(message, details={**details, "exception": type(error).__name__, "traceback": lines})
