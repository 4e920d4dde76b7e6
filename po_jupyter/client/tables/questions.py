"""Questions to each row, as pipelines with one map over `seed.rows`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from enum import Enum
from typing import Any, TypeAlias, TypedDict

from po_jupyter.client.tables.options import MODEL_OPTIONS, TASK_OPTIONS
from po_jupyter.errors import InvalidInput
from po_jupyter.model.pipeline.answer_schema import answer_schema_of
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.values.json import JsonObject

Prompt: TypeAlias = str | Sequence[Mapping[str, str]]

KEEP = "keep"
_KEPT = f"{{{{ output.{KEEP} }}}}"
LABEL, LABELS = "label", "labels"
_ITEM = re.compile(r"{[{%].*?\bitem\b", re.DOTALL)
_WHOLE_ROW = "{{ item if item is string else item | tojson }}"
_FILTER = "You decide for one row of a table whether a statement about it is true, or the answer to a question is yes."
_EXTRACT = "Take the following from the text as it stands there; null where it is not in it."


def map_question(
    verb: str, prompt: Prompt, output: Any, options: Mapping[str, Any], where: str | None = None
) -> Pipeline:
    """A prompt for each row; `where` says of its answer whether the row stays. Raises InvalidInput for one that no row
    is in, InvalidPipeline."""
    turns = [prompt] if isinstance(prompt, str) else [turn.get("content", "") for turn in _turns(verb, prompt)]
    shown = [options.get(name) or () for name in ("images", "files")]
    texts = [*turns, *(text for files in shown for text in ([files] if isinstance(files, str) else files))]
    if not any(isinstance(text, str) and _ITEM.search(text) for text in texts):
        raise InvalidInput(
            f"po.{verb}: the prompt has no `item`, so every row would be asked the same",
            hint="{{ item.text }} is the column `text` of the row; {{ item }} the value, where a column was passed.",
        )
    return _pipeline(verb, options, prompt=prompt, output=output, where=where)


def _pipeline(verb: str, options: Mapping[str, Any], **fields: Any) -> Pipeline:
    from po_jupyter.model.pipeline.parsing import validate_pipeline  # it brings YAML, which is slow to import

    name = options.get("name", verb)
    task: JsonObject = {
        "name": name, "for_each": "{{ seed.rows }}", **fields,
        **{option: options[option] for option in TASK_OPTIONS if options.get(option) is not None},
    }  # fmt: skip
    llm = {option: options[option] for option in MODEL_OPTIONS if options.get(option) is not None}
    return validate_pipeline({"name": name, "llm": llm, "tasks": [task]})


def filter_question(
    prompt: Prompt | None, where: str | None, output: Any, options: Mapping[str, Any]
) -> Pipeline:
    """The rows for which `where` holds: without a prompt of the row alone, with one of its answer, by default of its
    `keep`, true for yes."""
    if where is not None and not isinstance(where, str):
        raise InvalidInput(
            f"po.filter: `where` is an expression such as {{{{ item.n > 3 }}}}, not {where!r:.60}"
        )
    if prompt is not None:
        if output is None:
            output = _object(
                {KEEP: {"type": "boolean", "description": "Whether it is true, or the answer is yes."}}
            )
        return map_question(
            "filter", prompt, output, {"system": _FILTER, **options}, _KEPT if where is None else where
        )
    if where is None:
        raise InvalidInput("po.filter takes a prompt, or an expression as `where`, which asks no model")
    asking = [name for name in (*TASK_OPTIONS, *MODEL_OPTIONS) if options.get(name) is not None]
    if output is not None or asking:
        name = asking[0] if asking else "output"
        raise InvalidInput(f"po.filter: `{name}` is for a model, and without a prompt none is asked")
    return _pipeline("filter", options, where=where)


def classify_question(
    labels: Iterable[str], prompt: Prompt | None, several: bool, options: Mapping[str, Any]
) -> Pipeline:
    """The choice of one label of these, as `{"label": ...}`, or of several, as `{"labels": [...]}`."""
    choices = _checked_labels(labels)
    one = {"type": "string", "enum": choices}
    field = {LABELS: {"type": "array", "items": one, "uniqueItems": True}} if several else {LABEL: one}
    if prompt is None:
        # The labels are somebody's text, so they come in as a value: braces in them are no template.
        choice = "all that fit, or none," if several else "the one that fits best"
        prompt = f"Choose {choice} of: {{{{ {json.dumps(choices)} | join(', ') }}}}.\n\n{_WHOLE_ROW}"
    return map_question("classify", prompt, _object(field), options)


def extract_question(fields: Any, prompt: Prompt | None, options: Mapping[str, Any]) -> Pipeline:
    """Fields taken from each row: names, types by name, a class or a JSON Schema."""
    if prompt is None:
        prompt = f"{_EXTRACT}\n\n{_WHOLE_ROW}"
    return map_question("extract", prompt, _fields_schema(fields), options)


def _checked_labels(labels: object) -> list[str]:
    # Not a set: in another order it would be another question, which is paid again.
    if isinstance(labels, str | Mapping | Set) or not isinstance(labels, Iterable):
        raise InvalidInput(f"po.classify: labels are a list of texts, not {labels!r:.60}")
    labels = list(labels)
    wrong = [label for label in labels if not isinstance(label, str) or not label.strip()]
    if wrong or len(set(labels)) != len(labels) or len(labels) < 2:
        fault = f"{wrong[0]!r:.60} is none" if wrong else "there are fewer, or one is there twice"
        raise InvalidInput(f"po.classify: labels are at least two different texts; {fault}")
    return [str(label.value if isinstance(label, Enum) else label) for label in labels]


def _fields_schema(fields: Any) -> Any:
    if isinstance(fields, str):
        fields = [fields]
    if isinstance(fields, Mapping | list | tuple | None) and not fields:
        raise InvalidInput("po.extract: no field is named", hint='For example ["company", "year"].')
    if isinstance(fields, list | tuple):
        wrong = [name for name in fields if not isinstance(name, str) or not name]
        if wrong:
            raise InvalidInput(f"po.extract: names of fields are texts, and {wrong[0]!r:.60} is none")
        return _object({name: {"type": ["string", "null"]} for name in fields})
    if not isinstance(fields, Mapping) or _is_schema(fields):
        return fields
    for name, kind in fields.items():
        _check_kind(name, kind)
    if not any(isinstance(kind, Mapping) for kind in fields.values()):
        return dict(answer_schema_of(TypedDict("Fields", dict(fields))).schema)  # type: ignore[operator]  # by value
    schemas, definitions = {}, {}
    for name, kind in fields.items():
        schema = dict(answer_schema_of(kind).schema)
        definitions.update(schema.pop("$defs", {}))
        schemas[name] = schema
    return _object(schemas) | ({"$defs": definitions} if definitions else {})


def _is_schema(fields: Mapping[str, Any]) -> bool:
    """Whether it is a JSON Schema, and not types by the names of fields."""
    return isinstance(fields.get("type"), str | list) or any(
        isinstance(fields.get(key), Mapping | list) and not (key == "properties" and "type" in fields[key])
        for key in ("properties", "anyOf", "oneOf", "allOf", "enum")
    ) or isinstance(fields.get("$ref"), str)  # fmt: skip


def _check_kind(name: object, kind: object) -> None:
    """Raise InvalidInput, with its name, for a field that is neither a type nor a JSON Schema."""
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"po.extract: names of fields are texts, and {name!r:.60} is none")
    try:
        answer_schema_of(kind)
    except InvalidInput as error:
        reason = error.message if isinstance(kind, Mapping) else f"{kind!r:.60} is no type"
        raise InvalidInput(
            f"po.extract: the field `{name}`: {reason}",
            hint='A type such as `str`, `int | None`, `list[str]`, or a JSON Schema, {"type": "string"}.',
        ) from None


def _object(properties: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _turns(verb: str, prompt: object) -> list[Mapping[str, str]]:
    if not isinstance(prompt, list | tuple) or not all(isinstance(turn, Mapping) for turn in prompt):
        raise InvalidInput(f"po.{verb}: a prompt is text or a list of messages, not {type(prompt).__name__}")
    return list(prompt)
