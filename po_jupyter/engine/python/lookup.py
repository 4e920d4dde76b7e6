"""Looking up the code of a Python task without importing it. The standard library alone is used here.

As a program, in the interpreter that will run the tasks: names on standard input (a JSON list), on standard
output those that are not found. `po_jupyter` itself is not imported then, so the answer takes milliseconds.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from po_jupyter.model.pipeline.pipeline import Task

ENTRY_POINTS = "po_jupyter.tasks"


def entry_point(name: str) -> importlib.metadata.EntryPoint | None:
    """The task that an installed package registers under this name."""
    return next(iter(importlib.metadata.entry_points(group=ENTRY_POINTS, name=name)), None)


def candidates(name: str) -> list[str]:
    """The modules that a name may mean, in order."""
    return list(dict.fromkeys([name, name.replace("-", "_")]))


def is_there(name: str) -> bool:
    """Whether a task of this name will find its code. Packages above a dotted name are imported."""
    if entry_point(name) is not None:
        return True
    for candidate in candidates(name):
        try:
            if importlib.util.find_spec(candidate) is not None:
                return True
        except (ImportError, ValueError):
            continue
    return False


def findable(task: Task) -> str | None:
    """The problem with where a task's code should be, found without importing it; None when there is none."""
    name = module_of(task)
    if name is None or is_there(name):
        return None
    return not_found(task)


def module_of(task: Task) -> str | None:
    """The name of the module or entry point of a Python task without source; None for any other task."""
    return (task.task or task.name) if task.kind == "python" and task.source is None else None


def not_found(task: Task) -> str:
    """The message for a task whose module is not there."""
    return f"no module {task.task or task.name!r} is found for task {task.name!r}"


def main() -> None:
    """Answer for the directory that is given as the argument, which comes first on the path, as in a worker."""
    sys.path[:0] = sys.argv[1:2]
    names, answer = json.load(sys.stdin), sys.stdout
    sys.stdout = sys.stderr  # a package that prints while it is imported does not speak for us
    json.dump([name for name in names if not is_there(name)], answer)


if __name__ == "__main__":
    main()
