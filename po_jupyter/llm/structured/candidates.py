"""Candidates: the JSON values that the text of an answer could mean.

The whole text, a fenced block, a complete object or array in it; nothing that stands before the end of a thought.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, NoReturn

from po_jupyter.llm.structured.thoughts import end_of_thoughts
from po_jupyter.model.values.json import exact_number

_LANGUAGE = re.compile(r"\s{0,8}[A-Za-z0-9_+-]{0,20}\s")
_FENCED = re.compile(r"\A```[A-Za-z0-9_+-]{0,20}\s(.*?)(?:```)?\s*\Z", re.DOTALL)
_DOUBLED = re.compile(r"\{\s{0,8}\{")
_CLOSING = re.compile(r"\s{0,8}\}")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]"]', re.DOTALL)
_MAX_TRIES = 1000  # brackets that are tried as the beginning of a value
_MAX_CANDIDATES = 200  # values that are judged
_MISSING = object()
# The beginning of what is meant as an object or a list, and is no set, note or index of a text.
_ATTEMPT = re.compile(r"""\{\s{0,8}(?:["'`“]|\w{1,60}\s{0,8}:)|\[\s{0,8}["'“{\[\d-]""")


class _NamedTwice(ValueError):
    """An object that names something twice, with different values: nobody knows which one is meant."""


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity are no JSON."""
    raise ValueError(f"{name} is not JSON")


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        for name, other in pairs:
            if json.dumps(value[name], sort_keys=True) != json.dumps(other, sort_keys=True):
                raise _NamedTwice(f"the answer names {name!r:.80} twice in one object, with different values")
    return value


# Line breaks inside strings are let through (`strict=False`): models write them, and they mean themselves.
_decoder = json.JSONDecoder(
    strict=False, parse_constant=_refuse_constant, object_pairs_hook=_unambiguous, parse_float=exact_number
)


def join_surrogates(text: str) -> str:
    """A text with both halves of a surrogate pair made one character."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


class Candidates(NamedTuple):
    """The text of an answer without thoughts, and the JSON values that it could mean, the likeliest first.

    `whole`: the text is one value, and nothing else. `broken_last` is the bracket of a broken value that stands behind
    all the others, "" without one; `problem` says why a value cannot be read, "" where it is no JSON at all.
    """

    text: str
    values: list[Any]
    whole: bool = False
    broken_last: str = ""
    problem: str = ""


class _Embedded(NamedTuple):
    """A part of a text: a value, or what is broken (`value` is `_MISSING` there)."""

    start: int
    end: int
    value: Any
    problem: str = ""


def find_candidates(text: str) -> Candidates:
    """The candidates in an answer."""
    text = join_surrogates(text).removeprefix("\ufeff").strip()
    if (value := _whole(text)) is not _MISSING:
        return Candidates(text, [value], whole=True)
    parts = list(islice(_embedded(text), _MAX_CANDIDATES))
    end = end_of_thoughts(text, [(part.start, part.end) for part in parts if part.value is not _MISSING])
    if end:
        text = text[end:].strip()
        if (value := _whole(text)) is not _MISSING:
            return Candidates(text, [value], whole=True)
        parts = list(islice(_embedded(text), _MAX_CANDIDATES))
    embedded = [part for part in parts if part.value is not _MISSING]
    values = [*_fenced(text, embedded), *(part.value for part in embedded)]
    last = parts[-1] if parts and parts[-1].value is _MISSING else None
    return Candidates(
        text,
        values[:_MAX_CANDIDATES],
        broken_last=text[last.start] if last is not None else "",
        problem=next((part.problem for part in parts if part.problem), ""),
    )


def _whole(text: str) -> Any:
    """The value that the whole text is, perhaps as one fenced block; `_MISSING` when it is none."""
    value = _decoded(text)
    if value is _MISSING and (block := _FENCED.match(text)) is not None:
        value = _decoded(block[1].strip())
    return value


def _decoded(text: str) -> Any:
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError):
        return _MISSING


def _fenced(text: str, embedded: Sequence[_Embedded]) -> Iterator[Any]:
    """The values that are a fenced block each. A fence in a string of a value is part of that string."""
    fences = [
        match.start()
        for match in re.finditer("```", text)
        if not any(part.start < match.start() < part.end for part in embedded)
    ]
    for i in range(0, len(fences), 2):
        block = text[fences[i] + 3 : fences[i + 1] if i + 1 < len(fences) else len(text)]
        if (value := _decoded(_LANGUAGE.sub("", block, count=1).strip())) is not _MISSING:
            yield value


def _embedded(text: str) -> Iterator[_Embedded]:
    """Complete objects and arrays in a text, and those that are broken, outermost first, from left to right, in linear
    time.

    What stands inside a broken value is passed over with it: half of an answer must not pass for the whole. An
    open bracket that is never closed ends the search, since what follows may all belong to it.
    """
    at = 0
    for _ in range(_MAX_TRIES):
        if (start := _next_bracket(text, at)) < 0:
            return
        part = _part_at(text, start)
        if part.value is not _MISSING or part.problem or _ATTEMPT.match(text, start):
            yield part
        at = part.end


def _part_at(text: str, start: int) -> _Embedded:
    """What begins with the bracket at `start`."""
    problem = ""
    try:
        value, end = _decoder.raw_decode(text, start)
        return _Embedded(start, end, value)
    except json.JSONDecodeError:
        pass
    except _NamedTwice as error:
        problem = str(error)
    except (ValueError, RecursionError):
        return _Embedded(start, len(text), _MISSING)
    if _DOUBLED.match(text, start) and (inner := _doubled(text, start)) is not None:
        return inner
    end_of_it = _closed(text, start)
    return _Embedded(start, len(text) if end_of_it is None else end_of_it, _MISSING, problem)


def _doubled(text: str, start: int) -> _Embedded | None:
    """The object in two pairs of braces. No JSON begins with two: the outer pair is the template's, the inner the
    answer's. None when the outer one holds more than the inner."""
    try:
        value, end = _decoder.raw_decode(text, text.index("{", start + 1))
    except (ValueError, RecursionError):
        return None
    outer = _CLOSING.match(text, end)
    return _Embedded(start, outer.end(), value) if outer is not None else None


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
