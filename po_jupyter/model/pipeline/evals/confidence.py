"""Confidence: how probable the label of an answer was to the model, as a field of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from po_jupyter.model.values.json import JsonObject, JsonValue

CONFIDENCE = "confidence"
"""The field of the output that has it: from 0 to 1, null where the server gave no probabilities."""


def without_confidence(answer: JsonValue) -> JsonValue:
    """What an answer says, without how sure it is of it; an answer that is nothing else stays as it is."""
    if isinstance(answer, Mapping) and CONFIDENCE in answer and len(answer) > 1:
        return {name: value for name, value in answer.items() if name != CONFIDENCE}
    return answer


class ConfidentTask(Protocol):
    """The fields of a task that say whether its answers have a confidence."""

    @property
    def confidence(self) -> Any:
        """The field `confidence`."""

    @property
    def prompt(self) -> Any:
        """The field `prompt`."""

    @property
    def votes(self) -> Any:
        """The field `votes`."""

    @property
    def output(self) -> Any:
        """The field `output`."""


class LabelField(NamedTuple):
    """The field of an answer that is its label, and the labels that it may have."""

    name: str
    labels: tuple[JsonValue, ...]


def label_field(schema: Mapping[str, JsonValue] | None) -> LabelField | None:
    """The one field of a schema with an `enum`, else its one field that is true or false; None: there is no such."""
    properties = schema.get("properties") if schema is not None else None
    if schema is None or not isinstance(properties, Mapping):
        return None
    labels: list[LabelField] = []
    truths: list[LabelField] = []
    for name, field in properties.items():
        field = _resolved(schema, field)
        if isinstance(choices := field.get("enum"), list) and choices:
            labels.append(LabelField(name, tuple(choices)))
        elif field.get("type") == "boolean":
            truths.append(LabelField(name, (True, False)))
    found = labels or truths
    return found[0] if len(found) == 1 else None


def _resolved(schema: Mapping[str, JsonValue], field: JsonValue) -> Mapping[str, JsonValue]:
    """A field, or what its `$ref` names: an Enum of a class is written so."""
    if not isinstance(field, Mapping):
        return {}
    reference = field.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
        return field
    definitions = schema.get("$defs")
    named = definitions.get(reference.removeprefix("#/$defs/")) if isinstance(definitions, Mapping) else None
    return named if isinstance(named, Mapping) else {}


def confidence_problem(task: ConfidentTask) -> str | None:
    """Why a task cannot have `confidence`; None when it can, or has none."""
    if task.confidence is None:
        return None
    if task.prompt is None:
        return "`confidence` is for prompt tasks"
    if task.votes is not None:
        return "`confidence` and `votes` do not go together: votes have their `agreement`"
    if CONFIDENCE in ((task.output or {}).get("properties") or {}):
        return f"the answer has a field `{CONFIDENCE}` of its own, which the model fills in"
    if label_field(task.output) is None:
        return "`confidence` needs an `output` with one field that is an `enum`, or true or false"
    return None


def with_confidence(task: ConfidentTask) -> JsonObject | None:
    """The schema of the outputs of a task: that of its answers, with their confidence."""
    schema: JsonObject | None = task.output
    if schema is None or task.confidence is None:
        return schema
    field = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
    return {**schema, "properties": {**schema["properties"], CONFIDENCE: field}}
