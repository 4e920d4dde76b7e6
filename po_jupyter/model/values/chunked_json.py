"""Large JSON values, written and read in chunks, so that other threads have their turn.

Python's own reader and writer of JSON keep the interpreter to themselves for as long as a value takes: 0.3 s for
25 MB, in a thread too, and a server's event loop stands still meanwhile (P9). So a large value is written in
chunks of a few hundred entries, and read with a hook; between two of them other threads have their turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from po_jupyter.model.values.json import exact_number

_SMALL = 64 * 1024  # characters that are written at once; a matter of a third of a millisecond
_ENTRIES = 500  # of a list that are written at once
_DEPTH = 6  # levels that are taken apart; what is below is written as it is
_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_write_sorted = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_write_strictly = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def json_chunks(value: Any, *, sort_keys: bool = False) -> Iterator[str]:
    """The compact JSON of `value`, in order; joined it is what `json.dumps` makes of it."""
    write = _write_sorted if sort_keys else _write
    if not is_larger_than(value, _SMALL):
        yield write(value)  # most values: to take them apart takes longer than to write them
    else:
        yield from _chunks(value, write, sort_keys, _DEPTH)


def check_json(value: Any) -> None:
    """Raises TypeError, ValueError (also for text that is none) or RecursionError for what is not JSON."""
    small = not is_larger_than(value, _SMALL)
    for chunk in [_write_strictly(value)] if small else _chunks(value, _write_strictly, False, _DEPTH):
        chunk.encode()


def _chunks(value: Any, write: Callable[[Any], str], ordered: bool, depth: int) -> Iterator[str]:
    if depth and type(value) is dict and all(type(key) is str for key in value):
        lead = "{"
        for key, inner in sorted(value.items()) if ordered else value.items():
            if isinstance(inner, dict | list):
                yield f"{lead}{write(key)}:"
                yield from _chunks(inner, write, ordered, depth - 1)
            else:
                yield f"{lead}{write(key)}:{write(inner)}"
            lead = ","
        yield "}" if value else "{}"
    elif depth and type(value) is list and len(value) > _ENTRIES:
        for at in range(0, len(value), _ENTRIES):
            yield ("," if at else "[") + write(value[at : at + _ENTRIES])[1:-1]
        yield "]"
    elif depth and type(value) is list and any(isinstance(inner, dict | list) for inner in value):
        lead = "["
        for inner in value:
            yield lead
            yield from _chunks(inner, write, ordered, depth - 1)
            lead = ","
        yield "]"
    else:
        yield write(value)


def read_json(
    text: bytes,
    parse_constant: Callable[[str], Any],
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] = dict,
) -> Any:
    """As `json.loads`, numbers by `exact_number`; other threads have their turn at each object that a hook in Python
    makes, and each number."""
    return json.loads(
        text,
        parse_constant=parse_constant,
        object_pairs_hook=object_pairs_hook,
        parse_int=_integer,
        parse_float=exact_number,
    )


def _integer(text: str) -> int:
    return int(text)


def is_larger_than(value: Any, bound: int) -> bool:
    """True when the JSON of `value` has more than about `bound` characters; looks no further than it must."""
    remaining = bound
    todo = [value]
    while todo and remaining > 0:
        now = todo.pop()
        if isinstance(now, str):
            remaining -= len(now)
        elif isinstance(now, dict):
            remaining -= 4 * len(now)
            if remaining > 0:
                todo += now.values()
        elif isinstance(now, list | tuple):
            remaining -= len(now)
            if remaining > 0:
                todo += now
        else:
            remaining -= 4
    return remaining <= 0
