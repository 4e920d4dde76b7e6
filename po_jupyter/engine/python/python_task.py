"""Python tasks: a module with any of the stage functions, sync or async, in snake_case or camelCase."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import opcode
import re
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.base.source_module import load_source
from po_jupyter.engine.base.threads import Threads
from po_jupyter.engine.base.tracebacks import user_traceback
from po_jupyter.engine.chat.task_llm import TaskLlm
from po_jupyter.engine.control.control import Control
from po_jupyter.engine.files.artifacts import AttemptFiles, RunFiles
from po_jupyter.engine.files.images import RecordedArtifacts
from po_jupyter.engine.files.task_io import TaskIo
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import Stage
from po_jupyter.engine.ports import Dependencies, ModelCalls
from po_jupyter.engine.python.context import Context, Validators
from po_jupyter.engine.python.inputs import TaskInputs
from po_jupyter.engine.stage_logs.capture import StageLog
from po_jupyter.errors import StageFailed
from po_jupyter.model.pipeline.pipeline import STAGES, Task
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.json import JsonValue
from po_jupyter.platform.task_modules import candidates, entry_point

_SHORT = 10_000  # characters of source that are compiled in well under 10 ms
# The instructions of a module that makes functions (constant defaults included) and names constants; by version of
# Python one or the other exists. None of them runs anybody's code.
_DEFINING = frozenset(
    opcode.opmap[name]
    for name in (
        "CACHE", "EXTENDED_ARG", "NOP", "RESUME", "LOAD_CONST", "LOAD_SMALL_INT", "BUILD_TUPLE", "BUILD_MAP",
        "BUILD_CONST_KEY_MAP", "MAKE_FUNCTION", "SET_FUNCTION_ATTRIBUTE", "STORE_NAME", "RETURN_VALUE", "RETURN_CONST",
    )
    if name in opcode.opmap
)  # fmt: skip
Functions = dict[str, Callable[[Context], Any]]


def _camel(stage: str) -> str:
    return re.sub(r"_(\w)", lambda m: m[1].upper(), stage)


_NAMES = {name: stage for stage in STAGES for name in (stage, _camel(stage))}


def load(task: Task) -> Functions:
    """The stage functions of a Python task, by stage. It runs the module's code: call it in a thread.

    Raises StageFailed (permanent) when there is no such module, it cannot be imported, or has no stage.
    """
    module = _from_source(task) if task.source is not None else _from_module(task)
    functions: Functions = {}
    for name, value in _members(module).items():
        stage = _NAMES.get(name)
        if stage is not None and callable(value):
            functions.setdefault(stage, value)
    if not functions:
        near = [f"{n}{s}" for n in _members(module) if (s := did_you_mean(n, list(STAGES)))]
        raise _load_error(
            task,
            f"task {task.name!r}: its code has no stage function" + (f" (it has {near[0]})" if near else ""),
            "Define one, for example: def integration(ctx): return {...}. Stages: " + ", ".join(STAGES) + ".",
        )
    return functions


def only_defines(task: Task) -> bool:
    """Whether `load` runs nothing but definitions of functions and constants: that cannot block.

    A change of threads for it would cost more than the loading. The instructions are looked at, not the syntax
    tree: a tree touches some two hundred pages of memory that a forked worker shares until then.
    """
    if task.source is None or len(task.source) > _SHORT:
        return False
    try:
        instructions = compile(task.source, task.name, "exec", dont_inherit=True).co_code[::2]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # `load` raises what is wrong
    return _DEFINING.issuperset(instructions)


def _members(module: Any) -> Mapping[str, JsonValue]:
    if isinstance(module, Mapping):
        return module
    return {name: getattr(module, name) for name in dir(module) if not name.startswith("__")}


def _from_source(task: Task) -> types.ModuleType:
    try:
        return load_source(task.name, task.source or "")
    except (Exception, SystemExit) as error:
        raise _import_error(task, error) from error


def _from_module(task: Task) -> Any:
    name = task.task or task.name
    entry = entry_point(name)
    try:
        if entry is not None:
            return entry.load()
        for candidate in candidates(name):
            try:
                if importlib.util.find_spec(candidate) is None:
                    continue
            except (ModuleNotFoundError, ValueError):
                continue
            return importlib.import_module(candidate)
    except (Exception, SystemExit) as error:
        raise _import_error(task, error) from error
    raise _load_error(
        task,
        f"task {task.name!r}: no module {name!r} is found by {sys.executable}",
        f"Looked in {Path.cwd()} and in the installed packages. Define it with %%po_task {name}, "
        "or name another module with `task:`.",
    )


def _import_error(task: Task, error: BaseException) -> StageFailed:
    failed = _load_error(
        task, f"task {task.name!r}: its code cannot be loaded: {type(error).__name__}: {error}"[:1000], ""
    )
    failed.details["traceback"] = user_traceback(error)
    return failed


def _load_error(task: Task, message: str, hint: str) -> StageFailed:
    return StageFailed(message, hint=hint, details={"task": task.name}, permanent=True)


class _LazyContext(Context):
    """A `Context` whose seed is copied only when a stage reads it: it can be 50,000 rows."""

    __slots__ = ("_index", "_inputs")

    @property
    def seed(self) -> Any:  # a field there, computed here
        return self._inputs.seed

    @seed.setter
    def seed(self, inputs: TaskInputs) -> None:
        self._inputs = inputs

    @property
    def index(self) -> Any:  # likewise
        if self._inputs.dependencies is not None:
            self._inputs.dependencies.record("index")
        return self._index

    @index.setter
    def index(self, index: int | None) -> None:
        self._index = index


class PythonTask:
    """The code of one Python task, loaded; `stages(...)` binds it to an attempt."""

    def __init__(
        self,
        task: Task,
        functions: Functions,
        *,
        inputs: RunInputs,
        files: RunFiles,
        threads: Threads,
        epoch: Callable[[], int],
        reads_rows: bool,
    ) -> None:
        """The code of `task` in a run.

        `epoch` is where the log last voided the outcomes of the task; `reads_rows`: what the code reads may be rows
        that are read one by one, so it is read ahead in a thread.
        """
        self._task = task
        self.functions = functions
        self._inputs = inputs
        self._files = files
        self._threads = threads
        self._epoch = epoch
        self._reads_rows = reads_rows
        self._validators = Validators()

    def stages(self, calls: ModelCalls, inputs: TaskInputs) -> dict[str, Stage]:
        """The stage functions as the lifecycle calls them."""

        def bind(stage: str, fn: Callable[[Context], Any]) -> Stage:
            async def run(frame: Frame) -> Any:
                return await self._call(stage, fn, frame, calls, inputs)

            return run

        return {stage: bind(stage, fn) for stage, fn in self.functions.items()}

    def _io(self, files: AttemptFiles, dependencies: Dependencies | None) -> TaskIo:
        run, task = self._inputs, self._task
        return TaskIo(
            run.run_dir, task.name, files, epoch=self._epoch(), dependencies=dependencies, alone=run.is_child
        )

    async def _call(
        self,
        stage: str,
        fn: Callable[[Context], Any],
        frame: Frame,
        calls: ModelCalls,
        inputs: TaskInputs,
    ) -> Any:
        run, task, dependencies = self._inputs, self._task, inputs.dependencies
        files = self._files.attempt(task.name, frame.index, frame.attempt, frame)
        images = files if dependencies is None else RecordedArtifacts(files, dependencies)
        llm = TaskLlm(calls, frame, stage, images)
        io = self._io(files, dependencies)
        if frame.control is not None:
            frame.control.begin(stage)
        ctx = _LazyContext(
            seed=inputs,
            data=frame.data,
            tasks=inputs.tasks,
            output=frame.output,
            flags=frame.flags,
            config=task.config,
            llm=llm,
            io=io,
            validators=self._validators,
            meta={
                "run": run.whole_run,
                "pipeline": run.pipeline.name,
                "version": run.pipeline.version,
                "name": run.seed.name,
                "task": task.name,
                "stage": stage,
                "attempt": frame.attempt,
                "round": frame.round,
                "index": frame.index,
            },
            violations=frame.violations,
            control=Control(frame.control, stage),
            item=frame.item,
            index=frame.index,
        )
        name = stage if frame.index is None else f"{stage}.{frame.index}"
        log = StageLog(run.run_dir / f"logs/{task.name}/{name}.log", alone=frame.index is None)
        ok = False
        try:
            with log:
                if inspect.iscoroutinefunction(fn):
                    if self._reads_rows:
                        await inputs.tasks.read_ahead(fn)
                    result = await fn(ctx)
                else:
                    result = await self._threads.run(fn, ctx)
                    result = await result if inspect.isawaitable(result) else result
            ok = True
        finally:
            if log.used:
                frame.log = str(log.path)
            llm.close()
            io.close(ok=ok)
        return result
