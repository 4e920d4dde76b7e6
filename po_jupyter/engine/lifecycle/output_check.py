"""The `output` schema of a Python task, judged over what its stages left as the output.

A prompt task judges each answer, and asks again. What Python makes of its answers is its own: here an output that does
not fit is an error, as one that is no JSON is.
"""

from __future__ import annotations

import asyncio
from typing import Any

from po_jupyter.errors import OutputInvalid
from po_jupyter.llm.structured.parsing import answer_validator
from po_jupyter.model.pipeline.pipeline import Task


async def check_output(task: Task, output: Any) -> None:
    """Judge the output of a Python task by its schema, where it has one. Raises OutputInvalid."""
    if task.output is None or task.kind != "python":
        return
    validator = answer_validator(task.output)
    # A slow schema must not hold the other rows.
    violations = await asyncio.to_thread(validator.violations, output)
    if violations:
        violations = [f"output{line.removeprefix('answer')}" for line in violations]
        raise OutputInvalid(
            f"the output does not fit the schema of task {task.name!r}: {violations[0]}",
            hint="Change what the last stage returns, or the task's `output`.",
            details={"violations": violations},
        )
