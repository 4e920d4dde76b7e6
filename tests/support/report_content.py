"""A report of a run whose every text tries to get out of its place."""

from __future__ import annotations

from typing import Any

from po_jupyter.presentation.reports.content import ReportContent, ReportRows
from tests.support.cli import make_view

EVIL = "</pre><script>alert(1)</script> ```\n| a | [x](javascript:1) ![y](https://evil) \x1b[2J '''"


def row(index: int, output: object = None, error: str | None = None) -> dict[str, Any]:
    return {
        "index": index, "ok": error is None, "output": output,
        "error": None if error is None else {"message": error}, "usage": {"cost": 0.00012},
    }  # fmt: skip


def content(
    rows: int = 3, total: int = 1000, options: dict[str, Any] | None = None, **changes: Any
) -> ReportContent:
    """The run of `make_view`, with `rows` of `total` rows."""
    view = make_view(
        "done", **{"seed": {"name": "s", "data": {"text": "x"}}, "budget": {"usd": 2.0}, **changes}
    )
    definition = {
        "name": view.pipeline, "llm": {"model": "openai:gpt-5-mini"},
        "tasks": [
            {"name": "extract", "source": "def ingestion(ctx):\n    return 1\n"},
            {"name": "label", "prompt": EVIL, "system": "be kind", "for_each": "{{ seed.rows }}"},
        ],
    }  # fmt: skip
    shown = [row(0, {"label": "bug"}), row(1, EVIL), row(2, error="no label <b>")][:rows]
    return ReportContent(
        view, definition, 1_800_000_000.0,
        {"label": ReportRows(shown, total, 1)}, {"label": [row(2, error="no label <b>")]},
        {"extract": {"title": EVIL}}, options or {},
    )  # fmt: skip
