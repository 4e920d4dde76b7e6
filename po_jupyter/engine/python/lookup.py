"""Lookup of a Python task's code: the module or entry point that a task names, without importing it."""

from __future__ import annotations

from po_jupyter.model.pipeline.task import Task
from po_jupyter.model.pipeline.violations import missing_module
from po_jupyter.platform.task_modules import is_available


def module_problem(task: Task) -> str | None:
    """The problem with the module of a task; None when it is available, or when the task needs none."""
    if task.module is None or is_available(task.module):
        return None
    return missing_module(task.name, task.module)
