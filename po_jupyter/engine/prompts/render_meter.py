"""The meter of one rendering: what a template makes is counted while it is made, so that none fills the memory.

A single text or list is bounded before it is made. What all of them come to is counted; beyond what templates of any
sense make the growth of the process is looked at, since most of what was made is garbage by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from jinja2.exceptions import SecurityError
from jinja2.runtime import Context

from po_jupyter.model.values.lazy_list import LazyList

MAX_RENDERED = 10_000_000  # characters; ten times the longest context window sold
MAX_ROWS = 5_000_000
_OBJECT = 64  # bytes that a value takes beside what it holds
_SLOT = 8  # bytes for each entry of a list
_UNSEEN = 64_000_000  # counted before the process is looked at
_STEP = 8_000_000  # counted between two looks
_GROWTH = 256 * 2**20  # bytes that the process may grow by after the first look


class RenderContext(Context):
    """A template's context that counts. `has_built`: it built containers, which may hold one value many times."""

    has_built = False
    meter: RenderContext | None = (
        None  # the first context of this rendering, which counts for all; None: this one
    )
    _made = 0
    _next_look = _UNSEEN
    _resident: int | None = None

    def derived(self, locals: dict[str, Any] | None = None) -> Self:
        """A context inside of this one, on the same meter."""
        context = super().derived(locals)
        assert isinstance(context, type(self))
        context.meter = self.meter or self
        return context

    def count(self, size: int) -> None:
        """Count something that was or is to be made. Raises SecurityError."""
        meter = self.meter or self
        meter._made += size + _OBJECT
        if meter._made > meter._next_look:
            meter._look()

    def need(self, characters: int) -> None:
        """Count a text before it is made. Raises SecurityError for one that is too long."""
        if characters > MAX_RENDERED:
            raise SecurityError(f"a text of {characters:,} characters; the limit is {MAX_RENDERED:,}")
        self.count(characters)

    def need_entries(self, entries: int) -> None:
        """Count a list before it is made. Raises SecurityError for one that is too long."""
        if entries > MAX_ROWS:
            raise SecurityError(f"a list of {entries:,}; the limit is {MAX_ROWS:,}")
        self.count(entries * _SLOT)

    def made(self, value: Any) -> Any:
        """The value, counted."""
        if isinstance(value, str):
            self.need(len(value))
        elif isinstance(value, list | tuple | dict):
            self.need_entries(len(value))
        return value

    def built(self, entries: int) -> None:
        """Count a container that the template itself puts together."""
        (self.meter or self).has_built = True
        self.need_entries(entries)

    def literal(self, value: Any) -> Any:
        """A list, tuple or mapping that stands in the template, counted."""
        meter = self.meter or self
        meter.has_built = True
        meter._made += _OBJECT + _SLOT * len(value)
        if meter._made > meter._next_look:
            meter._look()
        return value

    def _look(self) -> None:
        import psutil  # only for renderings that make very much

        resident = int(psutil.Process().memory_info().rss)
        if self._resident is None:
            self._resident = resident
        elif resident - self._resident > _GROWTH:
            raise SecurityError("it takes too much memory")
        self._next_look = self._made + _STEP


def check_size(value: Any) -> None:
    """Raises SecurityError when the JSON of a value would have more than `MAX_RENDERED` characters, about."""
    left, todo = MAX_RENDERED, [value]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            left -= len(value)
        elif isinstance(value, Mapping):
            left -= 4 * len(value)
            if left > 0:
                todo += value.keys()
                todo += value.values()
        elif isinstance(value, list | tuple | LazyList):
            left -= 2 * len(value)
            if left > 0:
                todo += value
        else:
            left -= 4
        if left < 0:
            raise SecurityError(f"a text of more than {MAX_RENDERED:,} characters")


class TextBuffer(list[str]):
    """The pieces of a text inside of a template, as `{% set %}`, macros and `{% filter %}` collect them."""

    __slots__ = ("_context", "_size")

    def __init__(self, context: RenderContext) -> None:
        """No piece yet."""
        super().__init__()
        self._context = context
        self._size = 0

    def append(self, piece: str) -> None:
        """Add one."""
        self._size += len(piece)
        if self._size > MAX_RENDERED:
            raise SecurityError(f"a text of more than {MAX_RENDERED:,} characters")
        self._context.count(len(piece))
        super().append(piece)

    def extend(self, pieces: Iterable[str]) -> None:
        """Add some."""
        for piece in pieces:
            self.append(piece)
