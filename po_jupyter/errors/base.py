"""The root of the tree of errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

from po_jupyter.errors.tracebacks import short_traceback

Details: TypeAlias = Mapping[str, Any] | None


class PoError(Exception):
    """The root. `str()` of it is one readable message; `hint` is the next step, or ""."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500  # the HTTP status a server answers with

    def __init__(self, message: str, *, hint: str = "", details: Details = None) -> None:
        """`details` is JSON."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})

    def __str__(self) -> str:
        """Message and hint, one line each."""
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this instead of drawing the stack.
        return short_traceback(self)

    def to_json(self) -> dict[str, Any]:
        """The error as `{code, message, hint, details}`."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "details": self.details}
