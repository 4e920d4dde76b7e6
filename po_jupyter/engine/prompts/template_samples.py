"""Values that the expressions of a template may have, as far as the seed tells: names of rows are checked against them.

`item` is a row of what `for_each` gives, a loop's name is an element of what it loops over. An expression has a
tuple of samples: the values of the first rows. An empty tuple means that nobody can know before the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeAlias

from jinja2 import nodes

from po_jupyter.model.run.row_file_ref import MARK
from po_jupyter.model.values.json import JsonValue

Samples: TypeAlias = tuple[object, ...]

UNKNOWN = object()  # a value inside a sample that nobody can know before the run
UNKNOWN_MARK = {"$po.unknown": True}  # the same in JSON
NOT_KNOWN: Samples = ()
# One row of the output of a map.
MAP_ROW: dict[str, object] = {"index": UNKNOWN, "ok": UNKNOWN, "output": UNKNOWN, "error": UNKNOWN}
_ROWS = 1000  # rows that are looked at
_MOST_VALUES = 100_000  # of a seed in a sample of it
_DEEPEST = 20
_SAME_ROWS = frozenset(
    {"list", "sort", "unique", "reverse", "select", "reject", "selectattr", "rejectattr"}
)  # filters whose result has rows of what they filter
_ONE_ROW = frozenset({"first", "last", "random", "min", "max"})
_BY_ATTRIBUTE = frozenset({"map", "sort", "sum", "unique", "join", "min", "max"})


def answer_samples(schema: JsonValue) -> Samples:
    """Samples of an answer that fits a JSON Schema, with every field that it names; without a schema it is a text."""
    if schema is None:
        return ("",)
    fields = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(fields, Mapping) or not fields:
        return NOT_KNOWN
    return ({str(name): UNKNOWN for name in fields},)


class SampleScope:
    """Names of a template and the samples of each; names that are not there are not known."""

    def __init__(self, names: Mapping[str, Samples]) -> None:
        """The names of a whole template."""
        self._names = dict(names)

    def bound(self, target: nodes.Node, elements: Samples) -> SampleScope:
        """The scope inside of a loop: its name is one of `elements`; of several names none is known."""
        names = {name.name: NOT_KNOWN for name in target.find_all(nodes.Name)}
        if isinstance(target, nodes.Name):
            names[target.name] = elements
        return SampleScope({**self._names, **names})

    def samples(self, node: nodes.Node) -> Samples:
        """The samples of an expression."""
        if isinstance(node, nodes.Name):
            return self._names.get(node.name, NOT_KNOWN)
        if isinstance(node, nodes.Getattr | nodes.Getitem):
            return self._part(node)
        if isinstance(node, nodes.Filter) and node.node is not None:
            if node.name in _SAME_ROWS:
                return self.samples(node.node)
            if node.name in _ONE_ROW:
                return self.elements(node.node)
            if node.name == "map" and (path := attribute_of(node)) is not None and "." not in path:
                rows = self.elements(node.node)
                return (_parts(rows, path),) if rows else NOT_KNOWN
        return NOT_KNOWN

    def elements(self, node: nodes.Node) -> Samples:
        """The samples of an element of the list that an expression gives."""
        elements: list[object] = []
        for value in self.samples(node):
            rows = _rows(value)
            if rows is None:
                return NOT_KNOWN
            elements += islice(rows, _ROWS - len(elements))
        return _samples(elements)

    def _part(self, node: nodes.Getattr | nodes.Getitem) -> Samples:
        key = key_of(node)
        if key is None:
            if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
                return self.samples(node.node)
            return self.elements(node.node) if _is_position(node) else NOT_KNOWN
        return _samples(_parts(self.samples(node.node), key))


def sample_of(data: Mapping[str, object]) -> dict[str, object]:
    """The part of a seed's data that names are checked against, small enough to be sent: the first rows of its lists,
    without the texts and numbers. Beyond the bounds a value counts as not known."""
    left = _MOST_VALUES

    def shape(value: object, depth: int) -> object:
        nonlocal left
        left -= 1
        if left < 0 or depth > _DEEPEST:
            return UNKNOWN_MARK
        if isinstance(value, Mapping):
            return value if MARK in value else {key: shape(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [shape(inner, depth + 1) for inner in islice(value, _ROWS)]
        # Only what kind of a value it is counts; true, false and null are two kinds as they are.
        return type(value)() if type(value) in (str, int, float) else value

    return {key: shape(value, 1) for key, value in data.items()}


def key_of(node: nodes.Getattr | nodes.Getitem) -> str | None:
    """The name in `a.name` and `a["name"]`; None for any other part."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return node.arg.value
    return None


def attribute_of(node: nodes.Filter) -> str | None:
    """The attribute of rows that a filter reads, where each of them must have it; None for any other filter."""
    named = {str(keyword.key): keyword.value for keyword in node.kwargs}
    attribute: nodes.Node | None
    if node.name in ("selectattr", "rejectattr"):
        if any(isinstance(t, nodes.Const) and t.value in ("defined", "undefined") for t in node.args[1:]):
            return None
        attribute = node.args[0] if node.args else None
    elif node.name in _BY_ATTRIBUTE and "default" not in named:
        attribute = named.get("attribute")
    else:
        return None
    return attribute.value if isinstance(attribute, nodes.Const) and isinstance(attribute.value, str) else None


def _parts(owners: Sequence[object], key: str) -> list[object]:
    return [owner[key] for owner in owners if isinstance(owner, Mapping) and key in owner]


def _is_position(node: nodes.Getattr | nodes.Getitem) -> bool:
    return isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and type(node.arg.value) is int


def _rows(value: object) -> Iterator[object] | None:
    """The elements of a list, also of one that is a file (its columns are in the seed); None for what is no list."""
    if isinstance(value, Mapping):
        columns = value.get("columns") if MARK in value else None
        return iter([dict.fromkeys(columns, UNKNOWN)]) if columns else None
    return iter(value) if isinstance(value, Sequence) and not isinstance(value, str) else None


def _samples(values: Sequence[object]) -> Samples:
    return NOT_KNOWN if any(v is UNKNOWN or v == UNKNOWN_MARK for v in values) else tuple(values)
