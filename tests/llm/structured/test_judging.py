"""Judging by a schema has a bound in time, whatever the schema is."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.llm.structured import judging
from po_jupyter.llm.structured.parsing import AnswerValidator

pytestmark = pytest.mark.integration  # it takes seconds


def nested(keyword: str = "anyOf", levels: int = 12, ways: int = 4) -> dict[str, Any]:
    """A schema of a few lines with `ways` to the power of `levels` ways through it."""
    definitions: dict[str, Any] = {
        f"d{i}": {keyword: [{"$ref": f"#/$defs/d{i + 1}"}] * ways} for i in range(levels)
    }
    definitions[f"d{levels}"] = {"type": "object", "required": ["x"]}
    return {"$ref": "#/$defs/d0", "$defs": definitions}


_TICK = 0.01  # s that pass at each look at the clock


class Ticking:
    """A clock that goes on whenever it is looked at: how fast this machine is says nothing here."""

    def __init__(self) -> None:
        self.now = 0.0

    def thread_time(self) -> float:
        self.now += _TICK
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    clock = Ticking()
    monkeypatch.setattr(judging, "time", clock)
    return clock


def test_alternatives_that_multiply_are_given_up(clock: Ticking) -> None:
    """They held a worker for 40 s."""
    _is_given_up("anyOf", '{"y": 1}', clock)  # with x the first way fits


@pytest.mark.parametrize("keyword", ["oneOf", "allOf"])
@pytest.mark.parametrize("answer", ['{"y": 1}', '{"x": 1}'])
def test_so_are_alternatives_of_another_kind(keyword: str, answer: str, clock: Ticking) -> None:
    _is_given_up(keyword, answer, clock)


def _is_given_up(keyword: str, answer: str, clock: Ticking) -> None:
    validator = AnswerValidator(nested(keyword))
    assert validator.may_be_slow, "so it is done in a thread"
    for judge in (lambda: validator.read(answer), lambda: validator.violations(json.loads(answer))):
        began = clock.now
        with pytest.raises(InvalidInput, match="alternatives refer to alternatives"):
            judge()
        # At the first look behind its end; the first look of all begins it.
        assert clock.now - began < judging.SECONDS + 4 * _TICK


def test_a_schema_with_patterns_has_the_bound_too() -> None:
    schema = nested()
    schema["$defs"]["d12"]["properties"] = {"y": {"type": "string", "pattern": "^a+$"}}
    with pytest.raises(InvalidInput, match="given up"):
        AnswerValidator(schema).violations({"y": "b"})


def test_a_large_answer_has_more_time() -> None:
    """The bound is for schemas that multiply, not for long lists."""
    row = {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
    }
    rows = [{"a": i} for i in range(20_000)]
    assert AnswerValidator({"type": "array", "items": row}).violations(rows) == []


def test_unique_objects_are_found_without_comparing_each_with_each() -> None:
    validator = AnswerValidator({"type": "array", "uniqueItems": True})
    rows: list[Any] = [{"n": i, "t": "x"} for i in range(20_000)]
    began = time.thread_time()
    assert validator.violations(rows) == []
    assert time.thread_time() - began < 4
    assert validator.violations([{"a": 1}, {"a": 1.0}]) == ["answer has the same element twice"]
    assert validator.violations([1, True, "1", None, [1], {"a": 1}, {"a": True}]) == []
    assert validator.violations([[0], [0.0]]) and validator.violations(["a", "a"])


def test_kinds_of_a_schema_that_multiplies_are_found_at_once() -> None:
    began = time.thread_time()
    validator = AnswerValidator(nested(levels=30, ways=20))
    assert validator._kinds == {"object"}
    assert time.thread_time() - began < 2


def test_whatever_refers_is_judged_with_a_bound() -> None:
    """Brackets of the model's answer doubled the ways through one recursive reference."""
    ref = {"$ref": "#/$defs/l"}
    schema = {
        "$ref": "#/$defs/l",
        "$defs": {"l": {"type": ["array", "integer"], "items": ref, "contains": ref}},
    }
    validator = AnswerValidator(schema)
    assert validator.may_be_slow
    value: Any = 1
    for _ in range(40):
        value = [value]
    with pytest.raises(InvalidInput, match="takes too long"):
        validator.violations(value)
