"""One attempt of a task or of a row, through its stages (B1-B3).

    ingestion, pre_processing                               once
    ┌► prompt_templating, inference, parsing, validate_structure, validate_quality
    │      valid ──────────────────────────────────────────────► final_validation, integration
    └─ critique, refine ◄─ not valid, and `max_refinements` not spent

Stages that a task does not define are skipped. A validation fails when it returns False, raises OutputInvalid,
AnswerUnreadable, AssertionError or the ValidationError of jsonschema or pydantic, or sets
`flags["needs_refinement"]`; an answer that `parsing` cannot read counts as one. Validations and `critique` do
not replace the output, and neither does a stage that returns None.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from po_jupyter.engine.base.deadline import Deadline
from po_jupyter.engine.base.interrupts import Interrupt
from po_jupyter.engine.base.json_values import NotJson, as_json
from po_jupyter.engine.base.tracebacks import user_lines
from po_jupyter.engine.lifecycle.frame import Frame, StageResult
from po_jupyter.errors import AnswerUnreadable, OutputInvalid, PoError, StageFailed, StageTimeout, StoreError

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
    max_refinements: int,
    seconds: float,
    on_stage: OnStage | None = None,
    boundary: Callable[[], None] | None = None,
) -> Any:
    """Go through `stages` and answer the output.

    A stage is called with `frame`; when it answers an awaitable, it has `seconds`. `on_stage(stage,
    round)` is told before each; `boundary()` may raise an Interrupt there. Raises a PoError: OutputInvalid
    when a validation still fails after the last refinement, StageFailed, StageTimeout, or what the stage raised
    of ours, with stage, previous stage and log in its `details`.
    """

    async def step(stage: str) -> list[str] | None:
        """Run one stage; what its validation found wrong, or None."""
        fn = stages[stage]
        frame.previous, frame.stage = frame.stage, stage
        frame.log = None
        if boundary is not None:
            boundary()
        if on_stage is not None:
            on_stage(stage, frame.round)
        try:
            result = fn(frame)
            if inspect.isawaitable(result):
                result = await _in_time(result, frame, seconds)
            return _take(frame, stage, result)
        except (Interrupt, StoreError):
            raise
        except Exception as error:
            if found := _violations(error, stage):
                return found
            raise _told(error, frame, seconds) from error
        except BaseException as error:
            if is_ours(error):
                raise
            raise _told(error, frame, seconds) from error

    for stage in BEFORE:
        if stage in stages:
            await step(stage)
    may_refine = not _CHANGING.isdisjoint(stages)
    while True:
        found: list[str] | None = None
        if frame.flags.get(NEEDS_REFINEMENT):
            frame.flags[NEEDS_REFINEMENT] = False
        for stage in ROUND:
            if stage in stages:
                found = await step(stage)
                if found:
                    break
        if not found:
            break
        if frame.round >= max_refinements or not may_refine:
            raise _invalid(frame, found)
        frame.violations = found
        for stage in BETWEEN:
            if stage in stages:
                await step(stage)
        frame.round += 1
    for stage in AFTER:
        if stage in stages:
            found = await step(stage)
            if found:
                raise _invalid(frame, found)
    return frame.output


def is_ours(error: BaseException) -> bool:
    """Whether this, no `Exception`, came from outside of the user's code: a stop, Ctrl-C where a task is tried.

    What is not (`sys.exit()`, a cancellation that nobody here asked for) is a program error like any other:
    passed on, it would take the worker along, or end the task as if somebody had cancelled it.
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


def _take(frame: Frame, stage: str, result: Any) -> list[str] | None:
    """Keep what a stage returned; what its validation found wrong, or None."""
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


def _violations(error: Exception, stage: str) -> list[str] | None:
    if stage not in VALIDATIONS:
        return [error.message] if stage == "parsing" and isinstance(error, AnswerUnreadable) else None
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


def _invalid(frame: Frame, found: list[str]) -> OutputInvalid:
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    asked = f" (asked {frame.round + 1} times)" if frame.round else ""
    return OutputInvalid(
        f"{frame.stage}: {found[0]}{more}{asked}",
        details={**_place(frame), "violations": found[:20], "rounds": frame.round + 1},
    )


def _place(frame: Frame) -> dict[str, Any]:
    place: dict[str, Any] = {"task": frame.task.name, "stage": frame.stage, "attempt": frame.attempt}
    if frame.previous:
        place["previous_stage"] = frame.previous
    if frame.index is not None:
        place["index"] = frame.index
    if frame.log:
        place["log"] = frame.log
    return place


def _told(error: BaseException, frame: Frame, timeout: float) -> PoError:
    """`error` as one of ours that says where it happened."""
    place = _place(frame)
    if isinstance(error, PoError):
        error.details = {**place, **error.details}
        return error
    if isinstance(error, NotJson):
        where = f" at {error.path}" if error.path else ""
        return StageFailed(
            f"{frame.stage} returned something that is not JSON{where}: {error.found}",
            hint=error.hint,
            details=place,
            permanent=True,
        )
    if isinstance(error, _OverTime):
        return StageTimeout(
            f"{frame.stage} took longer than {timeout:g} s",
            hint="Give the task a larger `timeout` (seconds).",
            details=place,
        )
    lines = user_lines(error)
    text = str(error).strip()
    message = f"{frame.stage} raised {type(error).__name__}" + (f": {text[:1000]}" if text else "")
    return StageFailed(message, details={**place, "exception": type(error).__name__, "traceback": lines})
