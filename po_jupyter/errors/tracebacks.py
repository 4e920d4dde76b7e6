"""Tracebacks that end where the user's code called ours: what is below is of use in a report of a bug alone.

`PO_FULL_TRACEBACK=1` shows all of it, in a cell and in a script; it is read when an error is raised or drawn.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

VARIABLE = "PO_FULL_TRACEBACK"
_PACKAGE = str(Path(__file__).parents[1]) + os.sep


def shorten(error: BaseException) -> None:
    """Take from `error` the frames below who raises it again; IPython draws the others by `short_traceback`."""
    if is_full():
        return
    if not hasattr(error, "_render_traceback_"):  # of Python's own: TimeoutError, KeyboardInterrupt
        error._render_traceback_ = partial(short_traceback, error)  # type: ignore[attr-defined]  # IPython's hook
    error.__traceback__ = None


def short_traceback(error: BaseException) -> list[str]:
    """The lines that IPython draws of `error`: the frames above the first one of ours, then what happened.

    IPython asks an exception for `_render_traceback_`; who asks has a shell.
    """
    shell: Any = sys.modules["IPython"].get_ipython()
    was = error.__cause__, error.__suppress_context__, error.__traceback__
    if not is_full():
        error.__traceback__ = callers = _frames_of_others(was[2])
        if not _is_of_others(was[0]) or not _is_of_others(error.__context__):
            error.__cause__ = None  # what we caught on the way; the user's own is drawn
    else:
        callers = was[2]
    try:
        drawn: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, callers)
    finally:
        error.__cause__, error.__suppress_context__, error.__traceback__ = was
    return drawn


def is_full() -> bool:
    """Whether tracebacks keep all frames."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def _frames_of_others(traceback: TracebackType | None) -> TracebackType | None:
    """The frames before the first one of this package; all of them when there is none before."""
    frames: list[TracebackType] = []
    step = traceback
    while step is not None and not step.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        frames.append(step)
        step = step.tb_next
    if not frames:
        return traceback
    kept: TracebackType | None = None
    for frame in reversed(frames):
        kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept


def _is_of_others(error: BaseException | None) -> bool:
    """Whether no frame of ours is in the traceback of an error that another one came from."""
    step = error.__traceback__ if error is not None else None
    while step is not None:
        if step.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            return False
        step = step.tb_next
    return True
