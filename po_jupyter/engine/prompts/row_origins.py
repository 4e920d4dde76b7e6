"""Origins of a map's rows: which rows of a list of the seed they are, whatever `for_each` selects, sorts or takes out.

An answer belongs to a row of somebody's table. `seed.rows` has the table's order; `seed.rows | selectattr("urgent") |
map(attribute="text") | list` has not. Where the expression is more than a name, it is evaluated once more over marked
copies of the rows, and the marks are read from what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from jinja2 import nodes

from po_jupyter.engine.operators.result_rows import ResultRows
from po_jupyter.engine.prompts.templates import ENVIRONMENT, evaluate_node
from po_jupyter.model.run.row_index import row_path
from po_jupyter.model.values.lazy_list import LazyList

_MAX_MARKS = 1_000_000  # copies that are made to find out; beyond them the origin is unknown


MapOrigins: TypeAlias = "Callable[[str], RowOrigin | None]"  # of the maps that came before, by task


class RowOrigin(NamedTuple):
    """The rows of a map are rows of the seed's list `path`: row i is row `places[i]` there, or row i when None."""

    path: str
    places: Sequence[int] | None = None

    def position(self, index: int) -> int:
        """The position in the list of row `index` of the map."""
        return index if self.places is None else self.places[index]


class OriginRows(LazyList):
    """The rows of a map together with their origin."""

    def __init__(self, rows: Sequence[Any], origin: RowOrigin) -> None:
        """`rows` are read when they are looked at."""
        self._rows = rows
        self.origin = origin

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._rows)

    def read(self, index: int) -> Any:
        """The row at `index`."""
        return self._rows[index]


def rows_of_result(result: ResultRows) -> Sequence[Any]:
    """The rows of an operator, with their origin where each is a row of the seed."""
    places = [place for place in result.places if isinstance(place, int)]
    if result.path is None or len(places) < len(result.places):
        return result.values
    return OriginRows(result.values, RowOrigin(result.path, places))


class _TooMany(Exception):
    """More copies than are worth it."""


def find_origin(
    source: str, names: Mapping[str, Any], rows: Sequence[Any], of_map: MapOrigins
) -> RowOrigin | None:
    """The origin of the rows that the expression `source` gave; None when they are no rows of the seed."""
    expression = _same_length(_parsed(source))
    marks = _Marks(names, of_map, _mapped_fields(expression))
    if (chain := _chain(expression)) is not None:
        rows_and_origin = marks.seed_list(chain)
        return (
            rows_and_origin[1] if rows_and_origin is not None and len(rows_and_origin[0]) == len(rows) else None
        )
    # Nobody's row fails because of this: a row of an unknown origin is numbered as the map has it.
    with suppress(Exception):
        marked = marks.names(
            set(filter(None, map(_chain, expression.find_all((nodes.Getattr, nodes.Getitem)))))
        )
        if marked is not None:
            value = evaluate_node(expression, marked)
            return marks.origin_of(value) if len(value) == len(rows) else None
    return None


def _parsed(source: str) -> nodes.Expr:
    (output,) = ENVIRONMENT.parse("{{ " + source + " }}").body
    assert isinstance(output, nodes.Output)
    (expression,) = output.nodes
    assert isinstance(expression, nodes.Expr)
    return expression


def _same_length(expression: nodes.Expr) -> nodes.Expr:
    """The expression without the filters at its end that give one value for each."""
    while (
        isinstance(expression, nodes.Filter)
        and expression.name in ("list", "map")
        and expression.node is not None
    ):
        expression = expression.node
    return expression


def _mapped_fields(expression: nodes.Expr) -> frozenset[str]:
    """Fields that a `map(attribute=...)` takes out of rows, of which the rest of the expression selects."""
    fields: set[str] = set()
    for call in expression.find_all(nodes.Filter):
        for keyword in call.kwargs if call.name == "map" else ():
            if keyword.key == "attribute" and isinstance(keyword.value, nodes.Const):
                fields.add(str(keyword.value.value))
    return frozenset(fields)


def _chain(expression: nodes.Node) -> tuple[str, ...] | None:
    """The names of `a.b["c"]`; None for any other expression."""
    keys: list[str] = []
    while isinstance(expression, nodes.Getattr | nodes.Getitem):
        if isinstance(expression, nodes.Getattr):
            keys.append(expression.attr)
        elif isinstance(expression.arg, nodes.Const) and isinstance(expression.arg.value, str):
            keys.append(expression.arg.value)
        else:
            return None
        expression = expression.node
    return (expression.name, *reversed(keys)) if keys and isinstance(expression, nodes.Name) else None


class _Marks:
    """Marked copies of rows: each is an object of its own, so that its identity says which row it is."""

    def __init__(self, names: Mapping[str, Any], of_map: MapOrigins, fields: frozenset[str]) -> None:
        self._names = names
        self._of_map = of_map
        self._fields = fields
        self._places: dict[int, tuple[str, int]] = {}
        self._copies: list[Any] = []  # an identity is one only while the object lives

    def seed_list(self, chain: tuple[str, ...]) -> tuple[Sequence[Any], RowOrigin] | None:
        """The list that a chain of names stands for, and the origin of its rows, if it is one of the seed's."""
        base, *keys = chain
        value = self._names.get(base)
        for key in keys:
            if not isinstance(value, Mapping) or key not in value:
                return None
            value = value[key]
        if not isinstance(value, list | LazyList):
            return None
        origin: RowOrigin | None = None
        if isinstance(value, OriginRows):
            origin = value.origin
        elif base == "seed":
            origin = RowOrigin(row_path(tuple(keys)))
        elif base == "tasks" and len(keys) == 1:
            origin = self._of_map(keys[0])
        return None if origin is None else (value, origin)

    def names(self, chains: set[tuple[str, ...]]) -> dict[str, Any] | None:
        """The names of the template with marked rows in the place of the lists that it names; None without any."""
        changed: dict[str, Any] = {}
        for chain in chains:
            rows_and_origin = self.seed_list(chain)
            if rows_and_origin is not None:
                _put(changed, self._names, chain, _MarkedRows(*rows_and_origin, self))
        return {**self._names, **changed} if changed else None

    def mark(self, value: Any, path: str, place: int) -> Any:
        """A copy of a row, and of the fields of it that may be taken out."""
        copy = self._mark(value, path, place)
        for field in self._fields:
            holder, *names = copy, *field.split(".")
            while type(holder) is dict and names and names[0] in holder:
                name = names.pop(0)
                holder[name] = self._mark(holder[name], path, place)
                holder = holder[name]
        return copy

    def _mark(self, value: Any, path: str, place: int) -> Any:
        kind = _COPIES.get(type(value))
        if kind is None:
            return value  # null, true and false are everybody's
        if len(self._copies) >= _MAX_MARKS:
            raise _TooMany
        copy = kind(value)
        self._copies.append(copy)
        self._places[id(copy)] = (path, place)
        return copy

    def origin_of(self, value: Sequence[Any]) -> RowOrigin | None:
        """The origin of the rows in a result, read from their marks."""
        if isinstance(value, _MarkedRows):
            return value.origin
        marked = [self._places.get(id(v)) for v in value]
        paths = {place[0] if place is not None else None for place in marked}
        if len(paths) != 1 or None in paths:
            return None
        places = [place[1] for place in marked if place is not None]
        (path,) = filter(None, paths)
        return RowOrigin(path, None if places == list(range(len(places))) else places)


class _MarkedRows(LazyList):
    """The rows of a list as marked copies."""

    def __init__(self, rows: Sequence[Any], origin: RowOrigin, marks: _Marks) -> None:
        self._rows = rows
        self.origin = origin
        self._marks = marks

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> Any:
        return self._marks.mark(self._rows[index], self.origin.path, self.origin.position(index))

    def __iter__(self) -> Iterator[Any]:
        for index, row in enumerate(self._rows):
            yield self._marks.mark(row, self.origin.path, self.origin.position(index))


def _put(changed: dict[str, Any], names: Mapping[str, Any], chain: tuple[str, ...], value: Any) -> None:
    """Set `value` at a chain of names, in copies of the mappings on the way."""
    target: dict[str, Any] = changed
    source: Any = names
    for key in chain[:-1]:
        source = source[key]
        if type(target.get(key)) is not _Copied:
            target[key] = _Copied(source, {})
        target = target[key].changed
    target[chain[-1]] = value


class _Copied(Mapping[str, Any]):
    """A mapping with other values under some keys; those of the others are read when they are used."""

    def __init__(self, source: Mapping[str, Any], changed: dict[str, Any]) -> None:
        self._source = source
        self.changed = changed

    def __getitem__(self, key: str) -> Any:
        return self.changed[key] if key in self.changed else self._source[key]

    def __contains__(self, key: object) -> bool:
        return key in self._source

    def __iter__(self) -> Iterator[str]:
        return iter(self._source)

    def __len__(self) -> int:
        return len(self._source)


class _Text(str):
    """A text of its own identity."""


class _Whole(int):
    """A whole number of its own identity."""


class _Number(float):
    """A number of its own identity."""


_COPIES: dict[type, type] = {str: _Text, int: _Whole, float: _Number, dict: dict, list: list}
