"""Expectations, held against the answers of a run: what fails, in one line each. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonpath

from po_jupyter.llm.structured.parsing import answer_validator
from po_jupyter.model.pipeline.patterns import PatternOverrun, matches
from po_jupyter.model.run.review import canonical_json
from po_jupyter.prompt_tests.cases import Expectation

_SHOWN = 300  # characters of a value


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """An answer to be judged: of a row of a map, or of a task without rows (`index` None). `given` is the row of the
    seed."""

    index: int | None
    ok: bool
    output: Any
    error: str
    scores: Mapping[str, Any]
    given: Mapping[str, Any]


def failures_of(expectation: Expectation, task: str, rows: list[AnswerRow]) -> Iterator[str]:
    """What of the answers of a task is not as expected."""
    if expectation.row is not None:
        chosen = [row for row in rows if row.index == expectation.row]
        if not chosen:
            yield f"{task}: there is no row {expectation.row}, or it has no outcome; it has {len(rows)}"
            return
        rows = chosen
    if not rows:
        yield f"{task}: has no rows"
        return
    failed = {
        n: problems for n, row in enumerate(rows) if (problems := list(_row_failures(expectation, task, row)))
    }
    if expectation.share is None:
        for problems in failed.values():
            yield from problems
    elif (part := (len(rows) - len(failed)) / len(rows)) < expectation.share:
        yield f"{task}: {len(rows) - len(failed)} of {len(rows)} rows hold ({part:.3g}), expected {expectation.share:g}"
        for problems in failed.values():
            yield from problems


def _row_failures(expectation: Expectation, task: str, row: AnswerRow) -> Iterator[str]:
    place = task if row.index is None else f"{task}, row {row.index}"
    if expectation.error_contains is not None:
        if row.ok or expectation.error_contains not in row.error:
            yield f"{place}: expected an error with {_show(expectation.error_contains)}, got {_outcome(row)}"
        return
    if expectation.score is not None:
        score = row.scores.get(expectation.score)
        if not isinstance(score, int | float):
            yield f"{place}: has no score {expectation.score!r:.80}"
        else:
            yield from (
                f"{place}, score {expectation.score}: {problem}" for problem in _bounds(expectation, score)
            )
        return
    if not row.ok:
        yield f"{place}: failed: {row.error[:_SHOWN]}"
        return
    for where, value in _values(expectation, place, row.output):
        yield from (f"{where}: {problem}" for problem in _value_failures(expectation, value, row))


class _Nothing:
    """In the place of a value that a path does not find."""


def _values(expectation: Expectation, place: str, output: Any) -> Iterator[tuple[str, Any]]:
    if expectation.path is None:
        yield place, output
        return
    if expectation.path.strip() == "$":  # of a text too, which the library would read as JSON
        yield f"{place}, $", output
        return
    found = list(jsonpath.finditer(expectation.path, output)) if isinstance(output, dict | list) else []
    if not found:
        yield f"{place}, {expectation.path}", _Nothing
    for match in found:
        yield f"{place}, {match.path}", match.obj


def _value_failures(expectation: Expectation, value: Any, row: AnswerRow) -> Iterator[str]:
    if value is _Nothing:
        yield f"the path finds nothing in {_show(row.output)}"
        return
    if "equals" in expectation.model_fields_set and not _same(value, expectation.equals):
        yield f"expected {_show(expectation.equals)}, got {_show(value)}"
    if (field := expectation.equals_field) is not None:
        if field not in row.given:
            yield f"the row of the seed has no field {field!r:.80}"
        elif not _same(value, row.given[field]):
            yield f"expected {_show(row.given[field])} ({field}), got {_show(value)}"
    yield from _text_failures(expectation, value)
    if expectation.json_schema is not None:
        for violation in answer_validator(expectation.json_schema).violations(value):
            yield f"does not fit the schema: {violation}"
    yield from _bounds(expectation, value)


def _same(a: Any, b: Any) -> bool:
    """Whether two JSON values are the same; a whole number is, with a point and without."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _text_failures(expectation: Expectation, value: Any) -> Iterator[str]:
    text = value if isinstance(value, str) else canonical_json(value)
    for part in _texts(expectation.contains):
        if part not in text:
            yield f"expected it to contain {_show(part)}, got {_show(value)}"
    for part in _texts(expectation.not_contains):
        if part in text:
            yield f"expected it not to contain {_show(part)}, got {_show(value)}"
    if expectation.regex is not None:
        try:
            if not matches(expectation.regex, text):
                yield f"expected it to match {_show(expectation.regex)}, got {_show(value)}"
        except PatternOverrun as error:
            yield str(error)


def _bounds(expectation: Expectation, value: Any) -> Iterator[str]:
    bounds: tuple[tuple[float | None, str, Callable[[float, float], bool]], ...] = (
        (expectation.at_least, "at least", lambda a, b: a >= b),
        (expectation.at_most, "at most", lambda a, b: a <= b),
    )
    for bound, name, holds in bounds:
        if bound is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield f"expected a number, {name} {bound:g}, got {_show(value)}"
        elif not holds(value, bound):
            yield f"expected {name} {bound:g}, got {_show(value)}"


def _texts(value: str | list[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else value


def _outcome(row: AnswerRow) -> str:
    return _show(row.output) if row.ok else f"the error {_show(row.error)}"


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
