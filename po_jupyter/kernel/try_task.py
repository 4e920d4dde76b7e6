"""`%%po_task --try`: runs a task's stages in the kernel on a seed, with the same lifecycle as in a worker.

Async stages run on the kernel's own loop, so that they can use the notebook's objects of that loop. A cell
magic already runs inside of it; nest_asyncio lets the loop turn once more. It is applied here, when an async
stage is tried, and nowhere else: it changes asyncio for the whole process.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from po_jupyter.client.inputs.seeds import seed_of
from po_jupyter.engine.control.control import Control, Rehearsal
from po_jupyter.engine.files.task_io import TaskIo
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import run_stages
from po_jupyter.engine.python.context import Context, Validators
from po_jupyter.engine.python.python_task import load
from po_jupyter.errors import PoError
from po_jupyter.kernel.cells import TaskCell
from po_jupyter.model.pipeline.pipeline import Task

# nest_asyncio replaces the task class; from 3.14 on `asyncio.current_task` does not see its tasks any more.
_CAN_NEST = sys.version_info < (3, 14)


@dataclass(frozen=True, slots=True)
class Step:
    """One stage that ran: its output so far and the seconds it took."""

    stage: str
    seconds: float
    output: Any


@dataclass(slots=True)
class Trial:
    """The outcome of a try; `error` is the message for the cell, or None."""

    steps: list[Step] = field(default_factory=list)
    error: str | None = None
    note: str = ""


class _NoModel:
    """`ctx.llm` where nothing may be spent."""

    def __getattr__(self, name: str) -> Any:
        raise PoError(
            "ctx.llm is not there with --try: it calls no model",
            hint="Run the pipeline for that: %%po_pipeline NAME --run --limit 1.",
        )


def try_task(cell: TaskCell, seed: Any) -> Trial:
    """Run the stages of `cell` on `seed` (its data). Files that it writes go to a directory that is removed.

    An error of the stages is in the trial's `error`. Raises InvalidSeed.
    """
    task = Task(name=cell.name, source=cell.source)
    data = seed_of(seed, cell.name).data
    trial = Trial()
    with tempfile.TemporaryDirectory(prefix="po-try-") as folder:
        io = TaskIo(Path(folder), task.name)
        try:
            functions = load(task)
            frame = Frame(task)
            stages = {stage: _with_context(stage, fn, trial, data, io) for stage, fn in functions.items()}
            work = run_stages(stages, frame, seconds=task.timeout)
            if any(inspect.iscoroutinefunction(fn) for fn in functions.values()):
                _run_on_kernel_loop(work, trial)
            else:
                _run_sync(work)
        except PoError as error:
            trial.error = _with_traceback(error)
    return trial


def _with_context(
    stage: str, fn: Callable[[Context], Any], trial: Trial, seed: Any, io: TaskIo
) -> Callable[[Frame], Any]:
    def context(frame: Frame) -> Context:
        meta = {"run": "try", "pipeline": "try", "version": "0.0.0", "name": "try", "task": frame.task.name}
        return Context(
            seed=seed,
            data=frame.data,
            tasks={},
            output=frame.output,
            flags=frame.flags,
            config=frame.task.config,
            llm=_NoModel(),  # type: ignore[arg-type]  # it refuses every use
            io=io,
            validators=Validators(),
            meta={**meta, "stage": stage, "attempt": 1, "round": frame.round, "index": None},
            violations=frame.violations,
            control=Control(Rehearsal(), stage),
        )

    def record(start: float, result: Any) -> Any:
        trial.steps.append(Step(stage, time.perf_counter() - start, getattr(result, "output", result)))
        return result

    def call(frame: Frame) -> Any:
        return record(time.perf_counter(), fn(context(frame)))

    async def call_async(frame: Frame) -> Any:
        start = time.perf_counter()
        return record(start, await fn(context(frame)))

    return call_async if inspect.iscoroutinefunction(fn) else call


def _run_sync(work: Coroutine[Any, Any, Any]) -> None:
    """Finish a coroutine that awaits nothing: sync stages stay in this thread and need no loop."""
    with suppress(StopIteration):
        work.send(None)
        work.close()
        raise PoError("a stage returned something to wait for", hint="Write it as `async def`.")


def _run_on_kernel_loop(work: Coroutine[Any, Any, Any], trial: Trial) -> None:
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:  # plain IPython, or a script
        asyncio.run(work)
        return
    if _CAN_NEST:
        import nest_asyncio

        # Only here: an async stage that a person tries has to run beside the notebook's own objects, on the loop that
        # holds them. Never on import, and not in Python 3.14, where it breaks `current_task` (`_CAN_NEST`).
        nest_asyncio.apply(running)
        running.run_until_complete(work)
        return
    trial.note = "on a loop of its own: this Python cannot nest loops"
    failed: list[BaseException] = []

    def run_in_thread() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run_in_thread, name="po_try", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.25)  # in steps, so that an interrupt is noticed
    if failed:
        raise failed[0]


def _with_traceback(error: PoError) -> str:
    lines = [str(error)]
    trace = error.details.get("traceback")
    if trace:
        lines.append(str(trace).rstrip())
    return "\n".join(lines)
