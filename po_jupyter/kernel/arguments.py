"""Arguments of a magic: the line behind it, `NAME --run --seed EXPR --out VAR`, and its parser.

IPython's own argument parser splits like a shell, which takes the quotes out of a Python expression. Here an
expression goes on to the next `--option`, whatever it holds; quotes around the whole of it, as one would
write them in a shell, are taken off.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from po_jupyter.kernel.errors import CellError
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.whole_numbers import whole_number

_OPEN, _CLOSE = "([{", ")]}"
_VALUES = {
    "expression": "a Python expression",
    "number": "a whole number",
    "money": "an amount in USD",
    "name": "the name of a variable",
}


Kind: TypeAlias = Literal["flag", "word", "expression", "number", "money", "name", "choice"]


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a magic.

    `kind`: flag, word, expression (of Python), number (at least 1), money (above 0), name (of a Python variable) or
    choice (of what `metavar` lists; `false` is False).
    """

    kind: Kind
    metavar: str = ""


@dataclass(slots=True)
class Arguments:
    """A parsed line: positional arguments in order, and the values of the options that stood in it (flags: True)."""

    positional: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        """The value of an option, or None when it does not stand in the line."""
        return self.options.get(name)


def usage(magic: str, positional: Sequence[str], options: Mapping[str, Option]) -> str:
    """`%%po_pipeline NAME [--run] [--seed EXPR]`."""
    parts = [magic, *positional]
    parts += [f"[--{name}{' ' + option.metavar if option.metavar else ''}]" for name, option in options.items()]
    return " ".join(parts)


def parse(line: str, magic: str, positional: Sequence[str], options: Mapping[str, Option]) -> Arguments:
    """Parse `line`. `positional` names the positional arguments; one in brackets may be missing.

    Raises CellError that names the argument and shows the usage.
    """
    parser = _LineParser(line, magic, options, f"usage: {usage(magic, positional, options)}")
    arguments = parser.arguments()
    required = [w for w in positional if not w.startswith("[")]
    if len(arguments.positional) < len(required):
        raise parser.error(f"{magic} needs {required[len(arguments.positional)]}")
    if len(arguments.positional) > len(positional):
        reason = " (a name has no spaces)" if positional and not arguments.options else ""
        raise parser.error(f"`{arguments.positional[len(positional)]}` is one argument too many{reason}")
    return arguments


class _LineParser:
    """A parser of one line; `hint` is the usage, below each error."""

    def __init__(self, line: str, magic: str, options: Mapping[str, Option], hint: str) -> None:
        self._magic = magic
        self._options = options
        self._hint = hint
        self._pieces = self._split(line)

    def error(self, message: str) -> CellError:
        return CellError(f"{message}\n{self._hint}")

    def arguments(self) -> Arguments:
        arguments = Arguments()
        while self._pieces:
            piece = self._pieces.pop(0)
            if piece.startswith("--"):
                name, value = self._option(*piece[2:].partition("="), present=arguments.options)
                arguments.options[name] = value
            else:
                arguments.positional.append(unquoted(piece))
        return arguments

    def _option(self, name: str, equals: str, text: str, *, present: Container[str]) -> tuple[str, Any]:
        """The option that begins with the piece `--NAME` or `--NAME=TEXT`; its value may take further pieces."""
        option = self._options.get(name)
        if option is None:
            guess = did_you_mean(f"--{name}", [f"--{o}" for o in self._options])
            raise self.error(f"{self._magic} has no option `--{name}`{guess}")
        if name in present:
            raise self.error(f"`--{name}` stands here twice")
        if option.kind == "flag":
            if equals:
                raise self.error(f"`--{name}` takes no value")
            return name, True
        if not equals:
            text = self._following(option)
        if not text:
            raise self.error(
                f"`--{name}` needs {_VALUES.get(option.kind, 'a value')}: --{name} {option.metavar}"
            )
        return name, self._value(name, option, unquoted(text))

    def _following(self, option: Option) -> str:
        """The pieces behind an option that are its value: one, of an expression all up to the next option."""
        pieces: list[str] = []
        while self._pieces and not self._pieces[0].startswith("--"):
            pieces.append(self._pieces.pop(0))
            if option.kind != "expression":
                break
        return " ".join(pieces)

    def _value(self, name: str, option: Option, text: str) -> Any:
        if option.kind == "number":
            if not (number := whole_number(text)):
                raise self.error(f"`--{name}` is a whole number from 1 on, not `{text:.60}`")
            return number
        if option.kind == "money":
            try:
                amount = float(text.lstrip("$"))
            except ValueError:
                amount = 0.0
            if not 0 < amount < float("inf"):
                raise self.error(f"`--{name}` is an amount in USD above 0, not `{text}`")
            return amount
        if option.kind == "choice":
            if text not in option.metavar.split("|"):
                raise self.error(f"`--{name}` is {option.metavar.replace('|', ' or ')}, not `{text}`")
            return False if text == "false" else text
        if option.kind == "name" and not text.isidentifier():
            raise self.error(f"`--{name}` is the name of a variable, not `{text}`")
        return text

    def _split(self, line: str) -> list[str]:
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
            raise self.error(f"a {quote or closing[-1]} is missing at the end of the line: {line.strip()}")
        if start is not None:
            pieces.append(line[start:])
        return pieces


def unquoted(text: str) -> str:
    """`text` without the quotes, when one pair of them encloses the whole of it."""
    if len(text) >= 2 and text[0] in "'\"" and text[-1] == text[0] and text[0] not in text[1:-1]:
        return text[1:-1]
    return text
