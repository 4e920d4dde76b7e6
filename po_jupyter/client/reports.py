"""The report of a run: asked of the orchestrator, and written as HTML, Markdown or a notebook."""

from __future__ import annotations

import time
from os import PathLike
from pathlib import Path

from po_jupyter.client.async_client import AsyncClient
from po_jupyter.client.http.payloads import RowJson
from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.model.run.view import RunView
from po_jupyter.presentation.reports import html, markdown, notebook
from po_jupyter.presentation.reports.content import ReportContent, ReportRows

_FAILURES = 50  # rows of a map that are shown because they failed
_PAGE = 1000


class Report:
    """A run as a file: `html`, `markdown` and `notebook` are its text. In a notebook's cell it shows itself."""

    def __init__(self, content: ReportContent) -> None:
        """Nothing is written yet."""
        self._content = content

    def __repr__(self) -> str:
        """What it is of."""
        return f"<report of run {self._content.view.id} of {self._content.title}>"

    @property
    def html(self) -> str:
        """One self-contained page, without a script."""
        return html.page(self._content)

    @property
    def markdown(self) -> str:
        """The same as Markdown."""
        return markdown.text(self._content)

    @property
    def notebook(self) -> str:
        """A notebook, as JSON, that does the run again; its parameters are in a cell of their own."""
        return notebook.notebook(self._content)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the file that its name says: `.html`, `.md` or `.ipynb`. InvalidInput for another name."""
        file = Path(path)
        match file.suffix.lower():
            case ".html" | ".htm":
                text = self.html
            case ".md" | ".markdown":
                text = self.markdown
            case ".ipynb":
                text = self.notebook
            case _:
                raise InvalidInput(
                    f"a report cannot be written as {file.name!r:.100}",
                    hint="Its name ends with .html, .md or .ipynb.",
                )
        try:
            file.write_text(text, "utf-8")
        except OSError as error:
            raise PoError(f"{file} cannot be written: {error.strerror}") from None
        return file

    def _repr_html_(self) -> str:
        return html.fragment(self._content)


async def make_report(client: AsyncClient, view: RunView, rows: int) -> Report:
    """The report of a run, with at most `rows` rows of each map."""
    if rows < 0:
        raise InvalidInput(f"`rows` is how many rows are shown, not {rows}")
    submitted = await client.inspection.run_pipeline(view.id)
    options = submitted.get("options", {})  # an older server does not say them
    tables: dict[str, ReportRows] = {}
    failures: dict[str, list[RowJson]] = {}
    outputs: dict[str, object] = {}
    for task in view.tasks:
        if task.items is not None:
            failed, total = task.items.failed, task.items.total
            tables[task.name] = ReportRows(await _rows(client, view.id, task.name, rows), total, failed)
            if failed:
                failures[task.name] = await _rows(client, view.id, task.name, min(rows, _FAILURES), "failed")
        elif task.state == "done":
            outputs[task.name] = (await client.outputs(view.id, task.name)).get(task.name)
    shown = {name: value for name, value in outputs.items() if value is not None}
    content = ReportContent(view, submitted["pipeline"], time.time(), tables, failures, shown, options)
    return Report(content)


async def _rows(client: AsyncClient, run: str, task: str, most: int, state: str | None = None) -> list[RowJson]:
    rows: list[RowJson] = []
    cursor: str | None = None
    while len(rows) < most:
        page, cursor = await client.items(
            run, task, state=state, cursor=cursor, limit=min(_PAGE, most - len(rows))
        )
        rows += page
        if cursor is None:
            break
    return rows[:most]
