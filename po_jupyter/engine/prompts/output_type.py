"""The validators of a class that came along with a prompt task (`output_type`), loaded to judge its answers."""

from __future__ import annotations

from po_jupyter.engine.base.source_module import load_source
from po_jupyter.engine.base.tracebacks import user_traceback
from po_jupyter.errors import InvalidInput, StageFailed
from po_jupyter.llm.structured.parsing import Check
from po_jupyter.model.pipeline.answer_schema import answer_schema_of
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.pipeline.type_source import NAME


def load_check(task: Task) -> Check:
    """The check of the task's type for values that fit the schema. Runs the type's code: call it in a thread.

    Raises StageFailed (permanent).
    """
    error: BaseException
    try:
        module = load_source(task.name, task.output_type or "", prefix="po_output_")
        return answer_schema_of(getattr(module, NAME)).violations
    except InvalidInput as caught:
        message, error = caught.message, caught
    except (Exception, SystemExit) as caught:
        message, error = f"{type(caught).__name__}: {caught}", caught
    raise StageFailed(
        f"task {task.name!r}: the class of its output cannot be loaded: {message}"[:1000],
        hint="Define it in the notebook or in a module that is installed where the run works, or give its JSON Schema.",
        details={"task": task.name, "traceback": user_traceback(error)},
        permanent=True,
    ) from error
