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
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from po_jupyter.client.reviews.corrections import RowChange, correcting
from po_jupyter.errors import InvalidInput, PoError

if TYPE_CHECKING:
    from po_jupyter.client.async_client import AsyncClient
    from po_jupyter.client.http.inspection_payloads import TableJson, TableRowJson

_PAGE = 500
_SPOOLED = 2**24  # bytes of rows that stay in memory
_BEFORE = ("index", "state", "input")
_AFTER = ("error", "attempts", "tokens", "cost_usd", "seconds", "model")
_RARE = ("variant", "agreement", "votes")  # where there are variants, where there was a vote
_SCORE = "score."  # before the name of a score
_REVIEWED = ("corrected", "reviewed_by", "disputed")  # with what people said
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")  # OWASP ASVS 5.0, 1.2.10
_LARGEST = 2**63
_EXACT = 2**53  # up to which a fraction's type has every whole number
_KINDS = {"index": "int", "attempts": "int", "tokens": "int", "cost_usd": "float", "seconds": "float"}
_PIECE = 5000  # rows that are written at once
_MOST_FIELDS = (
    500  # that have a column each: answers whose fields are all different would be a table of millions
)
_TRIES = (
    60  # of a question that the server has no time to answer in whole: each goes on where the one before ended
)

Cells = dict[str, Any]


class RowsWanted(NamedTuple):
    """The rows of a map to export, as `AsyncInspection.rows` finds them; `corrected`: with what people said of them."""

    task: str
    state: str | None = None
    sort: str = "index"
    desc: bool = False
    q: str = ""
    corrected: bool = False
    variant: str | None = None


class _Columns:
    """The columns of the rows seen so far, and the kinds of their values."""

    def __init__(self) -> None:
        self.fields: dict[str, None] = {}
        self.whole = False
        self.kinds: dict[str, set[str]] = {}

    def add(self, cells: Cells) -> None:
        for name, value in cells.items():
            if name.startswith("output."):
                if len(self.fields) > _MOST_FIELDS:
                    continue
                self.fields[name] = None
            self.kinds.setdefault(name, set()).add(_kind(value))
            if name.startswith("output."):
                continue
            if name == "output" and value is not None:
                self.whole = True

    @property
    def has_fields(self) -> bool:
        """Whether fields of answers have columns; with too many of them each answer is one value."""
        return 0 < len(self.fields) <= _MOST_FIELDS

    @property
    def names(self) -> list[str]:
        """Fields of answers that are objects have a column each; `output` is for the other answers."""
        fields = self.fields if self.has_fields else {}
        return [*_BEFORE, *(["output"] if self.whole or not fields else []), *fields, *_AFTER, *self.rare]

    @property
    def rare(self) -> tuple[str, ...]:
        """The columns of variants, votes, reviews and scores, where any row has them."""
        scores = [name for name in self.kinds if name.startswith(_SCORE)]
        return (*(name for name in (*_RARE, *_REVIEWED) if name in self.kinds), *scores)

    def kind(self, name: str) -> str:
        """The one kind of the values of a column; `text` where there are several. Numbers that rows have of
        themselves are of their kind also where no row has one."""
        kinds = self.kinds.get(name, set()) - {"nothing"}
        if name == "output" and self.fields and not self.has_fields:
            return "text"
        known = _KINDS.get(name)
        if known is not None and kinds <= {"int", "float"} and (known == "float" or "float" not in kinds):
            return known
        if "large" in kinds and kinds <= {"int", "large"}:
            return "int"
        return "float" if kinds == {"int", "float"} else kinds.pop() if len(kinds) == 1 else "text"

    def cells(self, row: Cells) -> Cells:
        """A row as it is written: its answer in one value where its fields have no columns."""
        return row if self.has_fields or not self.fields else {**row, "output": _answer_of(row)}


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
    if target.is_dir():
        raise InvalidInput(f"{str(target)!r} is a directory", hint="Name a file that the rows are written to.")
    if target.suffix.lower() == ".parquet":
        _polars()
    return target


async def export_rows(aio: AsyncClient, run: str, wanted: RowsWanted, path: str | os.PathLike[str]) -> int:
    """Write the rows to `path`, which is replaced as a whole; how many. Raises as `check_target`, NotFound, and PoError
    for a search that the server cannot finish and a file that cannot be written."""
    target = check_target(path)
    columns, written = _Columns(), 0
    correct = await correcting(aio, run, wanted.task) if wanted.corrected else None
    with tempfile.SpooledTemporaryFile(max_size=_SPOOLED, mode="w+", encoding="utf-8") as spool:
        async for row in _whole_rows(aio, run, wanted):
            cells = _cells(row) if correct is None else _corrected_cells(row, correct)
            columns.add(cells)
            spool.write(json.dumps(cells, ensure_ascii=True) + "\n")
            written += 1
        spool.seek(0)
        try:
            with _replacing(target) as part:
                _WRITERS[target.suffix.lower()](part, (json.loads(line) for line in spool), columns)
        except OSError as error:
            raise PoError(f"{str(target)!r} cannot be written: {error.strerror or error}") from error
    return written


async def _whole_rows(aio: AsyncClient, run: str, wanted: RowsWanted) -> AsyncIterator[TableRowJson]:
    start: int | None = 0
    while start is not None:
        page = await _page(aio, run, wanted, start)
        for row in page["rows"]:
            yield await aio.inspection.row(run, wanted.task, row["index"]) if row["clipped"] else row
        start = page["next"] if page["rows"] else None


async def _page(aio: AsyncClient, run: str, wanted: RowsWanted, start: int) -> TableJson:
    """A page of all the rows that match, and not only of those that there was time to look at."""
    for _ in range(_TRIES):
        page = await aio.inspection.rows(
            run, wanted.task, state=wanted.state, sort=wanted.sort, desc=wanted.desc, q=wanted.q,
            variant=wanted.variant,
            start=start, limit=_PAGE,
        )  # fmt: skip
        if page["complete"]:
            return page
    raise PoError(
        f"the rows of task {wanted.task!r:.80} cannot be looked through: the server does not come to their end",
        hint="Try again when the run has ended, or export all rows in their own order.",
    )


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
    has_fields = isinstance(output, Mapping) and bool(output)
    answer: Cells = (
        {f"output.{name}": value for name, value in output.items()} if has_fields else {"output": output}
    )
    error = row["error"]
    cells: Cells = {
        "index": row["index"], "state": row["state"], "input": row["input"], **answer,
        "error": error.get("message") if isinstance(error, Mapping) else error,
        "attempts": row["attempts"], "tokens": row["tokens"], "cost_usd": row["cost_usd"],
        "seconds": row["seconds"], "model": row["model"],
    }  # fmt: skip
    if "variant" in row:
        cells["variant"] = row["variant"]
    if "agreement" in row and "votes" in row:
        cells |= {"agreement": row["agreement"], "votes": row["votes"]}
    if "scores" in row:
        cells |= {_SCORE + name: value for name, value in row["scores"]["values"].items()}
    return cells


def _corrected_cells(row: TableRowJson, correct: RowChange) -> Cells:
    changed: Any = correct(row)
    return {**_cells(changed), **changed["review"]}


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if abs(value) <= _EXACT:
            return "int"
        return "large" if -_LARGEST <= value < _LARGEST else "json"
    if isinstance(value, float):
        return "float"
    return "text" if isinstance(value, str) else "json"


# -- CSV ------------------------------------------------------------------------------------------------


def _write_csv(path: Path, rows: Iterator[Cells], columns: _Columns) -> None:
    # A byte order mark: without it some spreadsheets read UTF-8 as something else. Half a surrogate pair is no UTF-8.
    with path.open("w", encoding="utf-8-sig", errors="replace", newline="") as file:
        writer = csv.writer(file)
        names = columns.names
        headings = _headings(names)
        writer.writerow([_csv_cell(headings[name]) for name in names])
        for row in map(columns.cells, rows):
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


def _answer_of(row: Cells) -> Any:
    fields = {name.removeprefix("output."): value for name, value in row.items() if name.startswith("output.")}
    return fields or row.get("output")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, float) else _json(value, separators=(",", ":"))


def _json(value: Any, *, ensure_ascii: bool = False, separators: tuple[str, str] | None = None) -> str:
    """JSON that every reader takes: NaN and infinities, which have no place in it, are null."""
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii, separators=separators, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(value), parse_constant=lambda constant: None)
        return json.dumps(finite, ensure_ascii=ensure_ascii, separators=separators)


# -- JSON lines, Parquet ----------------------------------------------------------------------------------


def _write_lines(path: Path, rows: Iterator[Cells], columns: _Columns) -> None:
    """Rows as they were answered: an answer is one value, whatever it is."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            shown = {name: row.get(name) for name in _BEFORE}
            shown["output"] = _answer_of(row)
            shown |= {name: row.get(name) for name in (*_AFTER, *columns.rare)}
            file.write(_json(shown, ensure_ascii=True) + "\n")


def _write_parquet(path: Path, rows: Iterator[Cells], columns: _Columns) -> None:
    """By way of typed pieces on the disk: a text in between would have to be read again, and knows no NaN."""
    polars = _polars()
    types = {"bool": polars.Boolean, "int": polars.Int64, "float": polars.Float64}
    kinds = {name: columns.kind(name) for name in columns.names}
    headings = _headings(kinds)
    schema = {headings[name]: types.get(kind, polars.String) for name, kind in kinds.items()}
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        pieces: list[Path] = []
        cells = map(columns.cells, rows)
        while (piece := list(islice(cells, _PIECE))) or not pieces:
            columns_of_piece = {
                headings[name]: [_typed(row.get(name), kind) for row in piece] for name, kind in kinds.items()
            }
            pieces.append(Path(folder) / f"{len(pieces)}.arrow")
            polars.DataFrame(columns_of_piece, schema=schema).write_ipc(pieces[-1])
        polars.scan_ipc(pieces).sink_parquet(path)


def _typed(value: Any, kind: str) -> Any:
    """A value as its column has it."""
    if value is None:
        return None
    if kind == "float":
        return float(value)
    return value if kind in ("bool", "int") else _utf8(_as_text(value))


def _headings(names: Collection[str]) -> dict[str, str]:
    """What stands above each column: no two the same, although half a surrogate pair is no UTF-8."""
    headings = {name: name for name in names if _utf8(name) == name}
    taken = set(headings)
    for name in names:
        if name not in headings:
            tries = (f"{_utf8(name)} ({n})" if n > 1 else _utf8(name) for n in count(1))
            headings[name] = next(heading for heading in tries if heading not in taken)
            taken.add(headings[name])
    return headings


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


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
