"""The filters of templates: those that are here and no others, bounded where a result is larger than its input."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from jinja2 import pass_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS

from po_jupyter.engine.prompts.printed_values import flat, inserted, named, text_of, to_json
from po_jupyter.engine.prompts.render_meter import RenderContext, check_size

Filter: TypeAlias = Callable[..., Any]
Check: TypeAlias = Callable[..., None]  # called as the filter is, with the context first; raises SecurityError

MAX_PRECISION = 300  # digits; numbers have no more
MAX_DIGITS = 5000  # of a number in a text
_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_WORD = re.compile(r"\w+")
# One directive of `%`: flags, width, precision, type. Widths that come from a value (`*`) are not taken.
_DIRECTIVE = re.compile(r"%(?:\([^()]*\))?[#0\- +]*(\*|\d*)(?:\.(\*|\d*))?[hlL]?")

# They make nothing that is large, or hand on what was there.
_AS_THEY_ARE = (
    "abs", "attr", "count", "d", "default", "filesizeformat", "first", "float", "items", "last", "length", "map",
    "max", "min", "random", "reject", "rejectattr", "select", "selectattr", "unique",
)  # fmt: skip
_OF_TEXT = (
    "capitalize", "lower", "safe", "striptags", "title", "trim", "truncate", "upper",
)  # fmt: skip  # of a value as it is printed
_COUNTED = ("dictsort", "list", "reverse", "sort")


def percent_size(text: str) -> int:
    """The characters by which `text % values` can be longer than its values. Raises SecurityError for `*`."""
    return _known_percent_size(text) if len(text) < 1000 else _percent_size(text)


def _percent_size(text: str) -> int:
    size = len(text)
    for match in _DIRECTIVE.finditer(text):
        for number in match.groups():
            if number == "*":
                raise SecurityError("a width that comes from a value")
            size += _number(number)
    return size


_known_percent_size = lru_cache(maxsize=256)(_percent_size)  # mostly of texts that stand in templates


def _number(digits: str | None) -> int:
    if digits and len(digits) > 9:
        raise SecurityError("this width is too large for a template")
    return int(digits) if digits else 0


# -- what a text becomes, before it is made ---------------------------------------------------------


def padded(context: RenderContext, text: str, width: int = 80, *_: Any, **__: Any) -> None:
    """`center`, `ljust`, `rjust`, `zfill`."""
    context.need(max(len(text), int(width)))


def replaced(context: RenderContext, text: str, old: Any, new: Any, *_: Any, **__: Any) -> None:
    """`replace`."""
    grows = len(str(new)) - len(str(old))
    context.need(len(text) + (text.count(str(old)) * grows if grows > 0 else 0))


def parted(context: RenderContext, text: str, sep: Any = None, *_: Any, **__: Any) -> None:
    """`split`, `rsplit`, `splitlines`."""
    seps = sep if isinstance(sep, str) and sep else None
    parts = text.count(seps) if seps else sum(map(text.count, (" ", "\t", "\n")))
    context.need_entries(parts + 1)
    context.count(parts * 56)


def tabbed(context: RenderContext, text: str, tabsize: int = 8) -> None:
    """`expandtabs`."""
    context.need(len(text) + text.count("\t") * max(0, int(tabsize)))


def _indented(context: RenderContext, text: str, width: Any = 4, *_: Any, **__: Any) -> None:
    wide = len(width) if isinstance(width, str) else int(width)
    context.need(len(text) + wide * (_lines(text) + 1))


def _wrapped(context: RenderContext, text: str, width: int = 79, *args: Any, **keywords: Any) -> None:
    mark = keywords.get("wrapstring", args[1] if len(args) > 1 else None) or "\n"
    # Two lines that follow each other are longer than one is wide.
    context.need(len(text) + len(str(mark)) * (2 * len(text) // max(1, int(width)) + _lines(text)))


def _escaped(context: RenderContext, value: Any) -> None:
    text = str(value)
    context.need(len(text) + 5 * sum(map(text.count, "&<>'\"")))


def _linked(context: RenderContext, text: Any, *args: Any, **keywords: Any) -> None:
    longest = sum(len(a) for a in (*args, *keywords.values()) if isinstance(a, str))
    text = str(text)
    links = sum(map(text.count, ".:@"))
    context.need(8 * len(text) + links * (60 + longest))


def _rounded(context: RenderContext, value: Any, precision: int = 0, *_: Any) -> None:
    if abs(precision) > MAX_PRECISION:
        raise SecurityError("this precision is too large for a template")


def _read_number(context: RenderContext, value: Any, *_: Any, **__: Any) -> None:
    if isinstance(value, str) and len(value) > MAX_DIGITS:
        raise SecurityError("this number has too many digits for a template")


def _printed(context: RenderContext, value: Any) -> None:
    check_size(value)


def _lines(text: str) -> int:
    return 1 + sum(map(text.count, _BREAKS))


# -- filters of our own -----------------------------------------------------------------------------


@pass_context
def _join(context: RenderContext, value: Iterable[Any], d: Any = "", attribute: str | int | None = None) -> str:
    if attribute is None:
        parts = [text_of(context, part) for part in value]
    else:
        parts = [_python_text(context, part) for part in FILTERS["map"](context, value, attribute=attribute)]
    return joined(context, str(d), parts)


def _python_text(context: RenderContext, value: Any) -> str:
    check_size(value)
    return str(context.made(str(value)))


def joined(context: RenderContext, separator: str, parts: list[str]) -> str:
    """The parts with the separator between them. Raises SecurityError when that is too long."""
    context.need(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


@pass_context
def _format(context: RenderContext, value: Any, *args: Any, **keywords: Any) -> Any:
    text = text_of(context, value)
    context.need(percent_size(text))
    if not keywords:
        return context.made(text % tuple([inserted(context, value) for value in args]))
    return context.made(FILTERS["format"](text, *args, **named(context, keywords)))


@pass_context
def _sum(context: RenderContext, iterable: Any, attribute: Any = None, start: Any = 0) -> Any:
    if isinstance(start, int | float):
        return FILTERS["sum"](context.environment, iterable, attribute, start)
    if not isinstance(start, list):
        raise TypeError("only numbers and lists are summed")
    total = [*start]
    for value in iterable if attribute is None else FILTERS["map"](context, iterable, attribute=attribute):
        context.built(len(value))
        context.need_entries(len(total) + len(value))
        total += value
    return total


@pass_context
def _batch(context: RenderContext, value: Any, linecount: int, fill_with: Any = None) -> Iterator[Any]:
    context.built(int(linecount) if fill_with is not None else 0)
    return _each_counted(context, FILTERS["batch"](value, linecount, fill_with))


@pass_context
def _slice(context: RenderContext, value: Any, slices: int, fill_with: Any = None) -> Iterator[Any]:
    context.built(int(slices))
    return _each_counted(context, FILTERS["slice"](context.eval_ctx, value, slices, fill_with))


def _each_counted(context: RenderContext, lists: Iterable[Any]) -> Iterator[Any]:
    return map(context.made, lists)


@pass_context
def _groupby(context: RenderContext, value: Any, *args: Any, **keywords: Any) -> Any:
    groups = FILTERS["groupby"](context.environment, value, *args, **keywords)
    for group in groups:
        context.made(group.list)
    return groups


@pass_context
def _wordcount(context: RenderContext, value: Any) -> int:
    return sum(1 for _ in _WORD.finditer(text_of(context, value)))


@pass_context
def _urlencode(context: RenderContext, value: Any) -> Any:
    return context.made(
        FILTERS["urlencode"](named(context, value) if isinstance(value, Mapping) else flat(context, value))
    )


def _counted(method: Filter, check: Check | None = None, *, of_text: bool = False) -> Filter:
    """A filter whose result is counted; `check` is called before it, `of_text`: with what a value prints."""
    passed = getattr(getattr(method, "jinja_pass_arg", None), "name", None)

    @pass_context
    def counted(context: RenderContext, value: Any, *args: Any, **keywords: Any) -> Any:
        if of_text:
            value = text_of(context, value)
        if check is not None:
            check(context, value, *args, **keywords)
        if passed is None:
            result = method(value, *args, **keywords)
        elif passed == "context":
            result = method(context, value, *args, **keywords)
        elif passed == "eval_context":
            result = method(context.eval_ctx, value, *args, **keywords)
        else:
            result = method(context.environment, value, *args, **keywords)
        return context.made(result)

    return counted


def filters() -> Mapping[str, Filter]:
    """Every filter by its name."""
    checked: dict[str, tuple[Check, bool]] = {
        "center": (padded, True),
        "e": (_escaped, True),
        "escape": (_escaped, True),
        "forceescape": (_escaped, True),
        "indent": (_indented, True),
        "int": (_read_number, False),
        "pprint": (_printed, False),
        "replace": (replaced, True),
        "round": (_rounded, False),
        "urlize": (_linked, True),
        "wordwrap": (_wrapped, True),
    }
    return {
        **{name: FILTERS[name] for name in _AS_THEY_ARE},
        **{name: _counted(FILTERS[name], of_text=True) for name in _OF_TEXT},
        **{name: _counted(FILTERS[name]) for name in _COUNTED},
        **{name: _counted(FILTERS[name], check, of_text=text) for name, (check, text) in checked.items()},
        "batch": _batch,
        "format": _format,
        "groupby": _groupby,
        "join": _join,
        "slice": _slice,
        "string": text_of,
        "sum": _sum,
        "tojson": to_json,
        "urlencode": _urlencode,
        "wordcount": _wordcount,
    }
