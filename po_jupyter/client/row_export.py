"""Rows of a map as a file: CSV for spreadsheets, JSON lines, Parquet. However many there are, memory stays the same.

Rows come page by page and are kept in a temporary file, for which columns there are, and of which type, is known only
with the last row. A value of which a page has the beginning is asked for in whole.
"""

from __future__ import annotations

import csv
import json
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from po_jupyter.errors import InvalidInput, PoError

if TYPE_CHECKING:
    from po_jupyter.client.async_client import AsyncClient
    from po_jupyter.client.http.inspection_payloads import TableRowJson

_PAGE = 500
_SPOOLED = 2**24  # bytes of rows that stay in memory
_BEFORE = ("index", "state", "input")
_AFTER = ("error", "attempts", "tokens", "cost_usd", "seconds", "model")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_LARGEST = 2**63

Cells = dict[str, Any]


class RowsWanted(NamedTuple):
    """The rows of a map to export, as `AsyncInspection.rows` finds them."""

    task: str
    state: str | None = None
    sort: str = "index"
    desc: bool = False
    q: str = ""


class _Columns:
    """The columns of the rows seen so far, and the kinds of their values."""

    def __init__(self) -> None:
        self.fields: dict[str, None] = {}
        self.whole = False
        self.kinds: dict[str, set[str]] = {}

    def add(self, cells: Cells) -> None:
        for name, value in cells.items():
            self.kinds.setdefault(name, set()).add(_kind(value))
            if name.startswith("output."):
                self.fields[name] = None
            elif name == "output" and value is not None:
                self.whole = True

    @property
    def names(self) -> list[str]:
        """Fields of answers that are objects have a column each; `output` is for the other answers."""
        answers = [*(["output"] if self.whole or not self.fields else []), *self.fields]
        return [*_BEFORE, *answers, *_AFTER]


def check_target(path: str | os.PathLike[str]) -> Path:
    """The file to write, before anything is asked for. Raises InvalidInput for another kind of file, PoError where what
    writes Parquet is not installed."""
    target = Path(path)
    if target.suffix.lower() not in _WRITERS:
        raise InvalidInput(
            f"rows are written as {', '.join(_WRITERS)}, not {target.suffix or target.name!r:.40}",
            hint="The end of the file's name says which: rows.csv",
        )
    if not target.parent.is_dir():
        raise InvalidInput(f"there is no directory {str(target.parent)!r}")
    if target.suffix.lower() == ".parquet":
        _polars()
    return target


async def export_rows(aio: AsyncClient, run: str, wanted: RowsWanted, path: str | os.PathLike[str]) -> int:
    """Write the rows to `path`, which is replaced as a whole; how many. Raises as `check_target`, and NotFound."""
    target = check_target(path)
    columns, count = _Columns(), 0
    with tempfile.SpooledTemporaryFile(max_size=_SPOOLED, mode="w+", encoding="utf-8") as spool:
        async for row in _whole_rows(aio, run, wanted):
            cells = _cells(row)
            columns.add(cells)
            spool.write(json.dumps(cells, ensure_ascii=True) + "\n")
            count += 1
        spool.seek(0)
        with _replacing(target) as part:
            _WRITERS[target.suffix.lower()](part, (json.loads(line) for line in spool), columns)
    return count


async def _whole_rows(aio: AsyncClient, run: str, wanted: RowsWanted) -> AsyncIterator[TableRowJson]:
    start: int | None = 0
    while start is not None:
        page = await aio.inspection.rows(
            run, wanted.task, state=wanted.state, sort=wanted.sort, desc=wanted.desc, q=wanted.q,
            start=start, limit=_PAGE,
        )  # fmt: skip
        for row in page["rows"]:
            yield await aio.inspection.row(run, wanted.task, row["index"]) if row["clipped"] else row
        start = page["next"] if page["rows"] else None


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A file beside the target that takes its place at the end: half an export is none."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _cells(row: TableRowJson) -> Cells:
    output = row["output"]
    answer: Cells = (
        {f"output.{name}": value for name, value in output.items()} if isinstance(output, Mapping) else {}
    )
    if not isinstance(output, Mapping):
        answer["output"] = output
    error = row["error"]
    return {
        "index": row["index"], "state": row["state"], "input": row["input"], **answer,
        "error": error.get("message") if isinstance(error, Mapping) else error,
        "attempts": row["attempts"], "tokens": row["tokens"], "cost_usd": row["cost_usd"],
        "seconds": row["seconds"], "model": row["model"],
    }  # fmt: skip


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -_LARGEST <= value < _LARGEST else "json"
    if isinstance(value, float):
        return "float"
    return "text" if isinstance(value, str) else "json"


# -- CSV ------------------------------------------------------------------------------------------------


def _write_csv(path: Path, rows: Iterator[Cells], columns: _Columns) -> None:
    # A byte order mark: without it some spreadsheets read UTF-8 as something else.
    with path.open("w", encoding="utf-8-sig", errors="surrogatepass", newline="") as file:
        writer = csv.writer(file)
        names = columns.names
        writer.writerow([_csv_cell(name) for name in names])
        for row in rows:
            writer.writerow([_csv_cell(row.get(name)) for name in names])


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = _as_text(value)
    # A spreadsheet would run a model's text that begins like a formula.
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# -- JSON lines, Parquet ----------------------------------------------------------------------------------


def _write_lines(path: Path, rows: Iterator[Cells], columns: _Columns) -> None:
    """Rows as they were answered: an answer is one value, whatever it is."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            fields = {
                name.removeprefix("output."): value for name, value in row.items() if name.startswith("output.")
            }
            shown = {name: row.get(name) for name in _BEFORE}
            shown["output"] = fields if fields else row.get("output")
            shown |= {name: row.get(name) for name in _AFTER}
            file.write(json.dumps(shown, ensure_ascii=True) + "\n")


def _write_parquet(path: Path, rows: Iterator[Cells], columns: _Columns) -> None:
    polars = _polars()
    types = {"bool": polars.Boolean, "int": polars.Int64, "float": polars.Float64}
    schema: dict[str, Any] = {}
    for name in columns.names:
        kinds = columns.kinds.get(name, set()) - {"nothing"}
        kind = "float" if kinds == {"int", "float"} else kinds.pop() if len(kinds) == 1 else "text"
        schema[name] = types.get(kind, polars.String)
    texts = {name for name, kind in schema.items() if kind == polars.String}
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8", dir=path.parent) as lines:
        for row in rows:
            cells = {
                name: _as_text(value) if name in texts and value is not None else value
                for name in schema
                for value in (row.get(name),)
            }
            lines.write(json.dumps(cells, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n")
        lines.flush()
        polars.scan_ndjson(lines.name, schema=schema).sink_parquet(path)


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise PoError(
            "Parquet is written by polars, which is not installed",
            hint="pip install 'po_jupyter[parquet]', or write .csv or .jsonl.",
        ) from None
    return polars


_WRITERS: dict[str, Callable[[Path, Iterator[Cells], _Columns], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_lines,
    ".parquet": _write_parquet,
}
