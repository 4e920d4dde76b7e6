"""Module lookup for Python tasks: whether a task's code is installed, without importing it. Standard library only.

Also a program, run by its path in the interpreter that will run the tasks: module names on standard input (a JSON
list), on standard output the list of those that are not found. `po_jupyter` need not be installed there and is not
imported, so the answer takes milliseconds.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys

ENTRY_POINTS = "po_jupyter.tasks"


def entry_point(name: str) -> importlib.metadata.EntryPoint | None:
    """The task that an installed package registers under this name."""
    return next(iter(importlib.metadata.entry_points(group=ENTRY_POINTS, name=name)), None)


def candidates(name: str) -> list[str]:
    """The module names that a task's name stands for, in the order in which they are tried."""
    return list(dict.fromkeys([name, name.replace("-", "_")]))


def is_available(name: str) -> bool:
    """Whether this interpreter finds code for a task of this name. Packages above a dotted name are imported."""
    if entry_point(name) is not None:
        return True
    for candidate in candidates(name):
        try:
            if importlib.util.find_spec(candidate) is not None:
                return True
        except (ImportError, ValueError):
            continue
    return False


def main() -> None:
    """Answer for the directory that is given as the argument, which comes last on the path, as in a worker."""
    sys.path += sys.argv[1:2]
    names, output = json.load(sys.stdin), sys.stdout
    sys.stdout = sys.stderr  # what a package prints while it is imported must not get into the answer
    json.dump([name for name in names if not is_available(name)], output)


if __name__ == "__main__":
    main()
