"""A quick judge of answers to simple schemas: it says whether a value fits for certain, and nothing of what is wrong.

Most schemas of maps are an object with a few fields. Judging one by jsonschema takes a twelfth of a row's processor
time, by plain functions a twentieth of that. A schema with any other keyword has no quick judge, and what does not
fit is judged by jsonschema, whose words people get.

(fastjsonschema writes Python out of a schema and runs it, and who writes a schema need not be allowed to run code;
jsonschema-rs is eight megabytes in each process.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Fits: TypeAlias = Callable[[Any], bool]

_SAYS_NOTHING = frozenset({"title", "description", "default", "examples"})
_MAX_DEPTH = 20


def quick_judge(schema: object, depth: int = 0) -> Fits | None:
    """Whether a value of JSON fits the schema; None for a schema that has to be judged by jsonschema."""
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return None
    checks: list[Fits] = []
    for keyword, value in schema.items():
        if keyword in _SAYS_NOTHING:
            continue
        make = _KEYWORDS.get(keyword)
        check = make(value, schema, depth + 1) if make is not None else None
        if check is None:
            return None
        checks.append(check)
    return _all_of(checks)


def _all_of(checks: Sequence[Fits]) -> Fits:
    if len(checks) == 1:
        return checks[0]
    if len(checks) == 2:
        first, second = checks
        return lambda value: first(value) and second(value)

    def fits(value: Any) -> bool:
        for check in checks:  # noqa: SIM110 - a generator for each value costs as much as the checks
            if not check(value):
                return False
        return True

    return fits


# A number with nothing behind its point is an integer; what is true or false is no number.
_TYPES: Mapping[str, Fits] = {
    "string": lambda value: type(value) is str,
    "boolean": lambda value: type(value) is bool,
    "null": lambda value: value is None,
    "object": lambda value: type(value) is dict,
    "array": lambda value: type(value) is list,
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
    "number": lambda value: type(value) is int or type(value) is float,
}


def _type(names: object, schema: Mapping[str, object], depth: int) -> Fits | None:
    kinds = names if isinstance(names, list) else [names]
    checks = [_TYPES[kind] for kind in kinds if isinstance(kind, str) and kind in _TYPES]
    if not checks or len(checks) < len(kinds):
        return None
    return checks[0] if len(checks) == 1 else lambda value: any(check(value) for check in checks)


def _enum(members: object, schema: Mapping[str, object], depth: int) -> Fits | None:
    if not isinstance(members, list) or not all(type(member) is str or member is None for member in members):
        return None  # 1, 1.0 and true are equal to Python
    allowed = frozenset(members)
    return lambda value: (type(value) is str or value is None) and value in allowed


def _properties(fields: object, schema: Mapping[str, object], depth: int) -> Fits | None:
    if not isinstance(fields, Mapping):
        return None
    judges: list[tuple[str, Fits]] = []
    for name, inner in fields.items():
        judge = quick_judge(inner, depth)
        if judge is None:
            return None
        judges.append((name, judge))

    def fits(value: Any) -> bool:
        if type(value) is dict:
            for name, judge in judges:
                if name in value and not judge(value[name]):
                    return False
        return True

    return fits


def _required(names: object, schema: Mapping[str, object], depth: int) -> Fits | None:
    if not isinstance(names, list):
        return None
    needed = frozenset(names)
    return lambda value: type(value) is not dict or value.keys() >= needed


def _additional(allowed: object, schema: Mapping[str, object], depth: int) -> Fits | None:
    if allowed is True:
        return lambda value: True
    fields = schema.get("properties", {})
    if allowed is not False or not isinstance(fields, Mapping):
        return None
    known = frozenset(fields)
    return lambda value: type(value) is not dict or value.keys() <= known


def _items(inner: object, schema: Mapping[str, object], depth: int) -> Fits | None:
    judge = quick_judge(inner, depth)
    if judge is None:
        return None
    return lambda value: type(value) is not list or all(map(judge, value))


def _any_of(parts: object, schema: Mapping[str, object], depth: int) -> Fits | None:
    judges = [quick_judge(part, depth) for part in parts] if isinstance(parts, list) else []
    known = [judge for judge in judges if judge is not None]
    if not known or len(known) < len(judges):
        return None
    return lambda value: any(judge(value) for judge in known)


def _least(bound: object, schema: Mapping[str, object], depth: int) -> Fits | None:
    if not isinstance(bound, int | float) or isinstance(bound, bool):
        return None
    return lambda value: type(value) not in (int, float) or value >= bound


def _most(bound: object, schema: Mapping[str, object], depth: int) -> Fits | None:
    if not isinstance(bound, int | float) or isinstance(bound, bool):
        return None
    return lambda value: type(value) not in (int, float) or value <= bound


_KEYWORDS: Mapping[str, Callable[[object, Mapping[str, object], int], Fits | None]] = {
    "type": _type,
    "enum": _enum,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "items": _items,
    "anyOf": _any_of,
    "minimum": _least,
    "maximum": _most,
}
