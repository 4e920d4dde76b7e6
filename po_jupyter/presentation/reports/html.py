"""The report as one HTML file: no script, nothing fetched, every text of the run escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from po_jupyter.presentation import format as fmt
from po_jupyter.presentation.reports.content import (
    ReportContent,
    as_json,
    clipped,
    left_out_text,
    row_cells,
)
from po_jupyter.presentation.terminal_text import plain

_STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --dim: #656d76; --bad: #b3261e; --box: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --line: #3d444d; --dim: #9198a1; --bad: #ff8a80; --box: #151b23; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: start; vertical-align: top; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; } td.number, th.number { text-align: end; white-space: nowrap; }
pre, td.text { white-space: pre-wrap; overflow-wrap: anywhere; }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: .75rem; font-size: .85rem; }
.failed, .dead { color: var(--bad); } .note { color: var(--dim); }
@media print { body { margin: 0; max-width: none; } pre { page-break-inside: avoid; } }
"""
# Whatever slipped through an escape could still fetch nothing and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(content: ReportContent) -> str:
    """The whole file."""
    title = _text(content.title)
    body = "\n".join(_sections(content))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def fragment(content: ReportContent) -> str:
    """The report for a notebook's cell, in a frame of its own: it touches nothing around it."""
    return (
        f'<iframe sandbox srcdoc="{escape(page(content))}" title="{_text(content.title)}" '
        f'style="width: 100%; height: 40rem; border: 0"></iframe>'
    )


def _sections(content: ReportContent) -> Iterator[str]:
    state = fmt.shown_run_state(content.view)
    yield f'<h1>{_text(content.title)} <span class="{_text(state)}">{_text(content.view.state)}</span></h1>'
    yield _table((), content.facts(), head=False)
    problems = content.problems()
    if problems:
        yield "<h2>What went wrong</h2>"
        yield from (f'<pre class="failed">{_text(problem)}</pre>' for problem in problems)
    yield "<h2>Tasks</h2>"
    columns = ("task", "state", "model", "rows", "took", "calls", "tokens", "cost")
    yield _table(columns, content.tasks(), numbers=(4, 5, 6, 7))
    for task, failed in content.failures.items():
        if failed:
            yield f"<h2>Failed rows of {_text(task)}</h2>"
            yield _rows(failed)
    for task, table in content.rows.items():
        yield f"<h2>Rows of {_text(task)}</h2>"
        yield _rows(table.rows)
        if note := left_out_text(table):
            yield f'<p class="note">{_text(note)}</p>'
    for task, output in content.outputs.items():
        yield f"<h2>Output of {_text(task)}</h2>"
        yield f"<pre>{_text(clipped(output if isinstance(output, str) else as_json(output)))}</pre>"
    yield "<h2>Prompts</h2>"
    for task, kind, text in content.prompts():
        yield f"<h3>{_text(task)}: {_text(kind)}</h3>\n<pre>{_text(text)}</pre>"
    yield f"<h2>Pipeline</h2>\n<pre>{_text(as_json(content.definition))}</pre>"


def _rows(rows: Iterable[object]) -> str:
    cells = [row_cells(row) for row in rows]  # type: ignore[arg-type]  # mappings, by their type in the content
    return _table(("row", "state", "answer", "cost"), cells, numbers=(0, 3), texts=(2,))


def _table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    texts: Sequence[int] = (),
    head: bool = True,
) -> str:
    def attribute(place: int, value: str) -> str:
        if place in numbers:
            return ' class="number"'
        if place in texts:
            return ' class="text"'
        return ' class="failed"' if value in ("failed", "dead") else ""

    lines = ["<table>"]
    if head:
        names = "".join(
            f'<th scope="col"{attribute(i, "")}>{_text(name)}</th>' for i, name in enumerate(columns)
        )
        lines.append(f"<thead><tr>{names}</tr></thead>")
    lines.append("<tbody>")
    for row in rows:
        first = "" if head else f'<th scope="row">{_text(row[0])}</th>'
        cells = "".join(
            f"<td{attribute(i, cell)}>{_text(cell)}</td>" for i, cell in enumerate(row) if head or i > 0
        )
        lines.append(f"<tr>{first}{cells}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def _text(value: object) -> str:
    return escape(plain(value))
