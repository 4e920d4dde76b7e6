"""Metrics: what one answer is worth beside what was expected, mostly from 0 (wrong) to 1 (right).

    exact        the same value; a number and its text are the same, and so is text but for white space around it
    squad_exact  the same text after the normalisation of SQuAD: case, punctuation and articles do not count
    f1           the harmonic mean of precision and recall of their words, normalised likewise; of lists of their
                 elements
    contains     the expected text is in the answer, without regard to case
    number       the numbers are as close as `tolerance` says
    regex        the pattern is found in the answer
    fields       the part of the fields of the expected object that the answer has with the same value
    accuracy     the same class, as `exact`
    value        the answer's own number: nothing is expected

A list that is expected of an answer which is none has the answers that are all right: the best one counts.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from po_jupyter.evals.texts import folded, number_of, plain_text, spelled_number, squad_text
from po_jupyter.model.pipeline.patterns import PatternOverrun, matches
from po_jupyter.model.values.json import JsonValue

NO_GOLD = "nothing is expected of this row"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a metric says of an answer: a finite number, or None and why there is none."""

    value: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class MetricOptions:
    """What metrics take besides: how far a number may be off, by itself or as a part of the expected one (the wider of
    the two counts), and a pattern in the place of the expected one."""

    tolerance: float = 0.0
    relative: float = 0.0
    pattern: str | None = None


_Metric: TypeAlias = Callable[[JsonValue, JsonValue, MetricOptions], Measured]


def measure(
    metric: str, answer: JsonValue, expected: JsonValue, options: MetricOptions = MetricOptions()
) -> Measured:
    """What `metric` says of an answer; `expected` None: nothing is. KeyError for a metric that there is not."""
    try:
        return _best(METRICS[metric], metric, answer, expected, options)
    except RecursionError:
        return Measured(None, "the answer, or what is expected, is nested too deeply")


def _best(
    judge: _Metric, metric: str, answer: JsonValue, expected: JsonValue, options: MetricOptions
) -> Measured:
    """What a metric says; where several answers are right, of the one that is nearest."""
    if metric == "value" or (metric == "regex" and options.pattern is not None):
        return judge(answer, expected, options)
    if is_missing(expected):
        return Measured(None, NO_GOLD)
    if metric in _OF_VALUES and isinstance(answer, Mapping) and not _may_be_object(expected):
        return Measured(None, "the answer is an object, and one value is expected: `on` names the field")
    if isinstance(expected, list) and expected and not isinstance(answer, list):
        each = [judge(answer, one, options) for one in expected if not is_missing(one)]
        known = [one for one in each if one.value is not None]
        if known:
            return max(known, key=lambda one: one.value or 0.0)
        return each[0] if each else Measured(None, NO_GOLD)
    return judge(answer, expected, options)


def _may_be_object(expected: JsonValue) -> bool:
    several = expected if isinstance(expected, list) else [expected]
    return any(isinstance(_parsed(one) if isinstance(one, str) else one, Mapping) for one in several)


def sole_value(answer: JsonValue, expected: JsonValue) -> JsonValue:
    """The value of an answer that is an object of one field, where no object is expected; else the answer."""
    if isinstance(answer, Mapping) and len(answer) == 1 and not _may_be_object(expected):
        return next(iter(answer.values()))
    return answer


def is_missing(expected: JsonValue) -> bool:
    """Whether nothing is expected: null, not a number, or empty text."""
    if isinstance(expected, float):
        return math.isnan(expected)
    return expected is None or (isinstance(expected, str) and not expected.strip())


def same(a: JsonValue, b: JsonValue) -> bool:
    """Whether two values are the same to a person: JSON by its content, text but for white space around it, and a
    number, true or false as its text."""
    if isinstance(a, str) and isinstance(b, str):
        return plain_text(a) == plain_text(b)
    if isinstance(a, str) or isinstance(b, str):
        return _same_as_text(*((a, b) if isinstance(a, str) else (b, a)))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def _same_as_text(text: JsonValue, value: JsonValue) -> bool:
    """Whether a text is the one of a value that is none."""
    if isinstance(value, bool):
        return folded(text) == folded(value)
    if isinstance(value, int):
        return isinstance(text, str) and spelled_number(text) == value
    if isinstance(value, float):
        return number_of(text) == value
    parsed = _parsed(text)
    return isinstance(parsed, Mapping | list) and same(parsed, value)


def in_kind_of(other: JsonValue, value: JsonValue) -> JsonValue:
    """A value, or what its text spells in the kind of another one that is no text: true or false, a number, JSON. Two
    that are the `same` have one text then, and so have all that are the same as either."""
    if not isinstance(value, str) or isinstance(other, str):
        return value
    spelled: JsonValue = None
    if isinstance(other, bool):
        spelled = {"true": True, "false": False}.get(folded(value))
    elif isinstance(other, int | float):
        spelled = spelled_number(value)
    elif isinstance(other, Mapping | list) and isinstance(parsed := _parsed(value), Mapping | list):
        spelled = parsed
    return value if spelled is None else spelled


def _parsed(text: JsonValue) -> JsonValue:
    """The JSON that a text is, None for another."""
    try:
        parsed: JsonValue = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return parsed


def _right(yes: bool) -> Measured:
    return Measured(1.0 if yes else 0.0)


def _exact(answer: JsonValue, expected: JsonValue, options: MetricOptions) -> Measured:
    return _right(same(answer, expected))


def _squad_exact(answer: JsonValue, expected: JsonValue, options: MetricOptions) -> Measured:
    alike = _same_number(answer, expected)
    return _right(squad_text(answer) == squad_text(expected) if alike is None else alike)


def _same_number(a: JsonValue, b: JsonValue) -> bool | None:
    """Whether two are one number, where one is a number and the other one too, or its text; else None. As texts -1.5
    and 15 are the same without their punctuation."""
    if isinstance(a, str) and isinstance(b, str):
        return None
    x, y = (spelled_number(one) if isinstance(one, str) else number_of(one) for one in (a, b))
    return None if x is None or y is None else x == y


def _f1(answer: JsonValue, expected: JsonValue, options: MetricOptions) -> Measured:
    if (alike := _same_number(answer, expected)) is not None:
        return _right(alike)
    answered, wanted = _tokens(answer), _tokens(expected)
    if not answered or not wanted:
        return _right(answered == wanted)  # as SQuAD 2.0 has it: of nothing only nothing is right
    common = (answered & wanted).total()
    if not common:
        return Measured(0.0)
    precision, recall = common / answered.total(), common / wanted.total()
    return Measured(2 * precision * recall / (precision + recall))


def _tokens(value: JsonValue) -> Counter[str]:
    if isinstance(value, list):
        return Counter(map(_element, value))
    return Counter(squad_text(value).split())


def _element(value: JsonValue) -> str:
    """What an element of a list is compared by: normalised text, but for numbers, which keep sign and point."""
    if isinstance(value, Mapping):
        return plain_text({name: _element(part) for name, part in value.items()})
    if isinstance(value, list):
        return plain_text([_element(part) for part in value])
    number = spelled_number(value) if isinstance(value, str) else number_of(value)
    return squad_text(value) if number is None else plain_text(number)


def _contains(answer: JsonValue, expected: JsonValue, options: MetricOptions) -> Measured:
    if isinstance(answer, list):
        return _right(any(same(part, expected) or folded(part) == folded(expected) for part in answer))
    return _right(folded(expected) in folded(answer))


def _number(answer: JsonValue, expected: JsonValue, options: MetricOptions) -> Measured:
    wanted, answered = number_of(expected), number_of(answer)
    if wanted is None:
        return Measured(None, f"what is expected is no number: {plain_text(expected):.80}")
    if answered is None:
        return Measured(0.0, "the answer is no number")
    return _right(math.isclose(answered, wanted, rel_tol=0.0, abs_tol=_allowed(wanted, options)))


def _allowed(wanted: float, options: MetricOptions) -> float:
    # 0.3 is as far from 0.2 as a tolerance of 0.1 allows, whatever binary fractions make of it.
    allowed = max(options.tolerance, options.relative * abs(wanted))
    return allowed + 1e-12 * max(1.0, abs(wanted), allowed) if allowed else 0.0


def _regex(answer: JsonValue, expected: JsonValue, options: MetricOptions) -> Measured:
    pattern = options.pattern if options.pattern is not None else plain_text(expected)
    try:
        return _right(matches(pattern, plain_text(answer)))
    except PatternOverrun as error:
        return Measured(None, str(error))
    except Exception as error:  # what the row expects is no pattern
        return Measured(None, f"the pattern {pattern:.60} cannot be used: {error}"[:200])


def _fields(answer: JsonValue, expected: JsonValue, options: MetricOptions) -> Measured:
    wanted = _parsed(expected) if isinstance(expected, str) else expected
    answered = _parsed(answer) if isinstance(answer, str) else answer
    if not isinstance(wanted, Mapping):
        return Measured(None, f"what is expected is no object: {plain_text(expected):.80}")
    if not wanted:
        return Measured(None, "an object without fields is expected")
    if not isinstance(answered, Mapping):
        return Measured(0.0, "the answer is no object")
    equal = sum(name in answered and same(answered[name], value) for name, value in wanted.items())
    return Measured(equal / len(wanted))


def _value(answer: JsonValue, expected: JsonValue, options: MetricOptions) -> Measured:
    if isinstance(answer, bool):
        return _right(answer)
    number = number_of(answer)
    return Measured(number, "" if number is not None else "the answer is no number")


# Metrics that compare one value with another: an object beside a text would be wrong in each row.
_OF_VALUES = frozenset({"exact", "squad_exact", "f1", "number", "accuracy", "macro_f1", "confusion"})
METRICS: Mapping[str, _Metric] = {
    "exact": _exact,
    "squad_exact": _squad_exact,
    "f1": _f1,
    "contains": _contains,
    "number": _number,
    "regex": _regex,
    "fields": _fields,
    "accuracy": _exact,
    "macro_f1": _exact,
    "confusion": _exact,
    "value": _value,
}
