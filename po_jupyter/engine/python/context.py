"""The context of a stage function of a Python task: `ctx`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from po_jupyter.engine.chat.task_llm import TaskLlm
from po_jupyter.errors import OutputInvalid
from po_jupyter.llm.structured.parsing import answer_validator, parse_json
from po_jupyter.model.values.json import JsonObject, JsonValue

if TYPE_CHECKING:
    from po_jupyter.engine.control.control import Control
    from po_jupyter.engine.files.task_io import TaskIo
    from po_jupyter.engine.lifecycle.frame import Flags


class Validators:
    """`ctx.validators`: each raises OutputInvalid, which starts a refinement in a validation stage."""

    def schema(self, value: Any, schema: Mapping[str, JsonValue]) -> None:
        """Check that `value` fits the JSON Schema."""
        violations = answer_validator(schema).violations(value)
        if violations:
            raise OutputInvalid(violations[0], details={"violations": violations})

    def require(self, condition: object, message: str) -> None:
        """Check that `condition` is true."""
        if not condition:
            raise OutputInvalid(message)

    def json(self, text: str) -> Any:
        """The JSON value in a text. Raises AnswerUnreadable."""
        return parse_json(text)


@dataclass(slots=True, eq=False)
class Context:
    """`ctx` of one stage.

    seed        the seed's data           data    outputs of the stages so far, by stage
    tasks       outputs of earlier tasks  output  what the last stage that makes one returned
    control     adds tasks, skips later ones, asks for a decision
    item, index the row of a `for_each`   flags   typed; `needs_refinement` starts a refinement
    config      the task's                violations  those of the last validation
    meta        run, pipeline, version, name, task, stage, attempt, round, index
    """

    seed: Any
    data: JsonObject
    tasks: Mapping[str, JsonValue]
    output: Any
    flags: Flags
    config: JsonObject
    llm: TaskLlm
    io: TaskIo
    validators: Validators
    meta: JsonObject
    violations: list[str]
    control: Control
    item: Any = None
    index: int | None = None
