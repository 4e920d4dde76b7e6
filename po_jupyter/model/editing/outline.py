"""An outline of YAML that is being written: its keys, its short values and where the cursor stands in it.

A parser gives up at the first half of a line; this scanner does not. It reads what pipelines are written in (block
and flow mappings and lists, quoted, folded and literal text) by indentation and brackets, and passes over the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
Role: TypeAlias = Literal["key", "value", "entry"]

# Possessive, so that a long line without a key is read once and not once for each of its spaces.
_KEY = re.compile(
    r"""
    ("(?:[^"\\]++|\\.)*+"
    |'(?:[^']++|'')*+'
    |[^\s#\-{}\[\],"'&*!|>%@`](?:[^#{}\[\],:\ ]++|\ ++(?!\ *:(?:\s|$))|:(?!\s|$))*+)
    \ *+:(?=\s|$)
    """,
    re.VERBOSE,
)
_ITEM = re.compile(r"-(?=\s|$)")
_LONGEST_VALUE = 1000  # characters of a value that is kept
_DEEPEST = 50  # collections in one another in a line; a path is as long, and there may be one for each
_QUOTES = "\"'"
_CLOSING = {"{": "}", "[": "]"}


@dataclass(frozen=True, slots=True)
class Key:
    """A key in the text: `path` is that of its mapping, `start` and `end` are offsets of characters."""

    path: Path
    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where the cursor is.

    role    `key`: a key of the mapping at `path`; `value`: the value at `path`; `entry`: an entry of a list at `path`,
            a value or the first key of a mapping
    start   the offset at which what is typed there begins; `typed` is that text up to the cursor
    """

    role: Role
    path: Path
    start: int
    typed: str


@dataclass(slots=True)
class Outline:
    """The keys of each mapping in their order, short values by their path, and the place of the cursor, if any."""

    keys: dict[Path, list[Key]] = field(default_factory=dict)
    values: dict[Path, str] = field(default_factory=dict)
    place: Place | None = None

    def names(self, path: Path) -> list[str]:
        """The names of the keys of the mapping at `path`."""
        return [key.name for key in self.keys.get(path, ())]

    def key_at(self, offset: int) -> Key | None:
        """The key that the character at `offset` belongs to."""
        return next((k for keys in self.keys.values() for k in keys if k.start <= offset < k.end), None)


def outline_of(text: str, cursor: int = -1) -> Outline:
    """The outline of `text`, with the place of the cursor at the offset `cursor`. Linear in the text."""
    scanner = _Scanner(text, cursor)
    at = 0
    for line in text.split("\n"):
        scanner.read(line, at)
        at += len(line) + 1
    return scanner.outline


def unquoted(text: str) -> str:
    """A scalar without its quotes."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        text = text[1:-1] if len(text) > 1 and text[-1] == text[0] else text[1:]
    return text


@dataclass(frozen=True, slots=True)
class _Level:
    """An open key or entry of a list and its column."""

    indent: int
    part: str | int


@dataclass(frozen=True, slots=True)
class _OpenScalar:
    """An open text: what `quote` closes, or a literal one, which ends with its indentation."""

    path: Path
    indent: int
    start: int
    quote: str = ""


@dataclass(slots=True)
class _Frame:
    """An open bracket of a flow collection; `token` is the offset at which the current key or value begins."""

    bracket: str
    path: Path
    token: int
    key: str | None = None
    index: int = 0

    def value_path(self) -> Path:
        return (*self.path, self.index if self.bracket == "[" else str(self.key))


class _Scanner:
    def __init__(self, text: str, cursor: int) -> None:
        self.outline = Outline()
        self._text = text
        self._cursor = cursor
        self._levels: list[_Level] = []
        self._open_text: _OpenScalar | None = None
        self._frames: list[_Frame] = []
        self._flow_indent = 0
        self._flow_quote = ""

    # -- lines ----------------------------------------------------------------------------------
    def read(self, line: str, at: int) -> None:
        """Read the line that begins at the offset `at`."""
        indent = len(line) - len(line.lstrip(" "))
        if self._open_text is not None and self._continues(self._open_text, line, at, indent):
            return
        self._open_text = None
        if self._frames:
            if line.strip() and indent <= self._flow_indent and line.lstrip(" ")[0] not in "}]":
                self._frames.clear()  # a bracket that is not closed yet does not swallow the rest
            else:
                self._read_flow(line, at, 0)
                return
        self._read_block(line, at, indent)

    def _continues(self, open_text: _OpenScalar, line: str, at: int, indent: int) -> bool:
        """Whether the line belongs to the open text."""
        blank = not line.strip()
        if not blank and indent <= open_text.indent:
            return False
        here = at <= self._cursor <= at + len(line)
        if blank and here and self._cursor - at <= open_text.indent and not open_text.quote:
            return False  # a blank line below a literal text, where the next key begins
        if open_text.quote:
            self._read_quoted(open_text, line, at, 0)
        elif here:
            self._stand("value", open_text.path, open_text.start)
        return True

    def _read_block(self, line: str, at: int, column: int) -> None:
        entry = False
        while len(self._levels) < 2 * _DEEPEST and _ITEM.match(line, column):
            self._enter_item(column)
            entry = True
            column += 1
            column += len(line[column:]) - len(line[column:].lstrip(" "))
        if line[column : column + 1] == "#":
            return
        match = _KEY.match(line, column)
        if match is None:
            self._read_keyless(line, at, column, entry=entry)
            return
        self._leave(column)
        path, name = self._path(), unquoted(match[1])
        start = at + column
        self._add_key(path, name, start, start + len(match[1]))
        if start <= self._cursor <= start + len(match[1]):
            self._stand("key", path, start)
        self._levels.append(_Level(column, name))
        self._read_value(line, at, match.end(), self._path(), column, "value")

    def _read_keyless(self, line: str, at: int, column: int, *, entry: bool) -> None:
        """A line without a key: an entry, a value below its key, or the beginning of a key."""
        if entry:
            self._read_value(line, at, column, self._path(), self._levels[-1].indent, "entry")
            return
        start = at + column
        if line[column : column + 1] in ("{", "[", '"', "'") and self._levels:
            self._read_value(line, at, column, self._path(), self._levels[-1].indent, "value")
        elif at <= self._cursor <= at + len(line):
            if not line.strip():
                start = self._cursor
            if start <= self._cursor:
                levels = self._levels
                self._levels = [level for level in levels if level.indent < start - at]
                self._stand("key", self._path(), start)
                self._levels = levels

    def _read_value(self, line: str, at: int, column: int, path: Path, indent: int, role: Role) -> None:
        spaces = len(line[column:]) - len(line[column:].lstrip(" "))
        start, rest = column + spaces, line[column + spaces :]
        if rest[:1] in ("|", ">"):
            self._open_text = _OpenScalar(path, indent, at + len(line) + 1)
        elif rest[:1] in ("{", "["):
            self._flow_indent = indent
            self._read_flow(line, at, start, path)
        elif rest[:1] and rest[0] in _QUOTES:
            self._read_quoted(_OpenScalar(path, indent, at + start + 1, rest[0]), line, at, start + 1)
        else:
            plain = re.split(r"(?:^|\s)#", rest, maxsplit=1)[0]
            self._keep(path, plain)
            # Directly behind the colon or the dash nothing begins yet.
            behind = at + (start if spaces or role == "entry" else start + 1)
            if behind <= self._cursor <= at + start + max(len(plain), 0):
                self._stand(role, path, at + start)
            elif spaces and not rest and at + column < self._cursor <= at + len(line):
                self._stand(role, path, self._cursor)

    def _read_quoted(self, open_text: _OpenScalar, line: str, at: int, column: int) -> None:
        end = _closing_quote(line, column, open_text.quote)
        stop = len(line) if end is None else end
        if at + column <= self._cursor <= at + stop:
            self._stand("value", open_text.path, open_text.start)
        if end is None:
            self._open_text = open_text
        else:
            self._open_text = None
            self._keep(open_text.path, self._text[open_text.start : at + end])

    # -- flow collections -----------------------------------------------------------------------
    def _read_flow(self, line: str, at: int, column: int, path: Path | None = None) -> None:
        if path is not None:
            self._frames = [_Frame(line[column], path, at + column + 1)]
            column += 1
        while self._frames and column <= len(line):
            if at + column == self._cursor:
                self._stand_in_flow()
            if column < len(line) and self._flow_character(line, at, column):
                break  # a comment, to the end of the line
            column += 1

    def _flow_character(self, line: str, at: int, column: int) -> bool:
        char, frame = line[column], self._frames[-1]
        if self._flow_quote:
            if char == self._flow_quote and not (char == '"' and line[column - 1] == "\\"):
                self._flow_quote = ""
        elif char in _QUOTES and self._begins_token(frame, at + column):
            self._flow_quote = char
        elif char in "{[" and len(self._frames) >= _DEEPEST:
            self._frames.clear()
        elif char in "{[":
            self._frames.append(_Frame(char, frame.value_path(), at + column + 1))
        elif char in "}]":
            self._end_token(frame, at + column)
            self._frames.pop()
            if self._frames:
                self._frames[-1].token = at + column + 1
        elif char == ",":
            self._end_token(frame, at + column)
            frame.token, frame.key, frame.index = at + column + 1, None, frame.index + 1
        elif char == ":" and frame.bracket == "{" and frame.key is None:
            if line[column + 1 : column + 2] in ("", " ", '"', "'"):
                self._end_key(frame, at + column)
        elif char == "#" and line[column - 1 : column] in ("", " "):
            return True
        return False

    def _begins_token(self, frame: _Frame, end: int) -> bool:
        """Whether nothing but space stands before `end`; looks at each character of the space once."""
        while frame.token < end and self._text[frame.token].isspace():
            frame.token += 1
        return frame.token == end

    def _end_key(self, frame: _Frame, end: int) -> None:
        raw = self._text[frame.token : end]
        start = frame.token + len(raw) - len(raw.lstrip())
        frame.key = unquoted(raw)
        self._add_key(frame.path, frame.key, start, start + len(raw.strip()))
        frame.token = end + 1

    def _end_token(self, frame: _Frame, end: int) -> None:
        if frame.bracket == "[" or frame.key is not None:
            self._keep(frame.value_path(), self._text[frame.token : end])

    def _stand_in_flow(self) -> None:
        frame = self._frames[-1]
        typed = self._text[frame.token : self._cursor]
        start = frame.token + len(typed) - len(typed.lstrip())
        if typed.lstrip()[:1] in ("'", '"'):
            start += 1
        if frame.bracket == "{" and frame.key is None:
            self._stand("key", frame.path, start)
        elif frame.bracket == "[" or typed[:1] in (" ", '"', "'") or self._text[frame.token - 1].isspace():
            self._stand("value", frame.value_path(), start)

    # -- the outline ----------------------------------------------------------------------------
    def _stand(self, role: Role, path: Path, start: int) -> None:
        self.outline.place = Place(role, path, start, self._text[start : self._cursor])

    def _add_key(self, path: Path, name: str, start: int, end: int) -> None:
        self.outline.keys.setdefault(path, []).append(Key(path, name, start, end))

    def _keep(self, path: Path, value: str) -> None:
        value = unquoted(value)
        if value and len(value) <= _LONGEST_VALUE:
            self.outline.values.setdefault(path, value)

    def _path(self) -> Path:
        return tuple(level.part for level in self._levels)

    def _leave(self, column: int) -> None:
        """Close what a key in this column is not a part of."""
        while self._levels and self._levels[-1].indent >= column:
            self._levels.pop()

    def _enter_item(self, column: int) -> None:
        """Open the next entry of the list whose dashes stand in this column, which may be that of the list's key."""
        index = 0
        while self._levels:
            level = self._levels[-1]
            if level.indent < column or (level.indent == column and isinstance(level.part, str)):
                break
            if level.indent == column:
                index = int(level.part) + 1
            self._levels.pop()
        self._levels.append(_Level(column, index))


def _closing_quote(line: str, column: int, quote: str) -> int | None:
    """The place of the quote that ends a text, from `column` on."""
    while column < len(line):
        if line[column] == "\\" and quote == '"':
            column += 1
        elif line[column] == quote:
            if quote == '"' or line[column + 1 : column + 2] != quote:
                return column
            column += 1
        column += 1
    return None
