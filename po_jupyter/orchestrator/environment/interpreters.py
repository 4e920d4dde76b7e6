"""Interpreters: which Python a run may use, and which of the run's modules it finds. Blocks: call it in a thread."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import structlog

from po_jupyter.engine.scores.python_scorers import scorer_problem
from po_jupyter.errors import InvalidPipeline, Violation
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.violations import missing_module
from po_jupyter.model.run.contained import contained
from po_jupyter.orchestrator.environment.variables import worker_environment
from po_jupyter.platform import task_modules, users
from po_jupyter.platform.source_root import SOURCE_ROOT

log = structlog.get_logger(__name__)

_PYTHON = re.compile(r"(python|pypy)[\d.]*t?(\.exe)?", re.IGNORECASE)
_PATIENCE = 15.0  # s; it takes milliseconds, unless a package above a dotted name does much when it is imported


def problem_of(path: str) -> str | None:
    """The reason why a run cannot have this interpreter; None when it can have it.

    It may have ours, one of an installed kernelspec, and a Python that nobody but this user (or root) could
    have put there: the caller's own kernel, also where no kernelspec says so (VS Code, a plain environment).
    """
    if path == sys.executable:
        return None
    if not (os.path.isabs(path) and os.access(path, os.X_OK)) or os.path.isdir(path):
        return f"there is no Python at {path!r}; give an absolute path"
    objection = _objection(path)
    if objection is None or path in set(_of_kernelspecs()):
        return None
    return f"{path!r} is not used for runs: {objection}, and it is of no installed kernelspec"


def _objection(path: str) -> str | None:
    """The reason why a program that no kernelspec names is not trusted; None when it is."""
    if not _PYTHON.fullmatch(os.path.basename(path)):
        return "by its name it is no Python"
    # The link, what it leads to, and the directories of both: who may write there says what is run.
    real = os.path.realpath(path)
    for at in dict.fromkeys([path, os.path.dirname(path), real, os.path.dirname(real)]):
        info = os.lstat(at)
        if not users.is_mine(info, or_root=True):
            return f"{at} belongs to another user"
        if users.anybody_may_write(info):
            return f"everybody may write to {at}"
    return None


def _of_kernelspecs() -> Iterator[str]:
    from jupyter_client.kernelspec import KernelSpecManager

    try:
        specs = KernelSpecManager().get_all_specs()
    except Exception as error:  # the files of others
        log.warning("the kernelspecs cannot be read", error=repr(error)[:200])
        return
    for spec in specs.values():
        argv = spec["spec"].get("argv") or [""]
        yield str(argv[0])


def check_modules(pipeline: Pipeline, interpreter: str | None, cwd: str | None) -> None:
    """Every Python task without source has its module there. Raises InvalidPipeline (P11).

    What cannot be asked (the interpreter hangs, or fails) is not refused here: the worker will say more.
    """
    pipelines = [("", pipeline), *((f"{where}.", inner) for where, inner in contained(pipeline))]
    modules = {task.module for _, one in pipelines for task in one.tasks if task.module is not None}
    if not modules:
        return
    path = interpreter or sys.executable
    missing = _missing(path, cwd, sorted(modules))
    searched = f"(looked in {cwd or 'no directory'} and in {path})"
    violations = [
        Violation(f"{where}tasks[{i}]", f"{missing_module(task.name, task.module)} {searched}")
        for where, one in pipelines
        for i, task in enumerate(one.tasks)
        if task.module is not None and task.module in missing
    ]
    if violations:
        raise InvalidPipeline(
            "the pipeline cannot run:" if len(violations) > 1 else "",
            violations=violations,
            hint="Define it with %%po_task, give its `source`, or name another module with `task:`.",
        )


def check_scorers(pipeline: Pipeline, interpreter: str | None) -> None:
    """Every scorer that is no metric is one of an installed package. Raises InvalidPipeline (P11).

    Those of another interpreter are looked for when the run starts there.
    """
    if interpreter is not None and interpreter != sys.executable:
        return
    violations = [
        Violation(f"tasks[{i}].{task.scorer_place(n)}.metrics", f"task {task.name!r}: {problem}")
        for i, task in enumerate(pipeline.tasks)
        for n, scorer in enumerate(task.scorers)
        for name in scorer.python
        if (problem := scorer_problem(name)) is not None
    ]
    if violations:
        raise InvalidPipeline(violations=violations)


def _missing(path: str, cwd: str | None, names: list[str]) -> set[str]:
    environment = worker_environment()
    if path == sys.executable:  # as for its zygote: our own package need not be installed
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCE_ROOT, environment.get("PYTHONPATH")]))
    try:
        completed = subprocess.run(
            [path, "-P", task_modules.__file__, *([cwd] if cwd else [])],
            input=json.dumps(names), capture_output=True, text=True, timeout=_PATIENCE, check=True,
            env=environment, cwd=cwd or "/",
        )  # fmt: skip
        return set(json.loads(completed.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("cannot ask for modules", interpreter=path, error=repr(error)[:500])
        return set()
