"""Python tasks: a module with any of the stage functions, sync or async, in snake_case or camelCase."""

from __future__ import annotations

import ast
import asyncio
import importlib
import importlib.util
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from po_jupyter.engine.base.json_values import copied
from po_jupyter.engine.base.tracebacks import SOURCE, register, user_lines
from po_jupyter.engine.chat.task_llm import TaskLlm
from po_jupyter.engine.control.control import Control
from po_jupyter.engine.files.images import Looked
from po_jupyter.engine.files.task_io import TaskIo
from po_jupyter.engine.lifecycle.stages import Frame, Stage
from po_jupyter.engine.python.context import Context, Validators
from po_jupyter.engine.python.lookup import candidates, entry_point, is_there
from po_jupyter.engine.replay.row_table import MapOutput
from po_jupyter.engine.stage_logs.capture import StageLog
from po_jupyter.errors import StageFailed
from po_jupyter.model.pipeline.pipeline import STAGES, Task
from po_jupyter.model.pipeline.violations import did_you_mean

if TYPE_CHECKING:
    from po_jupyter.engine.calls.attempt_calls import Calls
    from po_jupyter.engine.maps.reuse import Looks
    from po_jupyter.engine.run.session import Work

_SHORT = 10_000  # characters of source that are compiled in well under 10 ms
Functions = dict[str, Callable[[Context], Any]]


def _camel(stage: str) -> str:
    return re.sub(r"_(\w)", lambda m: m[1].upper(), stage)


_NAMES = {name: stage for stage in STAGES for name in (stage, _camel(stage))}


def load(task: Task) -> Functions:
    """The stage functions of a Python task, by stage. It runs the module's code: call it in a thread.

    Raises StageFailed (permanent) when there is no such module, it cannot be imported, or has no stage.
    """
    module = _from_source(task) if task.source is not None else _found(task)
    functions: Functions = {}
    for name, value in _members(module).items():
        stage = _NAMES.get(name)
        if stage is not None and callable(value):
            functions.setdefault(stage, value)
    if not functions:
        near = [f"{n}{s}" for n in _members(module) if (s := did_you_mean(n, list(STAGES)))]
        raise _broken(
            task,
            f"task {task.name!r}: its code has no stage function" + (f" (it has {near[0]})" if near else ""),
            "Define one, for example: def integration(ctx): return {...}. Stages: " + ", ".join(STAGES) + ".",
        )
    return functions


def only_defines(task: Task) -> bool:
    """Whether `load` runs nothing but definitions of functions and constants: that cannot block, and a change of
    threads for it would cost more than itself."""
    if task.source is None or len(task.source) > _SHORT:
        return False
    try:
        return all(map(_defines, ast.parse(task.source).body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # `load` says what is wrong


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        named = node.args
        given = [*named.defaults, *(d for d in named.kw_defaults if d is not None)]
        plain = [*named.posonlyargs, *named.args, *named.kwonlyargs, named.vararg, named.kwarg]
        noted = [node.returns, *(a.annotation for a in plain if a is not None)]
        return not node.decorator_list and not any(noted) and all(isinstance(d, ast.Constant) for d in given)
    if isinstance(node, ast.Assign):
        return all(isinstance(t, ast.Name) for t in node.targets) and isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)  # its docstring


def findable(task: Task) -> str | None:
    """What is wrong with where a task's code should be, without importing it; None when it will be found."""
    name = module_of(task)
    if name is None or is_there(name):
        return None
    return not_found(task)


def module_of(task: Task) -> str | None:
    """The module or entry point that a Python task without source is; None for any other task."""
    return (task.task or task.name) if task.kind == "python" and task.source is None else None


def not_found(task: Task) -> str:
    """That its module is not there, for people."""
    return f"no module {task.task or task.name!r} is found for task {task.name!r}"


def _members(module: Any) -> Mapping[str, Any]:
    if isinstance(module, Mapping):
        return module
    return {name: getattr(module, name) for name in dir(module) if not name.startswith("__")}


def _from_source(task: Task) -> types.ModuleType:
    filename = SOURCE.format(task.name)
    source = task.source or ""
    module = types.ModuleType("po_task_" + re.sub(r"\W", "_", task.name))
    module.__file__ = filename
    register(filename, source)
    sys.modules[module.__name__] = module  # dataclasses and typing look their module up by name
    try:
        exec(compile(source, filename, "exec"), module.__dict__)  # noqa: S102  # the author's own code, in a worker
    except (Exception, SystemExit) as error:
        raise _import_failed(task, error) from error
    return module


def _found(task: Task) -> Any:
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
        raise _import_failed(task, error) from error
    raise _broken(
        task,
        f"task {task.name!r}: no module {name!r} is found by {sys.executable}",
        f"Looked in {Path.cwd()} and in the installed packages. Define it with %%po_task {name}, "
        "or name another module with `task:`.",
    )


def _import_failed(task: Task, error: BaseException) -> StageFailed:
    failed = _broken(
        task, f"task {task.name!r}: its code cannot be loaded: {type(error).__name__}: {error}"[:1000], ""
    )
    failed.details["traceback"] = user_lines(error)
    return failed


def _broken(task: Task, message: str, hint: str) -> StageFailed:
    return StageFailed(message, hint=hint, details={"task": task.name}, permanent=True)


class Inputs:
    """What an attempt reads, copied when it is first asked for.

    A stage may change what it was given. Nobody else must see that: after a crash it would not be there.
    """

    def __init__(self, seed: Any, tasks: Mapping[str, Any], looks: Looks | None = None) -> None:
        self._given = seed
        self.looks = looks
        self.tasks = _Copies(tasks, looks)

    @property
    def seed(self) -> Any:
        if self.looks is not None:
            self.looks.at("seed")
        return self._seed

    @cached_property
    def _seed(self) -> Any:
        return copied(self._given)


class _Copies(Mapping[str, Any]):
    def __init__(self, under: Mapping[str, Any], looks: Looks | None) -> None:
        self._under = under
        self._looks = looks
        self._copies: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._copies:
            value = self._under[name]
            # A list, not something like it: code may add to it, or ask for its type.
            self._copies[name] = list(value) if isinstance(value, MapOutput) else copied(value)
        if self._looks is not None:
            self._looks.at(f"tasks.{name}")
        return self._copies[name]

    async def read_ahead(self, fn: Callable[..., Any]) -> None:
        """Read the outputs that `fn` names, in a thread: an async stage asks for them on the loop."""
        named = [name for name in _texts(fn) if name not in self._copies and name in self._under]
        if named:
            await asyncio.to_thread(lambda: [self._copies.setdefault(n, self[n]) for n in named])

    def __iter__(self) -> Iterator[str]:
        return iter(self._under)

    def __len__(self) -> int:
        return len(self._under)

    def __repr__(self) -> str:
        return f"tasks({', '.join(self._under)})"


def _texts(fn: Callable[..., Any]) -> set[str]:
    """The texts that stand in a function's code, inner functions included."""
    found: set[str] = set()
    todo = [getattr(fn, "__code__", None)]
    while todo:
        code = todo.pop()
        if code is not None:
            found.update(c for c in code.co_consts if isinstance(c, str))
            todo += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return found


class _Context(Context):
    """A `Context` whose seed is copied only when a stage looks at it: it can be 50,000 rows."""

    __slots__ = ("_index", "_inputs")

    @property
    def seed(self) -> Any:  # a field there, computed here
        return self._inputs.seed

    @seed.setter
    def seed(self, inputs: Inputs) -> None:
        self._inputs = inputs

    @property
    def index(self) -> Any:  # likewise
        if self._inputs.looks is not None:
            self._inputs.looks.at("index")
        return self._index

    @index.setter
    def index(self, index: int | None) -> None:
        self._index = index


class PythonTask:
    """The code of one Python task, loaded; `stages(...)` binds it to an attempt."""

    def __init__(self, work: Work, task: Task, functions: Functions) -> None:
        self._work = work
        self._task = task
        self.functions = functions
        self._reads_rows = work.reads_rows(task)
        self._validators = Validators()

    def stages(self, calls: Calls, inputs: Inputs) -> dict[str, Stage]:
        """The stage functions as the lifecycle calls them."""

        def bind(stage: str, fn: Callable[[Context], Any]) -> Stage:
            async def run(frame: Frame) -> Any:
                return await self._call(stage, fn, frame, calls, inputs)

            return run

        return {stage: bind(stage, fn) for stage, fn in self.functions.items()}

    async def _call(
        self,
        stage: str,
        fn: Callable[[Context], Any],
        frame: Frame,
        calls: Calls,
        inputs: Inputs,
    ) -> Any:
        work, task = self._work, self._task
        files = work.files.attempt(task.name, frame.index, frame.attempt, frame)
        llm = TaskLlm(calls, frame, stage, files if inputs.looks is None else Looked(files, inputs.looks.at))
        io = TaskIo(
            work.run_dir,
            task.name,
            files,
            epoch=work.state.tasks[task.name].cleared_at,
            looked=inputs.looks.at if inputs.looks is not None else None,
        )
        if frame.control is not None:
            frame.control.begin(stage)
        ctx = _Context(
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
                "run": work.run,
                "pipeline": work.pipeline.name,
                "version": work.pipeline.version,
                "name": work.seed.name,
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
        log = StageLog(work.run_dir / f"logs/{task.name}/{name}.log", alone=frame.index is None)
        ok = False
        try:
            with log:
                if inspect.iscoroutinefunction(fn):
                    if self._reads_rows:
                        await inputs.tasks.read_ahead(fn)
                    result = await fn(ctx)
                else:
                    result = await work.threads.run(fn, ctx)
                    result = await result if inspect.isawaitable(result) else result
            ok = True
        finally:
            if log.used:
                frame.log = str(log.path)
            llm.close()
            io.close(ok=ok)
        return result
