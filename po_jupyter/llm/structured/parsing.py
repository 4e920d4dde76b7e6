"""JSON answers (B8): found in what a model wrote, checked against their schema, asked for again in plain words.

Read in this order: the whole text, a fenced block, the first complete object or array. Anything else is an
AnswerUnreadable with a sample, never a silent string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from po_jupyter.errors import AnswerUnreadable, InvalidInput
from po_jupyter.model.pipeline import json_schema
from po_jupyter.model.pipeline.violations import did_you_mean

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


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Line breaks inside strings are let through (`strict=False`): models write them, and they mean themselves.
_decoder = json.JSONDecoder(strict=False, parse_constant=_no_constant)


def parse_json(text: str, *, want: type | None = None, scalars: bool = False) -> Any:
    """The JSON value in `text`.

    `want` (dict or list) prefers a value of that type where several could be meant. A lone string, number,
    boolean or null is a value only with `scalars`. Raises AnswerUnreadable.
    """
    text = _THOUGHT.sub("", text.removeprefix("\ufeff"), count=1).strip()
    found: list[Any] = []
    for value in _candidates(text):
        if not isinstance(value, dict | list):
            if scalars:
                return value
            continue
        if want is None or isinstance(value, want):
            return value
        found.append(value)
    if found:
        return found[0]
    sample = text if len(text) <= _SAMPLE else text[:_SAMPLE] + "…"
    message = "the answer is empty" if not text else f"the answer holds no complete JSON: {sample!r}"
    raise AnswerUnreadable(message, details={"sample": text[:_SAMPLE], "length": len(text)})


def _candidates(text: str) -> Iterator[Any]:
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
                )  # no JSON begins like that: the outer one is the template's, the inner the answer's
            elif (end := _closed(text, start)) is None:
                return
            else:
                at = end
        except (ValueError, RecursionError):
            return
        else:
            yield value


def _closed(text: str, start: int) -> int | None:
    """Where the bracket at `start` is closed (behind it), brackets of both kinds counted; None: never."""
    depth = 0
    for token in _TOKENS.finditer(text, start):
        sign = token[0]
        if sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
            if depth == 0:
                return token.end()
        elif sign == '"':
            return None  # a text that never ends
    return None


def _next_bracket(text: str, start: int) -> int:
    places = [at for at in (text.find("{", start), text.find("[", start)) if at >= 0]
    return min(places, default=-1)


class AnswerSchema:
    """The JSON Schema of an answer, compiled once.

    Validates as Draft 2020-12 unless `$schema` says otherwise. References to other documents are not fetched.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        json_schema.load()
        from jsonschema import Draft202012Validator
        from jsonschema.validators import validator_for
        from referencing import Registry

        self.schema = schema
        # An empty registry: jsonschema's default one would open URLs that a schema names.
        self._validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
        kinds = schema.get("type")
        self._kinds = set(kinds if isinstance(kinds, list) else [kinds]) if kinds else set()

    def read(self, text: str) -> Any:
        """The JSON value in an answer, of the type that the schema asks for. Raises AnswerUnreadable."""
        want = {"object": dict, "array": list}.get(next(iter(self._kinds))) if len(self._kinds) == 1 else None
        if not self._kinds and "properties" in self.schema:
            want = dict
        scalars = not self._kinds or bool(self._kinds - {"object", "array"})
        return parse_json(text, want=want, scalars=scalars and want is None)

    def violations(self, value: Any) -> list[str]:
        """What is wrong with a value, in plain words with places; [] when it fits. At most 20.

        Raises InvalidInput when the schema refers to something that it does not hold.
        """
        from referencing.exceptions import Unresolvable

        lines = (line for error in self._validator.iter_errors(value) for line in _plainly(error))
        try:
            return list(islice(dict.fromkeys(lines), _MAX_VIOLATIONS))
        except Unresolvable as error:
            raise InvalidInput(
                f"the schema of the answer refers to {error.ref!r}, which is not in it",
                hint="Put the definition under $defs and refer to #/$defs/NAME; nothing is fetched.",
            ) from None


@lru_cache(maxsize=256)
def _compiled(text: str) -> AnswerSchema:
    return AnswerSchema(json.loads(text))


def answer_schema(schema: Mapping[str, Any]) -> AnswerSchema:
    """The compiled schema; the same object for the same content."""
    return _compiled(json.dumps(schema))


def reask(violations: Sequence[str]) -> str:
    """The message that asks a model to correct its answer."""
    lines = "\n".join(f"- {violation}" for violation in violations)
    return f"Your answer does not fit:\n{lines}\nAnswer again with the whole corrected JSON and nothing else."


def _plainly(error: Any) -> Iterator[str]:
    place = "answer" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
    rule, limit, value = error.validator, error.validator_value, error.instance
    if rule == "required":
        yield from (f"{place} has no {_show(name)}" for name in limit if name not in value)
    elif rule == "additionalProperties" and limit is False:
        known = list((error.schema.get("properties") or {}).keys())
        extra = [n for n in value if n not in known and not _matches(error.schema, n)]
        yield from (f"{place} must not have {_show(n)}{did_you_mean(n, known)}" for n in extra)
    elif rule == "enum":
        yield f"{place} is {_show(value)}, not one of {', '.join(map(_show, limit[:20]))}"
    elif rule == "const":
        yield f"{place} is {_show(value)}, not {_show(limit)}"
    elif rule == "type":
        wanted = [_TYPES.get(k, str(k)) for k in (limit if isinstance(limit, list) else [limit])]
        yield f"{place} is {_show(value)}, not {' or '.join(wanted)}"
    elif rule in _LIMITS:
        size = len(value) if isinstance(value, str | list | dict) else value
        yield f"{place} {_LIMITS[rule].format(limit=limit, size=size)}"
    elif rule in ("anyOf", "oneOf") and error.context:
        first = next(iter(_plainly(min(error.context, key=lambda e: -len(e.absolute_path)))), "")
        yield f"{place} fits none of the allowed shapes" + (f" (nearest: {first})" if first else "")
    else:
        yield f"{place}: {error.message:.200}"


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


def _matches(schema: Mapping[str, Any], name: str) -> bool:
    return any(re.search(pattern, name) for pattern in schema.get("patternProperties") or {})


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:80] + "…"
