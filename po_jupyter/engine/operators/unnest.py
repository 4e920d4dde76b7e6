"""`unnest`: a row for each element of a list that is in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from po_jupyter.engine.operators.result_rows import Place, ResultRows, SourceRows

MOST_ROWS = 1_000_000
_MISSING = object()


def unnest_field(source: SourceRows, path: str) -> ResultRows:
    """Each row as often as the list at `path` (names joined by dots, or one name with dots in it) has elements, with
    the element in its place. A row without such a field, or with null there, gives none. Raises ValueError where no row
    has it, and for what is no list."""
    names = path.split(".")
    found = not source.values

    def keys_in(row: Any) -> list[str]:
        return [path] if isinstance(row, Mapping) and path in row else names

    def elements(row: Any, index: int) -> Sequence[Any]:
        nonlocal found
        value = _at(row, keys_in(row))
        found = found or value is not _MISSING
        return _list(None if value is _MISSING else value, index, f"`{path}`")

    result = _unnested(source, elements, lambda row, element: _with(row, keys_in(row), element))
    if not found:
        raise ValueError(f"no row has a field `{path}`")
    return result


def unnest_values(source: SourceRows, value: Callable[[Any, int], Any]) -> ResultRows:
    """A row for each element of the list `value(row, number)`: the element. Raises ValueError for what is no list."""
    return _unnested(
        source,
        lambda row, index: _list(value(row, index), index, "the expression"),
        lambda row, element: element,
    )


def _unnested(
    source: SourceRows, elements: Callable[[Any, int], Sequence[Any]], made: Callable[[Any, Any], Any]
) -> ResultRows:
    values: list[Any] = []
    places: list[Place] = []
    for index, row in enumerate(source.values):
        for element in elements(row, index):
            values.append(made(row, element))
            places.append(source.place(index))
        if len(values) > MOST_ROWS:
            raise ValueError(f"more than {MOST_ROWS:,} rows come of it")
    return ResultRows(values, places, source.path)


def _list(value: Any, index: int, what: str) -> Sequence[Any]:
    if value is None:
        return ()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value
    kind = "text" if isinstance(value, str) else "an object" if isinstance(value, Mapping) else f"{value!r:.40}"
    hint = '; {{ item.NAME.split(",") }} makes a list of text' if isinstance(value, str) else ""
    raise ValueError(f"{what} of row {index} is {kind}, and a list is needed{hint}")


def _at(row: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if row is None:
            return None
        if not isinstance(row, Mapping) or key not in row:
            return _MISSING
        row = row[key]
    return row


def _with(row: Any, keys: Sequence[str], element: Any) -> Any:
    key, *rest = keys
    return {**row, key: _with(row[key], rest, element) if rest else element}
