"""Errors of cells: what happened, where, what to do; without a traceback of our insides.

The cell still fails (so that "run all" stops and nbclient sees an error); only the box is clean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from po_jupyter.errors import InvalidInput, PoError, Violation
from po_jupyter.presentation.terminal_text import plain


class CellError(Exception):
    """A cell that cannot go on. `str()` of it is everything the reader needs."""

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this instead of drawing the stack.
        return plain(self).splitlines() or [type(self).__name__]


class Detached(CellError):
    """The cell stopped waiting; the run goes on."""


class RunFailed(CellError):
    """The cell waited for a run that did not end `done`. `run` is the Run."""

    def __init__(self, message: str, run: object) -> None:
        """A message about `run`."""
        super().__init__(message)
        self.run = run


LineOf = Callable[[Violation], int | None]


def cell_error(
    error: PoError, line_of: LineOf = lambda violation: violation.line, offset: int = 0
) -> CellError:
    """`error` as a cell shows it.

    `line_of` finds the line of a violation in the cell's body (1-based), `offset` is how many lines of
    the cell stand before that body.
    """
    if not isinstance(error, InvalidInput) or not error.violations:
        return CellError(str(error))
    lines = []
    for violation in error.violations:
        line = line_of(violation)
        if line is not None:
            lines.append(f"cell line {line + offset}: {violation.message}")
        else:
            lines.append(str(violation))
    if error.hint:
        lines.append(error.hint)
    return CellError("\n".join(lines))


@contextmanager
def as_cell_errors(line_of: LineOf = lambda violation: violation.line, offset: int = 0) -> Iterator[None]:
    """Raise every PoError of the block as a CellError."""
    try:
        yield
    except PoError as error:
        raise cell_error(error, line_of, offset) from None
