"""The shape of an answer: a JSON Schema, or a class that stands for one and makes instances of what fits.

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
from po_jupyter.model.pipeline.violations import violations_of


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """`schema` is the JSON Schema; `adapter` makes the instances, None where no class was given."""

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
            found = [f"answer: {v.message}" for v in violations_of(error, known=(), what="the answer")]
            raise OutputInvalid(found[0], details={"violations": found[:20]}) from None


def answer_schema_of(given: Any) -> AnswerSchema:
    """The shape that a JSON Schema or a class says. Raises InvalidInput."""
    if isinstance(given, Mapping):
        try:
            text = json.dumps(given)
        except (TypeError, ValueError):
            raise InvalidInput(
                "the schema is not JSON", hint="A schema holds text, numbers and lists."
            ) from None
        problem = _problem(text)
        if problem is not None:
            raise InvalidInput(problem)
        return AnswerSchema(given)
    try:
        return _of_class(given)
    except TypeError:  # not hashable: no type either
        raise InvalidInput(_NEITHER.format(given)) from None


_NEITHER = "{!r:.80} is neither a JSON Schema nor a class (a pydantic model, a dataclass, a TypedDict)"


@lru_cache(maxsize=256)
def _problem(text: str) -> str | None:
    """What is wrong with a JSON Schema, in one line."""
    json_schema.load()
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(json.loads(text))
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path))
        return f"not a JSON Schema{' at ' + where if where else ''}: {error.message:.200}"
    return None


@lru_cache(maxsize=256)
def _of_class(given: Any) -> AnswerSchema:
    if given is None or isinstance(given, str | int | float | bytes):
        raise InvalidInput(_NEITHER.format(given))
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(_readable(given))
        return AnswerSchema(adapter.json_schema(), adapter)
    except (PydanticUserError, NameError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(f"{given!r:.80} has no JSON Schema: {reason:.200}") from None


def _readable(given: Any) -> Any:
    """`typing.TypedDict` knows too little of itself before Python 3.12; pydantic takes that of typing_extensions."""
    if sys.version_info >= (3, 12):
        return given
    if typing.is_typeddict(given):
        extensions: Any = importlib.import_module("typing_extensions")
        hints = typing.get_type_hints(given, include_extras=True)
        fields = {}
        for name, hint in hints.items():
            # Where annotations are text, `__required_keys__` has not read them.
            said = typing.get_origin(hint)
            if said in (typing.Required, typing.NotRequired):
                needed, hint = said is typing.Required, typing.get_args(hint)[0]
            else:
                needed = name in given.__required_keys__
            fields[name] = (extensions.Required if needed else extensions.NotRequired)[_readable(hint)]
        return extensions.TypedDict(given.__name__, fields)
    origin, inner = typing.get_origin(given), typing.get_args(given)
    if origin in (list, dict, tuple, set, frozenset) and inner:
        return origin[tuple(map(_readable, inner))]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_readable, inner))]  # noqa: UP007  # of types known at run time only
    return given
