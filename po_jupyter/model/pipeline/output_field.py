"""The field `output` of a task: a JSON Schema, or a class that stands for its schema and for its validators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_origin

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from po_jupyter.errors import InvalidInput
from po_jupyter.model.pipeline import json_schema
from po_jupyter.model.pipeline.patterns import pattern_problem
from po_jupyter.model.values.checked_json import CheckedJsonObject
from po_jupyter.model.values.json import JsonObject

RECORDED = "recorded"  # in the context of a validation: see `parsing.validate_pipeline`


def _is_type(value: Any) -> bool:
    """A pydantic model, dataclass, TypedDict or another type: what may stand for a JSON Schema."""
    return isinstance(value, type) or get_origin(value) is not None


def _schema_of(value: Any) -> Any:
    """A type stands for its JSON Schema."""
    if not _is_type(value):
        return value
    from po_jupyter.model.pipeline.answer_schema import answer_schema_of

    try:
        return dict(answer_schema_of(value).schema)
    except InvalidInput as error:
        raise ValueError(error.message) from None


def _check_schema(value: JsonObject, info: ValidationInfo) -> JsonObject:
    if (info.context or {}).get(RECORDED):
        return value  # it was checked when it was recorded, and a large one takes seconds
    if (problem := pattern_problem(value)) is not None:
        raise ValueError(f"not a JSON Schema: {problem}")
    json_schema.load()
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path))
        raise ValueError(f"not a JSON Schema{' at ' + where if where else ''}: {error.message:.200}") from None
    return value


OutputSchema = Annotated[CheckedJsonObject, BeforeValidator(_schema_of), AfterValidator(_check_schema)]
"""A JSON Schema as a task's field; a type becomes one."""


def with_output_type(task: Any) -> Any:
    """The fields of a prompt task, with the source of the class that is its `output` as `output_type`.

    Raises ValueError for a class whose validators cannot go along.
    """
    output = task.get("output") if isinstance(task, Mapping) else None
    if not _is_type(output) or task.get("prompt") is None or "output_type" in task:
        return task
    from po_jupyter.model.pipeline.definition_text import Untransferable
    from po_jupyter.model.pipeline.type_source import type_source

    try:
        source = type_source(output)
    except InvalidInput:
        return task  # the check of the field says so
    except Untransferable as error:
        raise ValueError(
            f"the validators of {getattr(output, '__name__', output)!s:.60} cannot go along to where the run "
            f"works: {error}; define them in a module, or give the JSON Schema, which is then all that judges"
        ) from None
    return task if source is None else {**task, "output_type": source}
