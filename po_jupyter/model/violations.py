"""Pydantic's errors in our readers' words, with a suggestion for a mistyped field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TypeAlias

from pydantic import ValidationError

from po_jupyter.errors import Violation

Place: TypeAlias = tuple[int | None, int | None]


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`; did you mean `x`?` when something close is known, else an empty string."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else ""


def violations_of(
    error: ValidationError,
    *,
    known: Sequence[str] | Callable[[tuple[int | str, ...]], tuple[Sequence[str], str]],
    what: str = "it",
    place: Callable[[tuple[int | str, ...]], Place] = lambda _: (None, None),
) -> list[Violation]:
    """One violation for each error of `error`.

    `known` is the list of legal field names (or a function from a location to that list and the
    name of the thing), `place` finds the line and column of a location in the text.
    """
    found: list[Violation] = []
    for item in error.errors(include_url=False, include_context=False, include_input=True):
        loc = tuple(item["loc"])
        where = dotted(loc)
        if item["type"] == "extra_forbidden":
            names, thing = known(loc[:-1]) if callable(known) else (known, what)
            message = f"`{loc[-1]}` is not a field of {thing}{did_you_mean(str(loc[-1]), names)}"
        elif item["type"] == "missing":
            names, thing = known(loc[:-1]) if callable(known) else (known, what)
            message = f"{thing} needs `{loc[-1]}`"
        else:
            text = item["msg"].removeprefix("Value error, ")
            given = item["input"]
            shown = f" (given: {given!r:.60})" if isinstance(given, str | int | float | bool) else ""
            message = f"{where}: {text[:1].lower()}{text[1:]}{shown}" if where else text
        found.append(Violation(where, message, *place(loc)))
    return found


def dotted(loc: tuple[int | str, ...]) -> str:
    """`("tasks", 0, "name")` as `tasks[0].name`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text
