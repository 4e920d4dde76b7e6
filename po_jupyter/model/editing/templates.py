"""Names that a template may use: the tasks before, their outputs, the fields of the seed, of the row and of loops."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

from po_jupyter.model.editing.outline import Outline, Path

_OPEN = re.compile(r"\{\{|\{%")
_CLOSE = re.compile(r"\}\}|%\}")
# Nothing is tried twice: the quantifiers are possessive, and no name begins within another one.
_NAME = re.compile(
    r"(?<![\w.])((?:[A-Za-z_]\w*+(?:\[\s*+(?:\d++|\"[^\"]*+\"|'[^']*+')\s*+\])*+\.)*+)([A-Za-z_]\w*+)?+\Z"
)
_PART = re.compile(r"[A-Za-z_]\w*|\[\s*(?:(\d+)|[\"']([^\"']*)[\"'])\s*\]")
_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*")
_WHOLE = re.compile(r"\{\{(.*)\}\}", re.DOTALL)
_ROW_FIELDS = {
    "index": "the row's number",
    "ok": "true or false",
    "output": "its answer",
    "error": "or why not",
}
_TAG = re.compile(r"\{%-?\s*+(for|endfor|set)\b([^%]{0,500})%\}")
_FOR = re.compile(r"\s*+([A-Za-z_]\w*+(?:\s*+,\s*+[A-Za-z_]\w*+)*+)\s++in\s++(.*)", re.DOTALL)
_SET = re.compile(r"\s*+([A-Za-z_]\w*+)\s*+=(.*)", re.DOTALL)
# `seed.rows`, `tasks["a-b"][0].output`, as far as a filter, a condition or the end.
_SOURCE = re.compile(
    r"\s*+([A-Za-z_]\w*+(?:\.[A-Za-z_]\w*+|\[\s*+(?:\d++|\"[^\"]*+\"|'[^']*+')\s*+\])*+)\s*+(?:\||-?\Z|if\b|recursive\b)"
)
_FILTER = re.compile(r"(?<!\|)\|\s*+([A-Za-z_]\w*+)?+\Z")
_LOOP_FIELDS = {
    "index": "from 1 on",
    "index0": "from 0 on",
    "first": "true for the first one",
    "last": "true for the last one",
    "length": "how many there are",
    "revindex": "how many are left",
    "previtem": "the one before",
    "nextitem": "the one after",
}
_TEMPLATE_FIELDS = frozenset(
    {"prompt", "embed", "system", "content", "for_each", "critique", "images", "files", "when"}
)
# Expressions of operators and scores, by their place in a task.
_EXPRESSIONS = frozenset({
    ("where",), ("distinct",), ("unnest",), ("group_by",), ("group_by", "key"), ("group_by", "combine"), ("join",),
    ("join", "to"), ("join", "key"), ("join", "left_key"), ("join", "right_key"), ("join", "where"), ("join", "keep"),
    ("top_k", "by"), ("score", "expect"), ("score", "judge"),
})  # fmt: skip
_OF_LISTS = frozenset({("for_each",), ("join",), ("join", "to")})  # there no row is known
_OF_ANSWERS = frozenset(
    {("where",), ("join", "keep"), ("top_k", "by"), ("score", "expect"), ("score", "judge")}
)
_OF_ROWS = frozenset(
    {("group_by",), ("group_by", "key"), ("join", "key"), ("join", "left_key"), ("join", "right_key")}
)
_GROUP_FIELDS = {"key": "what its rows have in common", "rows": "its rows"}
_PAIR_FIELDS = {"left": "a row of for_each", "right": "a row of the other list"}
_GROUP_ROW_FIELDS = {
    "index": "the group's number",
    "key": "what its rows have in common",
    "size": "how many rows",
}
_ROWS_STAY = frozenset({"where", "distinct", "top_k", "unnest"})  # operators whose rows are those of their list
_MOST_NAMES = 200
_DEEPEST = 50  # loops in one another
_LOOKED_AT = 500  # characters before the cursor, among them the braces that open


@dataclass(frozen=True, slots=True)
class TemplateName:
    """A name that is being written in a template: the parts before the last dot, and the beginning of the next."""

    before: tuple[str, ...]
    typed: str


def is_template(path: Path) -> bool:
    """Whether the text at `path` is a template."""
    names = [part for part in path if isinstance(part, str)]
    if names[:1] != ["tasks"] or "output" in names:
        return False
    return names[-1] in _TEMPLATE_FIELDS or tuple(names[1:]) in _EXPRESSIONS


def _inside(text: str) -> str | None:
    """What stands behind the braces that are open at the end of a template's text, outside of quotes; None elsewhere,
    and far behind where they open."""
    end = _CLOSE.split(text[-_LOOKED_AT:])[-1]
    opening = _OPEN.search(end)
    if opening is None:
        return None
    inside = end[opening.end() :]
    return None if inside.count('"') % 2 or inside.count("'") % 2 else inside


def filter_in(text: str) -> str | None:
    """The beginning of a filter's name at the end of a template's text, "" directly behind the `|`; None elsewhere."""
    inside = _inside(text)
    match = None if inside is None else _FILTER.search(inside)
    return None if match is None or not (inside or "")[: match.start()].strip() else match[1] or ""


def bound_names(text: str) -> dict[str, tuple[str, ...]]:
    """The names that loops which are open at the end of a template's text, and `set`, give: each with the path of what
    it stands for, () where that is not known."""
    scopes: list[dict[str, tuple[str, ...]]] = [{}]
    for tag in _TAG.finditer(text):
        known = scopes[-1]
        if tag[1] == "endfor":
            scopes = scopes[:-1] or [{}]
        elif tag[1] == "for" and (loop := _FOR.match(tag[2])) is not None:
            names = [name.strip() for name in loop[1].split(",")]
            source = _source(loop[2], known) if len(names) == 1 else ()
            element = (*source, "0") if source else ()
            scopes.append({**known, **dict.fromkeys(names, element), "loop": ("loop",)})
        elif tag[1] == "set" and (assigned := _SET.match(tag[2])) is not None:
            known[assigned[1]] = _source(assigned[2], known)
        if len(scopes) > _DEEPEST:
            return {}
    return scopes[-1]


def _source(expression: str, known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The path that an expression names, names of loops around it replaced; () for any other expression."""
    match = _SOURCE.match(expression)
    if match is None:
        return ()
    root, *rest = parts_of(match[1])
    return (*known[root], *rest) if known.get(root) else () if root in known else (root, *rest)


def name_in(text: str) -> TemplateName | None:
    """The name at the end of a template's text; None outside of its braces, or far behind where they open."""
    inside = _inside(text)
    if inside is None:
        return None
    match = _NAME.search(inside)
    if match is None:
        return None
    before = inside[: match.start()][-1:]
    if before and (before in ".|)]" or before.isalnum() or before == "_"):
        return None
    return TemplateName(parts_of(match[1]), match[2] or "")


def parts_of(expression: str) -> tuple[str, ...]:
    """`tasks["a-b"].x[0].` as its parts; a number stands for any element."""
    return tuple(m[1] or m[2] or m[0] for m in _PART.finditer(expression))


def names_after(
    before: tuple[str, ...],
    outline: Outline,
    path: Path,
    seed: Mapping[str, object] | None,
    bound: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> dict[str, str]:
    """What may follow `before` (nothing: the first name) in the template at `path`, and a word about each; `bound` are
    the names of `bound_names`."""
    task = path[1] if len(path) > 1 and isinstance(path[1], int) else -1
    if not before:
        return {**dict.fromkeys(bound, "of the template"), **dict(_first_names(outline, path, task))}
    before = resolved(before, bound)
    if not before:
        return {}
    root, rest = before[0], before[1:]
    if root == "loop" and "loop" in bound:
        return {} if rest else dict(_LOOP_FIELDS)
    if root == "seed":
        return _fields_of(seed, rest)
    if root == "tasks":
        return _task_names(outline, task, rest)
    if root == "item":
        return _item_names(outline, field_of(path), task, rest, seed)
    return {}


def _item_names(
    outline: Outline,
    field: tuple[str, ...],
    task: int,
    rest: tuple[str, ...],
    seed: Mapping[str, object] | None,
) -> dict[str, str]:
    """What may follow `item.` and `rest` in a field of a task: the row, or what its operator makes of rows."""
    operators = outline.names(("tasks", task))
    rows = outline.values.get(("tasks", task, "for_each"), "")
    if "group_by" in operators and field not in _OF_ROWS:
        return (
            dict(_GROUP_FIELDS) if not rest else _row_names(outline, rows, rest[2:], seed) if rest[1:] else {}
        )
    pairs = outline.values.get(("tasks", task, "top_k", "pairs"), "") in ("true", "True")
    if (pairs or "join" in operators) and field not in _OF_ROWS:
        if not rest:
            return dict(_PAIR_FIELDS)
        other = outline.values.get(("tasks", task, "join", "to")) or outline.values.get(
            ("tasks", task, "join"), ""
        )
        return _row_names(outline, other if rest[0] == "right" and other else rows, rest[1:], seed)
    return _row_names(outline, rows, rest, seed)


def _row_names(
    outline: Outline, rows: str, rest: tuple[str, ...], seed: Mapping[str, object] | None
) -> dict[str, str]:
    """What may follow a row of the list that the expression `rows` gives, through the operators that it came by."""
    for _ in range(_DEEPEST):
        match = _WHOLE.fullmatch(rows.strip())
        source = parts_of(match[1].strip()) if match else ()
        if source[:1] == ("seed",):
            return _fields_of(seed, (*source[1:], "0", *rest))
        if source[:1] != ("tasks",) or not _is_map(outline, source[1:2]):
            return {}
        place = next(p for p, name in task_names(outline).items() if name == source[1])
        fields = set(outline.names(("tasks", place)))
        if not fields & _ROWS_STAY:
            return {} if rest else _made_names(fields)
        rows = outline.values.get(("tasks", place, "for_each"), "")
    return {}


def _made_names(fields: set[str]) -> dict[str, str]:
    """The fields of a row that a task with these fields makes."""
    if "join" in fields:
        return dict(_PAIR_FIELDS)
    if "group_by" in fields:
        answer = {name: text for name, text in _ROW_FIELDS.items() if name != "index"}
        return {**_GROUP_ROW_FIELDS, **answer} if "prompt" in fields else dict(_GROUP_FIELDS)
    return dict(_ROW_FIELDS)


def field_of(path: Path) -> tuple[str, ...]:
    """The field of a task that a path is in, by its names: `("join", "key")`."""
    return tuple(part for part in path[1:] if isinstance(part, str))


def resolved(before: tuple[str, ...], bound: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """`before` with a bound name at its beginning replaced by what it stands for; () where that is not known."""
    if before[:1] and before[0] in bound:
        source = bound[before[0]]
        return (*source, *before[1:]) if source else ()
    return before


def _first_names(outline: Outline, path: Path, task: int) -> Iterator[tuple[str, str]]:
    yield "seed", "the input of the run"
    if path[-1] != "when" and upstream(outline, task):
        yield "tasks", "outputs of the tasks before"
    field = field_of(path)
    if field not in _OF_LISTS and "for_each" in outline.names(("tasks", task)):
        yield "item", "the row"
    asks = "prompt" in outline.names(("tasks", task))
    if path[-1] in ("critique", "when") or (asks and field in _OF_ANSWERS):
        yield "output", "the answer that is judged"


def task_names(outline: Outline) -> dict[int, str]:
    """The names of the tasks by their place."""
    names: dict[int, str] = {}
    for path, value in outline.values.items():
        if path[:1] != ("tasks",) or not isinstance(path[1:2], tuple) or len(path) < 2:
            continue
        if isinstance(path[1], int) and (len(path) == 2 or path[2:] == ("name",)):
            names.setdefault(path[1], value)
    return dict(sorted(names.items()))


def upstream(outline: Outline, task: int) -> list[str]:
    """The names of the tasks that are finished for sure when the one at this place starts."""
    names = task_names(outline)
    places = {name: place for place, name in names.items()}
    needs = _needs(outline, names, task)
    found: dict[str, None] = {}
    todo = deque(needs[task])
    while todo:
        name = todo.popleft()
        if name not in found and name in places and places[name] != task:
            found[name] = None
            todo += needs[places[name]]
    return list(found)


def _needs(outline: Outline, names: Mapping[int, str], task: int) -> dict[int, list[str]]:
    """What each task needs, in one pass: `task`, which may have no name yet, and those of `names`."""
    needs: dict[int, list[str]] = {}
    listed: set[int] = set()
    previous: list[str] = []
    for place in sorted({*names, task}):
        if "needs" in outline.names(("tasks", place)):
            single = outline.values.get(("tasks", place, "needs"))
            needs[place] = [] if single is None else [single]
            if single is None:
                listed.add(place)
        else:
            needs[place] = previous
        previous = [names[place]] if place in names else previous
    for at, value in outline.values.items():
        if (
            len(at) == 4
            and at[0] == "tasks"
            and at[2] == "needs"
            and isinstance(at[1], int)
            and at[1] in listed
        ):
            needs[at[1]].append(value)
    return needs


def _is_map(outline: Outline, name: tuple[str, ...]) -> bool:
    return any(
        (task,) == name and "for_each" in outline.names(("tasks", place))
        for place, task in task_names(outline).items()
    )


def _task_names(outline: Outline, task: int, rest: tuple[str, ...]) -> dict[str, str]:
    before = upstream(outline, task)
    if not rest:
        # A name with a hyphen is no name in a template: tasks["deep-dive"].
        return {name: "output of the task" for name in before if _PLAIN_NAME.fullmatch(name)}
    place = next((p for p, name in task_names(outline).items() if name == rest[0]), None)
    if place is None or rest[0] not in before:
        return {}
    inner = rest[1:]
    if _is_map(outline, rest[:1]):
        if not inner or not inner[0].isdecimal():
            return {}
        if inner[1:2] != ("output",):
            return dict(_ROW_FIELDS) if len(inner) == 1 else {}
        inner = inner[2:]
    path: Path = ("tasks", place, "output")
    for part in inner:
        path = (*path, "items") if part.isdecimal() else (*path, "properties", part)
    return dict.fromkeys(outline.names((*path, "properties")), "field of the answer")


def _fields_of(value: object, path: tuple[str, ...]) -> dict[str, str]:
    """The fields of what stands at `path` in a sample of the seed."""
    # Exact types throughout: a sample may be a notebook's own objects, whose code does not run for a suggestion.
    for part in path:
        if type(value) is list or type(value) is tuple:
            value = value[0] if value and part.isdecimal() else None
        elif type(value) is dict:
            value = value.get(part)
        else:
            return {}
    if type(value) is not dict:
        return {}
    named = (
        (name, below) for name, below in value.items() if type(name) is str and _PLAIN_NAME.fullmatch(name)
    )
    return {name: _kind(below) for name, below in islice(named, _MOST_NAMES)}


def _kind(value: object) -> str:
    if type(value) is list or type(value) is tuple:
        return f"list of {len(value):,}"
    if type(value) is dict:
        return "object"
    if type(value) is str:
        return " ".join(value[:200].split())[:40]
    if type(value) is int:
        return str(value) if value.bit_length() < 128 else "number"
    return str(value) if value is None or type(value) in (bool, float) else ""
