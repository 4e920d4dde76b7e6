"""Tracebacks for the author of a task: lines of the task, not of po_jupyter or of the inside of a library."""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from pathlib import Path

from po_jupyter.errors import PoError, TaskError
from po_jupyter.platform.source_root import SOURCE_ROOT

_PACKAGE = str(Path(SOURCE_ROOT) / "po_jupyter")
_LIBRARIES = tuple(
    {path for key in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_paths().get(key))}
)
_MAX_FRAMES = 12
_MAX_CHARS = 4000
SOURCE_FILENAME = "<po_task {}>"


def user_traceback(error: BaseException) -> str:
    """The frames of `error` that are the user's, innermost last, with the message; "" when none is.

    When the error came from inside a library, the library's last frame is kept: it often has the reason.
    """
    frames = traceback.extract_tb(error.__traceback__)
    mine = [f for f in frames if _is_users(f.filename)]
    if not mine:
        return ""
    if frames[-1] not in mine and not frames[-1].filename.startswith(_PACKAGE):
        mine.append(frames[-1])
    text = "".join(traceback.format_list(mine[-_MAX_FRAMES:]))
    last = "".join(traceback.format_exception_only(error))
    return f"{text[-_MAX_CHARS:]}{last[:_MAX_CHARS]}"


def as_po_error(error: Exception) -> PoError:
    """`error` itself when it is a PoError, else a TaskError with code `internal`: our faults end a task, loudly."""
    if isinstance(error, PoError):
        return error
    failed = _InternalError(
        f"internal error: {type(error).__name__}: {error}"[:1000],
        hint="This is a fault of po_jupyter; please report it with the traceback in the details.",
        details={"traceback": "".join(traceback.format_exception(error))[-_MAX_CHARS:]},
    )
    failed.__cause__ = error
    return failed


class _InternalError(TaskError):
    """A fault of po_jupyter itself."""

    code = "internal"


def register_source(filename: str, source: str) -> None:
    """Make tracebacks show lines of source that is in no file."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)


def _is_users(filename: str) -> bool:
    if filename.startswith("<po_task "):
        return True
    return not filename.startswith(("<", _PACKAGE, *_LIBRARIES))
