"""JSON answers (B8): parsed out of a model's text, validated against their schema, asked for again in plain words.

Parsed in this order: the whole text, a fenced block, the first complete object or array. Anything else is an
AnswerUnreadable with a sample, never a silent string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from po_jupyter.errors import AnswerUnreadable, InvalidInput
from po_jupyter.model.pipeline import json_schema
from po_jupyter.model.pipeline.violations import did_you_mean

if TYPE_CHECKING:
    from jsonschema import ValidationError

_LANGUAGE = re.compile(r"\s{0,8}[A-Za-z0-9_+-]{0,20}\s")
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_DOUBLED = re.compile(r"\{\s{0,8}\{")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]"]', re.DOTALL)
_SAMPLE = 200
_MAX_VIOLATIONS = 20
_MAX_TRIES = 1000  # brackets that are tried as the beginning of a value
_TYPES = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
    "object": "an object",
    "array": "a list",
}


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity are no JSON."""
    raise ValueError(f"{name} is not JSON")


# Line breaks inside strings are let through (`strict=False`): models write them, and they mean themselves.
_decoder = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)


def parse_json(text: str, *, want: type | None = None, scalars: bool = False) -> Any:
    """The JSON value in `text`.

    `want` (dict or list) prefers a value of that type where several could be meant. A lone string, number,
    boolean or null is a value only with `scalars`. Raises AnswerUnreadable.
    """
    text = _THOUGHT.sub("", text.removeprefix("\ufeff"), count=1).strip()
    others: list[Any] = []
    for value in _candidates(text):
        if not isinstance(value, dict | list):
            if scalars:
                return value
            continue
        if want is None or isinstance(value, want):
            return value
        others.append(value)
    if others:
        return others[0]
    sample = text if len(text) <= _SAMPLE else text[:_SAMPLE] + "…"
    message = "the answer is empty" if not text else f"the answer holds no complete JSON: {sample!r}"
    raise AnswerUnreadable(message, details={"sample": text[:_SAMPLE], "length": len(text)})


def _candidates(text: str) -> Iterator[Any]:
    """The JSON values that a text could mean, the likeliest first."""
    try:
        yield _decoder.decode(text)
        return
    except (ValueError, RecursionError):
        pass
    for block in text.split("```")[1::2]:
        try:
            yield _decoder.decode(_LANGUAGE.sub("", block, count=1).strip())
        except (ValueError, RecursionError):
            continue
    yield from _embedded(text)


def _embedded(text: str) -> Iterator[Any]:
    """Complete objects and arrays in a text, outermost first, from left to right, in linear time.

    What stands inside a broken value is passed over with it: half of an answer must not pass for the whole. An
    open bracket that is never closed ends the search, since what follows may all belong to it.
    """
    at = 0
    for _ in range(_MAX_TRIES):
        if (start := _next_bracket(text, at)) < 0:
            return
        try:
            value, at = _decoder.raw_decode(text, start)
        except json.JSONDecodeError:
            if _DOUBLED.match(text, start):
                at = (
                    start + 1
                )  # no JSON begins with two: the outer one is the template's, the inner the answer's
            elif (end := _closed(text, start)) is None:
                return
            else:
                at = end
        except (ValueError, RecursionError):
            return
        else:
            yield value


def _closed(text: str, start: int) -> int | None:
    """The position behind the bracket that closes the one at `start`, counting both kinds; None: it is never closed."""
    depth = 0
    for token in _TOKENS.finditer(text, start):
        character = token[0]
        if character in "{[":
            depth += 1
        elif character in "}]":
            depth -= 1
            if depth == 0:
                return token.end()
        elif character == '"':
            return None  # a string that never ends
    return None


def _next_bracket(text: str, start: int) -> int:
    """The position of the next bracket that opens a value, -1 when there is none."""
    positions = [at for at in (text.find("{", start), text.find("[", start)) if at >= 0]
    return min(positions, default=-1)


class AnswerValidator:
    """The validator of answers to one JSON Schema, compiled once.

    Validates as Draft 2020-12 unless `$schema` says otherwise. References to other documents are not fetched.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Compile `schema`."""
        json_schema.load()
        from jsonschema import Draft202012Validator
        from jsonschema.validators import validator_for
        from referencing import Registry

        self.schema = schema
        # An empty registry: jsonschema's default one would open URLs that a schema names.
        self._validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
        kinds = schema.get("type")
        self._kinds = set(kinds if isinstance(kinds, list) else [kinds]) if kinds else set()

    def parse(self, text: str) -> Any:
        """The JSON value in an answer, of the type that the schema asks for. Raises AnswerUnreadable."""
        want = {"object": dict, "array": list}.get(next(iter(self._kinds))) if len(self._kinds) == 1 else None
        if not self._kinds and "properties" in self.schema:
            want = dict
        scalars = not self._kinds or bool(self._kinds - {"object", "array"})
        return parse_json(text, want=want, scalars=scalars and want is None)

    def violations(self, value: Any) -> list[str]:
        """The violations of a value, at most 20, in plain words with their places; [] when it fits.

        Raises InvalidInput when the schema refers to something that it does not hold.
        """
        from referencing.exceptions import Unresolvable

        lines = (line for error in self._validator.iter_errors(value) for line in _in_words(error))
        try:
            return list(islice(dict.fromkeys(lines), _MAX_VIOLATIONS))
        except Unresolvable as error:
            raise InvalidInput(
                f"the schema of the answer refers to {error.ref!r}, which is not in it",
                hint="Put the definition under $defs and refer to #/$defs/NAME; nothing is fetched.",
            ) from None


@lru_cache(maxsize=256)
def _compiled(text: str) -> AnswerValidator:
    return AnswerValidator(json.loads(text))


def answer_validator(schema: Mapping[str, Any]) -> AnswerValidator:
    """The validator of a schema; the same object for the same content."""
    return _compiled(json.dumps(schema))


def reask(violations: Sequence[str]) -> str:
    """The message that asks a model to correct its answer."""
    lines = "\n".join(f"- {violation}" for violation in violations)
    return f"Your answer does not fit:\n{lines}\nAnswer again with the whole corrected JSON and nothing else."


def _in_words(error: ValidationError) -> Iterator[str]:
    """The violations in one error of the validator, in plain words."""
    path = "answer" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
    rule, limit, value = str(error.validator), error.validator_value, error.instance
    if rule in _RULES and (rule != "additionalProperties" or limit is False):
        yield from (f"{path} {text}" for text in _RULES[rule](value, limit, error.schema))
    elif rule in _LIMITS:
        size = len(value) if isinstance(value, str | list | dict) else value
        yield f"{path} {_LIMITS[rule].format(limit=limit, size=size)}"
    elif rule in ("anyOf", "oneOf") and error.context:
        nearest = next(iter(_in_words(min(error.context, key=lambda e: -len(e.absolute_path)))), "")
        yield f"{path} fits none of the allowed shapes" + (f" (nearest: {nearest})" if nearest else "")
    else:
        yield f"{path}: {error.message:.200}"


def _missing(value: Any, names: Any, schema: Any) -> Iterator[str]:
    return (f"has no {_show(name)}" for name in names if name not in value)


def _not_allowed(value: Any, allowed: Any, schema: Any) -> Iterator[str]:
    names = list((schema.get("properties") or {}).keys())
    extra = [n for n in value if n not in names and not _matches_pattern(schema, n)]
    return (f"must not have {_show(n)}{did_you_mean(n, names)}" for n in extra)


def _not_in_enum(value: Any, members: Any, schema: Any) -> Iterator[str]:
    yield f"is {_show(value)}, not one of {', '.join(map(_show, members[:20]))}"


def _not_the_constant(value: Any, constant: Any, schema: Any) -> Iterator[str]:
    yield f"is {_show(value)}, not {_show(constant)}"


def _wrong_type(value: Any, types: Any, schema: Any) -> Iterator[str]:
    names = [_TYPES.get(t, str(t)) for t in (types if isinstance(types, list) else [types])]
    yield f"is {_show(value)}, not {' or '.join(names)}"


# Called with the value, what the schema says under the keyword, and the schema around it.
_RULES: Mapping[str, Callable[[Any, Any, Any], Iterator[str]]] = {
    "required": _missing,
    "additionalProperties": _not_allowed,
    "enum": _not_in_enum,
    "const": _not_the_constant,
    "type": _wrong_type,
}
_LIMITS = {
    "maxLength": "has {size} characters, at most {limit} are allowed",
    "minLength": "has {size} characters, at least {limit} are needed",
    "maxItems": "has {size} elements, at most {limit} are allowed",
    "minItems": "has {size} elements, at least {limit} are needed",
    "maximum": "is {size}, at most {limit} is allowed",
    "minimum": "is {size}, at least {limit} is needed",
    "pattern": "does not match the pattern {limit}",
    "uniqueItems": "has the same element twice",
}


def _matches_pattern(schema: Mapping[str, Any], name: str) -> bool:
    return any(re.search(pattern, name) for pattern in schema.get("patternProperties") or {})


def _show(value: Any) -> str:
    """A value as JSON, at most 80 characters of it."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:80] + "…"
