"""Violations of inputs: pydantic's errors as plain sentences, with a suggestion for a mistyped field."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from po_jupyter.errors import Violation
from po_jupyter.errors.fields import MAX_VIOLATIONS, clipped

Position: TypeAlias = tuple[int | None, int | None]  # line and column, from 1

OF_TEXT, OF_NUMBER, OF_LIST, OF_MAPPING = (
    "·text",
    "·number",
    "·list",
    "·mapping",
)  # parts of a place that only pydantic knows: which form of a value was meant
_LONGEST = 100  # characters of a name that may be a typo of another
_MOST_KNOWN = 1000  # names that one may be a typo of: looking for it takes longer than reading it
_SECRET = re.compile(
    r"token|secret|password|key$|^notifications\b"
)  # never repeat what somebody typed there (P10)
_SENTENCES = {
    "dict_type": "needs a mapping (`name: value`)",
    "model_type": "needs a mapping (`name: value`)",
    "model_attributes_type": "needs a mapping (`name: value`)",
    "tuple_type": "needs a list",
    "list_type": "needs a list",
    "string_type": "needs text; put it in quotes",
    "int_type": "needs a whole number",
    "int_parsing": "needs a whole number",
    "int_from_float": "needs a whole number",
    "float_type": "needs a number",
    "float_parsing": "needs a number",
    "finite_number": "needs a finite number",
    "bool_type": "needs true or false",
    "bool_parsing": "needs true or false",
    "path_type": "needs a path",
}
_PATTERNS = {
    r"^[a-z0-9-]+$": "may hold a-z, 0-9 and - only",
    r"^[A-Za-z0-9][A-Za-z0-9_-]*$": "may hold letters, digits, _ and - only, and starts with a letter or digit",
    r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_./-]+$": "is written server.tool, as in the setting `mcp_servers`",
    r"^[a-z0-9_-]+:\S+$": "is written provider:model",
    r"^\d+\.\d+\.\d+$": "is written x.y.z, for example 1.0.0",
    r"^[A-Za-z][A-Za-z0-9_-]*$": "may hold letters, digits, _ and - only, and starts with a letter",
    r"^[A-Za-z][A-Za-z0-9_.-]*$": "may hold letters, digits, _ . and - only, and starts with a letter",
    r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$": "may hold letters, digits and _ . : - only, starts with a letter or digit, "
    "and has at most 100 characters",
    r"^https?://\S+$": "is an address that starts with http:// or https://",
    r"^https?://[^\s@]+$": "is an address that starts with http:// or https://, without a name and password in it",
    r"^https?://[^\s@?#]+$": "is an address that starts with http:// or https://, without a name, password, ? or #",
    r"^[^/\\]+\.json$": "is the end of file names, without folders, and ends with .json",
    r"^[^/\\]+\.zip$": "is the end of file names, without folders, and ends with .zip",
}


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`; did you mean `x`?` when something close is known, else an empty string."""
    if len(word) > _LONGEST:
        return ""
    close = get_close_matches(word, known[:_MOST_KNOWN], n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else ""


def missing_module(task: str, module: str) -> str:
    """The message that the module of a Python task is not found where the task is to run."""
    return f"no module {module!r} is found for task {task!r}"


def violations_of(
    error: ValidationError,
    *,
    known: Sequence[str] | Callable[[tuple[int | str, ...]], tuple[Sequence[str], str]],
    what: str = "it",
    position: Callable[[tuple[int | str, ...]], Position] = lambda _: (None, None),
) -> list[Violation]:
    """One violation for each error of `error`.

    `known` is the list of legal field names (or a function from a location to that list and the
    name of the thing), `position` finds the line and column of a location in the text.
    """
    violations: list[Violation] = []
    for item in first_errors(error):
        loc = shown_place(item["loc"], item["type"])
        where = dotted(loc)
        if item["type"] == "extra_forbidden":
            names, thing = known(loc[:-1]) if callable(known) else (known, what)
            name = str(loc[-1])
            message = f"`{clipped(name, _LONGEST)}` is not a field of {thing}{did_you_mean(name, names)}"
        elif item["type"] == "missing":
            names, thing = known(loc[:-1]) if callable(known) else (known, what)
            message = f"{thing} needs `{loc[-1]}`"
        else:
            text = _sentence(item["type"], item["msg"], item.get("ctx") or {})
            value = item["input"]
            plain = isinstance(value, str | int | float | bool) and "\n" not in str(value)[:60]
            shown = f" (given: {value!r:.60})" if plain and not _may_hold_secret(where, value) else ""
            message = f"{where}: {text[:1].lower()}{text[1:]}{shown}" if where else text
        violations.append(Violation(where, message, *position(loc)))
    if error.error_count() >= MAX_VIOLATIONS:
        violations.append(Violation("", f"and {error.error_count() - MAX_VIOLATIONS + 1:,} more"))
    return violations


def first_errors(error: ValidationError) -> list[ErrorDetails]:
    """The first of pydantic's errors, without its echo of entries that were refused for a reason of their own: a list
    that has none left is "too short" as well."""
    items = error.errors(include_url=False, include_context=True, include_input=True)[: MAX_VIOLATIONS - 1]
    inner = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
    return [item for item in items if item["type"] != "too_short" or item["loc"] not in inner]


def shown_place(loc: tuple[int | str, ...], kind: str) -> tuple[int | str, ...]:
    """The place of an error of this kind as a person wrote it, without pydantic's own parts.

    A field that is missing or too many is the last part whatever it is called: people's names are any text.
    """
    end = loc[-1:] if kind in ("extra_forbidden", "missing") else ()
    inner = loc[: len(loc) - len(end)]
    return (*(part for part in inner if part not in (OF_TEXT, OF_NUMBER, OF_LIST, OF_MAPPING)), *end)


def without_most_unknown(value: Mapping[str, Any], known: Collection[str]) -> Mapping[str, Any]:
    """The value without all but a few of the fields that nobody knows: enough to say that there are some.

    Pydantic makes an error for each of them, in one go, and 200,000 keep the interpreter for seconds.
    """
    if len(value) <= len(known) + MAX_VIOLATIONS:
        return value
    unknown = islice((name for name in value if name not in known), 2 * MAX_VIOLATIONS)
    return {**{name: value[name] for name in known if name in value}, **{name: value[name] for name in unknown}}


def _sentence(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], message)
    if kind == "too_short":
        return f"needs at least {context['min_length']}, has {context['actual_length']}"
    if kind == "too_long":
        return f"may have at most {context['max_length']:,}, has more"
    if kind == "string_too_short" and context["min_length"] == 1:
        return "may not be empty"
    if kind == "string_too_long":
        return f"may have at most {context['max_length']} characters"
    return message.removeprefix("Value error, ")


def dotted(loc: tuple[int | str, ...]) -> str:
    """`("tasks", 0, "name")` as `tasks[0].name`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def _may_hold_secret(where: str, value: object) -> bool:
    """Whether the value of a field is not repeated in an error: by its name, or as an address with a password."""
    return where == "store" or _SECRET.search(where) is not None or ("://" in str(value) and "@" in str(value))
