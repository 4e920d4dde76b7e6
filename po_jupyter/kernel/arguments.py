"""The line behind a magic: `NAME --run --seed EXPR --out VAR`.

IPython's own argument parser splits like a shell, which takes the quotes out of a Python expression. Here an
expression goes on to the next `--option`, whatever it holds; quotes around the whole of it, as one would
write them in a shell, are taken off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from po_jupyter.kernel.errors import CellError
from po_jupyter.model.pipeline.violations import did_you_mean

_OPEN, _CLOSE = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Option:
    """`kind`: flag, word, expression, number (at least 1), money (above 0), name (a Python variable) or choice (of
    what `metavar` lists; `false` is False)."""

    kind: str
    metavar: str = ""


@dataclass(slots=True)
class Given:
    """What stood in the line: words in order, and the options' values (flags: True)."""

    words: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        """The value of an option, or None when it was not given."""
        return self.options.get(name)


def usage(magic: str, words: Sequence[str], options: Mapping[str, Option]) -> str:
    """`%%po_pipeline NAME [--run] [--seed EXPR]`."""
    parts = [magic, *words]
    parts += [f"[--{name}{' ' + option.metavar if option.metavar else ''}]" for name, option in options.items()]
    return " ".join(parts)


def parse(line: str, magic: str, words: Sequence[str], options: Mapping[str, Option]) -> Given:
    """Read `line`. `words` names the positional arguments; one in brackets may be missing.

    Raises CellError that names the argument and shows the usage.
    """
    how = f"usage: {usage(magic, words, options)}"
    pieces = _pieces(line, how)
    given = Given()
    while pieces:
        piece = pieces.pop(0)
        if not piece.startswith("--"):
            given.words.append(unquoted(piece))
            continue
        name, equals, value = piece[2:].partition("=")
        option = options.get(name)
        if option is None:
            known = did_you_mean(f"--{name}", [f"--{o}" for o in options])
            raise CellError(f"{magic} has no option `--{name}`{known}\n{how}")
        if name in given.options:
            raise CellError(f"`--{name}` stands here twice\n{how}")
        if option.kind == "flag":
            if equals:
                raise CellError(f"`--{name}` takes no value\n{how}")
            given.options[name] = True
            continue
        if not equals:
            taken = []
            while pieces and not pieces[0].startswith("--"):
                taken.append(pieces.pop(0))
                if option.kind != "expression":
                    break
            value = " ".join(taken)
        if not value:
            raise CellError(f"`--{name}` needs {_article(option)}: --{name} {option.metavar}\n{how}")
        given.options[name] = _value(name, option, unquoted(value), how)
    required = [w for w in words if not w.startswith("[")]
    if len(given.words) < len(required):
        raise CellError(f"{magic} needs {required[len(given.words)]}\n{how}")
    if len(given.words) > len(words):
        raise CellError(f"`{given.words[len(words)]}` is one argument too many{_spaced(given, words)}\n{how}")
    return given


def unquoted(text: str) -> str:
    """`text` without the quotes, when one pair of them encloses the whole of it."""
    if len(text) >= 2 and text[0] in "'\"" and text[-1] == text[0] and text[0] not in text[1:-1]:
        return text[1:-1]
    return text


def _spaced(given: Given, words: Sequence[str]) -> str:
    return " (a name has no spaces)" if words and not given.options else ""


def _article(option: Option) -> str:
    return {
        "expression": "a Python expression",
        "number": "a whole number",
        "money": "an amount in USD",
        "name": "the name of a variable",
    }.get(option.kind, "a value")


def _value(name: str, option: Option, text: str, how: str) -> Any:
    if option.kind == "number":
        if not text.isdecimal() or int(text) < 1:
            raise CellError(f"`--{name}` is a whole number from 1 on, not `{text}`\n{how}")
        return int(text)
    if option.kind == "money":
        try:
            amount = float(text.lstrip("$"))
        except ValueError:
            amount = 0.0
        if not 0 < amount < float("inf"):
            raise CellError(f"`--{name}` is an amount in USD above 0, not `{text}`\n{how}")
        return amount
    if option.kind == "choice":
        if text not in option.metavar.split("|"):
            raise CellError(f"`--{name}` is {option.metavar.replace('|', ' or ')}, not `{text}`\n{how}")
        return False if text == "false" else text
    if option.kind == "name" and not text.isidentifier():
        raise CellError(f"`--{name}` is the name of a variable, not `{text}`\n{how}")
    return text


def _pieces(line: str, how: str) -> list[str]:
    """`line` split at the spaces that stand outside of quotes and brackets."""
    pieces: list[str] = []
    start: int | None = None
    closing: list[str] = []
    quote = ""
    i = 0
    while i < len(line):
        char = line[i]
        if quote:
            if char == "\\":
                i += 1
            elif char == quote:
                quote = ""
        elif char.isspace() and not closing:
            if start is not None:
                pieces.append(line[start:i])
                start = None
        else:
            start = i if start is None else start
            if char in "'\"":
                quote = char
            elif char in _OPEN:
                closing.append(_CLOSE[_OPEN.index(char)])
            elif closing and char == closing[-1]:
                closing.pop()
        i += 1
    if quote or closing:
        raise CellError(f"a {quote or closing[-1]} is missing at the end of the line: {line.strip()}\n{how}")
    if start is not None:
        pieces.append(line[start:])
    return pieces
