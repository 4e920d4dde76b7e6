"""Comparison of a map in two runs: what changed, and what each run paid."""

from __future__ import annotations

import html
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from po_jupyter.client.http.inspection_payloads import (
    ComparedRowJson,
    ComparedSideJson,
    ComparisonSummaryJson,
    TableRowJson,
)
from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.names import short_id
from po_jupyter.presentation import format as fmt
from po_jupyter.presentation.comparisons import paired_line
from po_jupyter.presentation.scores import html_table, short_value

if TYPE_CHECKING:
    from po_jupyter.client.async_client import AsyncClient
    from po_jupyter.model.run.view import RunView

_PAGE = 500
_SHOWN = 10  # changed rows in a cell; `frame()` has all
_PARTLY = "not all rows could be read: compare again when both runs have ended"
_SIDE = ("", "run", "rows", "failed", "cost", "tokens", "seconds of all rows", "model")
_CHANGED = ("row", "input", "A", "B")
_TRIES = 60  # each reads for seconds: a map of a million rows is read by then


class Comparison:
    """A map in run `a` and in run `b`. `summary` has the numbers, `changed` the rows whose answers differ."""

    def __init__(
        self, task: str, summary: ComparisonSummaryJson, rows: list[ComparedRowJson], *, complete: bool = True
    ) -> None:
        """`rows` are those that changed, or all, those that changed first; with `complete` false of those that the
        server could read."""
        self.task, self.summary, self.rows, self.complete = task, summary, rows, complete

    @property
    def changed(self) -> list[ComparedRowJson]:
        """The rows whose answers differ, or that failed in one of the runs only."""
        return [row for row in self.rows if row["change"] == "changed"]

    def __repr__(self) -> str:
        """The summary."""
        return str(self)

    def __str__(self) -> str:
        """The summary in a few lines."""
        lines = summary_lines(self.task, self.summary)
        if not self.complete:
            lines.append(f"  {_PARTLY}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        notes = [paired_line(score) for score in self.summary.get("scores", ())]
        notes += [] if self.complete else [_PARTLY]
        sides = [_side_facts("A", self.summary["a"]), _side_facts("B", self.summary["b"])]
        changed = [_changed_cells(row) for row in self.changed[:_SHOWN]]
        parts = [html_table(summary_lines(self.task, self.summary)[0], _SIDE, sides, numbers=(2, 3, 4, 5, 6))]
        parts += [f"<p>{html.escape(note)}</p>" for note in notes]
        if changed:
            parts.append(html_table(_changed_title(len(self.changed)), _CHANGED, changed, numbers=(0,)))
        return "".join(parts)

    def frame(self, library: Literal["pandas", "polars"] = "pandas") -> Any:
        """The rows as a DataFrame: `change`, `input`, then `a_` and `b_` of `row`, `state`, `output`, `error`,
        `tokens`, `cost` and `seconds`. Long values are cut at 2,000 characters, as in a table of rows."""
        if library not in ("pandas", "polars"):
            raise InvalidInput(f"frame() makes frames of pandas or polars, not {library!r:.40}")
        try:
            module = import_module(library)
        except ImportError:
            raise PoError(f"frame() needs {library}", hint=f"Install it here: %pip install {library}") from None
        cells = [_cells(row) for row in self.rows]
        columns = list(_cells({"change": "", "by_input": True, "a": None, "b": None}))
        if library == "pandas":
            return module.DataFrame(cells, columns=columns)
        return module.DataFrame(
            [module.Series(name, [row[name] for row in cells], strict=False) for name in columns]
        )


async def compare_runs(
    aio: AsyncClient, a: RunView, b: str, task: str | None, *, everything: bool, gold: str | None = None
) -> Comparison:
    """Compare a map of two runs; without `task` the only one. `gold` is a field of the rows, or `corrections`. Raises
    InvalidInput, NotFound."""
    name = map_of(a, task)
    rows: list[ComparedRowJson] = []
    start: int | None = 0
    tries = 0
    while start is not None:
        page = await aio.inspection.compare(
            a.id, b, name, everything=everything, start=start, limit=_PAGE, gold=gold
        )
        if not page["complete"] and tries < _TRIES:
            tries += 1  # it goes on with the rows that were not read yet
            rows.clear()
            start = 0
            continue
        rows += page["rows"]
        start = page["next"]
    return Comparison(name, page["summary"], rows, complete=page["complete"])


def map_of(run: RunView, task: str | None) -> str:
    """The map that is meant. Raises InvalidInput."""
    maps = [t.name for t in run.tasks if t.items is not None]
    if task is None and len(maps) == 1:
        return maps[0]
    if task in maps:
        return task
    short = short_id(run.id)
    listed = f"its maps: {', '.join(maps)}" if maps else "no task of it is a map"
    if task is None:
        raise InvalidInput(f"which rows of run {short}? {listed}", hint="Name the task: --task TASK.")
    raise InvalidInput(f"run {short} has no map {task!r:.60}{did_you_mean(task, maps)}; {listed}")


def summary_lines(task: str, summary: ComparisonSummaryJson) -> list[str]:
    """How many answers agree, and what each run paid, for people."""
    judged = summary["same"] + summary["changed"]
    first = f"{task}: {summary['same']:,} of {judged:,} answers agree"
    if judged:
        percent = summary["same"] * 100 // judged  # 9,999 of 10,000 are no 100 %
        first += f" ({percent}%), {summary['changed']:,} changed"
    others = {
        "only_a": "only in A", "only_b": "only in B", "failed": "failed in both", "open": "without an answer yet",
    }  # fmt: skip
    for key, words in others.items():
        if count := summary[key]:  # type: ignore[literal-required]  # the keys above
            first += f", {count:,} {words}"
    if summary["by_index"]:
        first += f"; {summary['by_index']:,} joined by place, as their inputs differ"
    lines = [first]
    for name in ("a", "b"):
        side = summary["a"] if name == "a" else summary["b"]
        cost = fmt.money(side["cost_usd"]) if side["cost_usd"] is not None else "cost unknown"
        facts = [
            f"{side['rows']:,} rows", f"{side['failed']:,} failed" if side["failed"] else "", cost,
            f"{fmt.tokens(side['tokens'])} tokens", fmt.elapsed(side["seconds"]), ", ".join(side["models"]),
        ]  # fmt: skip
        lines.append(f"  {name.upper()} {short_id(side['run'])}: " + " · ".join(filter(None, facts)))
    return lines + [f"  {paired_line(score)}" for score in summary.get("scores", ())]


def _side_facts(name: str, side: ComparedSideJson) -> list[str]:
    cost = "unknown" if side["cost_usd"] is None else fmt.money(side["cost_usd"])
    return [
        name, short_id(side["run"]), f"{side['rows']:,}", f"{side['failed']:,}", cost,
        fmt.tokens(side["tokens"]), f"{side['seconds']:,.1f}", ", ".join(side["models"]),
    ]  # fmt: skip


def _changed_cells(row: ComparedRowJson) -> list[str]:
    given = row["a"] or row["b"]
    place, asked = (str(given["index"]), short_value(given["input"])) if given is not None else ("", "")
    return [place, asked, _answer(row["a"]), _answer(row["b"])]


def _answer(row: TableRowJson | None) -> str:
    if row is None:
        return ""
    return short_value(row["output"]) if row["error"] is None else "failed"


def _changed_title(count: int) -> str:
    return "changed" if count <= _SHOWN else f"changed (the first {_SHOWN} of {count:,}; `frame()` has all)"


def _cells(row: ComparedRowJson) -> dict[str, Any]:
    a, b = row["a"], row["b"]
    given = a or b
    cells: dict[str, Any] = {"change": row["change"], "input": given["input"] if given is not None else None}
    return {**cells, **_side_cells("a", a), **_side_cells("b", b)}


def _side_cells(name: str, row: TableRowJson | None) -> dict[str, Any]:
    error = row["error"] if row is not None else None
    return {
        f"{name}_row": row and row["index"],
        f"{name}_state": row and row["state"],
        f"{name}_output": row and row["output"],
        f"{name}_error": error.get("message") if isinstance(error, dict) else error,
        f"{name}_tokens": row and row["tokens"],
        f"{name}_cost": row and row["cost_usd"],
        f"{name}_seconds": row and row["seconds"],
    }
