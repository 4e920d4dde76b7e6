"""The schema of an answer: a JSON Schema, or a class that stands for one and makes instances of what fits.

A class is a pydantic model, a dataclass, a TypedDict, an enum, or any other type that pydantic can read
(`list[Label]`, `Literal["a", "b"]`).
"""

from __future__ import annotations

import importlib
import json
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from po_jupyter.errors import InvalidInput, OutputInvalid
from po_jupyter.model.pipeline import json_schema
from po_jupyter.model.pipeline.patterns import pattern_problem
from po_jupyter.model.pipeline.violations import violations_of


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The schema that an answer has to fit: as JSON Schema, and as `adapter` where a class was given, which makes the
    instances."""

    schema: Mapping[str, Any]
    adapter: TypeAdapter[Any] | None = field(default=None, repr=False)

    def typed(self, value: Any) -> Any:
        """The instance that a JSON value is; the value itself without a class. Raises OutputInvalid."""
        if self.adapter is None:
            return value
        try:
            # As JSON, not as Python: a date that is written as text is one, also in strict models.
            return self.adapter.validate_json(json.dumps(value))
        except ValidationError as error:
            violations = [f"answer: {v.message}" for v in violations_of(error, known=(), what="the answer")]
            raise OutputInvalid(violations[0], details={"violations": violations[:20]}) from None

    def violations(self, value: Any) -> list[str]:
        """The violations that the class finds in a JSON value which fits its schema; [] without a class."""
        try:
            self.typed(value)
        except OutputInvalid as error:
            return list(error.violations)
        return []


def answer_schema_of(source: Any) -> AnswerSchema:
    """The schema of a JSON Schema or a class. Raises InvalidInput."""
    if isinstance(source, Mapping):
        try:
            text = json.dumps(source)
        except (TypeError, ValueError):
            raise InvalidInput(
                "the schema is not JSON", hint="A schema holds text, numbers and lists."
            ) from None
        problem = _problem(text)
        if problem is not None:
            raise InvalidInput(problem)
        return AnswerSchema(source)
    try:
        return _of_class(source)
    except TypeError:  # not hashable: no type either
        raise InvalidInput(_NEITHER.format(source)) from None


_NEITHER = "{!r:.80} is neither a JSON Schema nor a class (a pydantic model, a dataclass, a TypedDict)"


@lru_cache(maxsize=256)
def _problem(text: str) -> str | None:
    """The problem of a JSON Schema, in one line."""
    if (wrong := pattern_problem(json.loads(text))) is not None:
        return f"not a JSON Schema: {wrong}"
    json_schema.load()
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(json.loads(text))
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path))
        return f"not a JSON Schema{' at ' + where if where else ''}: {error.message:.200}"
    return None


@lru_cache(maxsize=256)
def _of_class(source: Any) -> AnswerSchema:
    if source is None or isinstance(source, str | int | float | bytes):
        raise InvalidInput(_NEITHER.format(source))
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(_readable(source))
        return AnswerSchema(adapter.json_schema(), adapter)
    except (PydanticUserError, NameError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(f"{source!r:.80} has no JSON Schema: {reason:.200}") from None


def _readable(source: Any) -> Any:
    """`typing.TypedDict` knows too little of itself before Python 3.12; pydantic takes that of typing_extensions."""
    if sys.version_info >= (3, 12):
        return source
    if typing.is_typeddict(source):
        extensions: Any = importlib.import_module("typing_extensions")
        hints = typing.get_type_hints(source, include_extras=True)
        fields = {}
        for name, hint in hints.items():
            # Where annotations are text, `__required_keys__` has not read them.
            origin = typing.get_origin(hint)
            if origin in (typing.Required, typing.NotRequired):
                needed, hint = origin is typing.Required, typing.get_args(hint)[0]
            else:
                needed = name in source.__required_keys__
            fields[name] = (extensions.Required if needed else extensions.NotRequired)[_readable(hint)]
        return extensions.TypedDict(source.__name__, fields)
    origin, inner = typing.get_origin(source), typing.get_args(source)
    if origin in (list, dict, tuple, set, frozenset) and inner:
        return origin[tuple(map(_readable, inner))]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_readable, inner))]  # noqa: UP007  # of types known at run time only
    return source
