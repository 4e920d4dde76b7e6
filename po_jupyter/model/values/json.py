"""JSON values whose shape is somebody else's."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

# A JSON object of free shape: a row of a user, a JSON Schema, a provider's body, an error as `PoError.to_json` has it.
JsonObject: TypeAlias = dict[str, Any]

# A JSON value of free shape: dict, list, str, int, float, bool or None; a list may be a `LazyList`. To the type checker
# it is an `object`: code that looks inside asks first what the value is, code that hands it on need not.
JsonValue: TypeAlias = object


# Every whole number up to there is a float of its own.
_EXACT = 2**53
_WHOLE = re.compile(r"-?\d{16,30}\.0+")


def exact_number(text: str) -> float | int:
    """The `parse_float` of a reader that loses nothing: a whole number that was written with `.0` and that no float is
    (9007199254740993.0, an id that went through a column of floats) is that whole number, an int."""
    number = float(text)
    if -_EXACT < number < _EXACT or _WHOLE.fullmatch(text) is None:
        return number
    whole = int(text.partition(".")[0])
    return number if int(number) == whole else whole


def unique_names(pairs: list[tuple[str, Any]]) -> JsonObject:
    """The `object_pairs_hook` of a reader that loses nothing: an object that names something twice is a ValueError."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`{twice:.60}` stands twice in one object")
    return value
