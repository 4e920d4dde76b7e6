"""Rows as a file: whole, typed, without a spreadsheet's formulas; all of it or nothing."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from po_jupyter.client.row_export import RowsWanted, check_target, export_rows
from po_jupyter.errors import InvalidInput, NotFound, PoError


def row(index: int, output: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "index": index, "state": "done", "input": {"text": f"row {index}"}, "output": output, "error": None,
        "attempts": 1, "tokens": 5, "cost_usd": 0.25, "seconds": 0.5, "model": "m", "flags": [], "clipped": False,
        **more,
    }  # fmt: skip


class Table:
    """The rows of a run, in pages of two; rows that are clipped are whole when they are asked for one by one."""

    def __init__(self, rows: list[dict[str, Any]], left: int = 0) -> None:
        """`left`: answers for which there is no time to look at all rows."""
        self.all, self.left = rows, left
        self.whole: list[int] = []
        self.inspection = self

    async def rows(self, run: str, task: str, *, start: int, limit: int, **query: Any) -> dict[str, Any]:
        if start >= 4 and any(one["output"] == "breaks" for one in self.all):
            raise NotFound("gone")
        end = start + 2
        self.left -= 1
        return {
            "rows": self.all[start:end], "next": end if end < len(self.all) else None, "complete": self.left < 0,
        }  # fmt: skip

    async def row(self, run: str, task: str, index: int) -> dict[str, Any]:
        self.whole.append(index)
        return {**self.all[index], "output": "x" * 5000, "clipped": False}


async def exported(table: Table, path: Path) -> int:
    return await export_rows(table, "r", RowsWanted("label"), path)  # type: ignore[arg-type]


MIXED = [
    row(0, {"label": "bug", "score": 1, "sure": True}),
    row(1, {"label": "=1+1", "score": 0.5, "tags": ["a", "b"]}),
    row(2, "x" * 2000, clipped=True),
    row(3, None, state="failed", error={"message": "-no", "code": "x"}, cost_usd=None, model=None),
    row(4, {"label": "-3.5"}),
]


async def test_a_formula_behind_a_nul_is_none_either(tmp_path: Path) -> None:
    """Spreadsheets leave the NUL out."""
    await exported(Table([row(0, "\0=1+1")]), tmp_path / "rows.csv")
    assert "'\0=1+1" in (tmp_path / "rows.csv").read_text()


async def test_csv_has_a_column_for_each_field_and_no_formula(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    table = Table(MIXED)
    assert await exported(table, path) == 5
    assert path.read_bytes().startswith(b"\xef\xbb\xbfindex,state,input,output,output.label")
    with path.open(encoding="utf-8-sig", newline="") as file:
        read = list(csv.DictReader(file))
    assert [one["output.label"] for one in read] == ["bug", "'=1+1", "", "", "-3.5"]
    assert [one["output.tags"] for one in read][:2] == ["", '["a","b"]']
    assert read[0]["output.sure"] == "true" and read[0]["input"] == '{"text":"row 0"}'
    assert (table.whole, read[2]["output"]) == ([2], "x" * 5000)
    assert (read[3]["error"], read[3]["cost_usd"], read[3]["state"]) == ("'-no", "", "failed")


async def test_votes_have_columns_where_there_were_any(tmp_path: Path) -> None:
    table = Table([row(0, {"label": "bug"}, agreement=2 / 3, votes=2), row(1, {"label": "bug"})])
    await exported(table, tmp_path / "rows.csv")
    heading, voted, plain = (tmp_path / "rows.csv").read_text(encoding="utf-8-sig").splitlines()
    assert heading.endswith(",model,agreement,votes")
    assert voted.endswith(",0.6666666666666666,2")
    assert plain.endswith(",,")


async def test_parquet_has_types(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    path = tmp_path / "rows.parquet"
    assert await exported(Table(MIXED), path) == 5
    frame = polars.read_parquet(path)
    assert frame["index"].to_list() == [0, 1, 2, 3, 4]
    assert frame.schema["output.score"] == polars.Float64
    assert frame.schema["output.sure"] == polars.Boolean
    assert frame.schema["tokens"] == polars.Int64
    assert frame["output.label"].to_list() == ["bug", "=1+1", None, None, "-3.5"]
    assert frame["output.tags"].to_list()[1] == '["a","b"]'
    assert frame["output"].to_list()[2] == "x" * 5000


async def test_numbers_and_texts_in_one_column_are_texts(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    path = tmp_path / "rows.parquet"
    await exported(Table([row(0, 1), row(1, "one"), row(2, 2**70), row(3, "\ud800")]), path)
    assert polars.read_parquet(path)["output"].to_list() == ["1", "one", str(2**70), "?"]


async def test_no_rows_are_a_file_with_its_columns(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    assert await exported(Table([]), tmp_path / "rows.parquet") == 0
    assert polars.read_parquet(tmp_path / "rows.parquet").columns[:4] == ["index", "state", "input", "output"]
    await exported(Table([]), tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text("utf-8-sig").startswith("index,state,input,output,error")


async def test_lines_keep_answers_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    await exported(Table(MIXED), path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[1]["output"] == {"label": "=1+1", "score": 0.5, "tags": ["a", "b"]}
    assert lines[3]["output"] is None


async def test_an_export_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("before")
    with pytest.raises(NotFound):
        await exported(Table([row(n, "breaks") for n in range(6)]), path)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"]


def test_what_cannot_be_written_is_said_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match=r"\.csv, \.jsonl, \.parquet, not '.xlsx'"):
        check_target("rows.xlsx")
    with pytest.raises(InvalidInput, match="no directory"):
        check_target(tmp_path / "nowhere" / "rows.csv")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(PoError, match="polars, which is not installed") as refused:
        check_target(tmp_path / "rows.parquet")
    assert "po_jupyter[parquet]" in refused.value.hint
    check_target(tmp_path / "rows.csv")


async def test_a_search_that_takes_long_is_gone_on_with(tmp_path: Path) -> None:
    """An answer of what was looked at so far is no file of the rows that match."""
    path = tmp_path / "rows.jsonl"
    assert await exported(Table(MIXED, left=3), path) == 5
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [0, 1, 2, 3, 4]
    with pytest.raises(PoError, match="does not come to their end"):
        await exported(Table(MIXED, left=10**9), tmp_path / "never.csv")
    assert not (tmp_path / "never.csv").exists()


async def test_an_answer_without_a_field_stays_an_object(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    await exported(Table([row(0, {}), row(1, {"a": 1}), row(2, None)]), path)
    assert [json.loads(line)["output"] for line in path.read_text().splitlines()] == [{}, {"a": 1}, None]
    await exported(Table([row(0, {}), row(1, {"a": 1})]), tmp_path / "rows.csv")
    lines = list(csv.DictReader((tmp_path / "rows.csv").read_text("utf-8-sig").splitlines()))
    assert [(one["output"], one["output.a"]) for one in lines] == [("{}", ""), ("", "1")]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
async def test_answers_whose_fields_are_all_different_are_one_column(tmp_path: Path, kind: str) -> None:
    """600 rows of 20 fields each would be a table of 12,000 columns."""
    polars = pytest.importorskip("polars")
    path = tmp_path / f"rows.{kind}"
    answers: list[dict[str, Any]] = [{f"{n} {m}": m for m in range(20)} for n in range(40)]
    await exported(Table([*(row(n, answer) for n, answer in enumerate(answers)), row(40, "none")]), path)
    frame = polars.read_csv(path) if kind == "csv" else polars.read_parquet(path)
    assert frame.width == 10
    assert [json.loads(text) for text in frame["output"].to_list()[:40]] == answers


async def test_a_csv_with_half_a_surrogate_pair_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    await exported(Table([row(0, "a\ud800b")]), path)
    assert "a?b" in path.read_text("utf-8-sig")


async def test_a_file_that_cannot_be_written_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(InvalidInput, match="is a directory"):
        check_target(tmp_path / "rows.csv")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(PoError, match=r"other\.csv' cannot be written: No space left"):
        await exported(Table(MIXED), tmp_path / "other.csv")


NAN, INF = float("nan"), float("inf")


async def test_parquet_keeps_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    """NaN and infinities in a column of numbers, among texts, and inside of a value."""
    polars = pytest.importorskip("polars")
    path = tmp_path / "rows.parquet"
    answers = [
        {"n": NAN, "mixed": INF, "deep": [1]},
        {"n": -INF, "mixed": "x", "deep": [NAN]},
        {"n": 1},
        {"n": None},
    ]
    await exported(Table([row(index, answer) for index, answer in enumerate(answers)]), path)
    frame = polars.read_parquet(path)
    assert [str(value) for value in frame["output.n"]] == ["nan", "-inf", "1.0", "None"]
    assert frame["output.mixed"].to_list() == ["Infinity", "x", None, None]
    assert frame["output.deep"].to_list() == ["[1]", "[null]", None, None]


async def test_columns_of_parquet_keep_their_types_whatever_the_rows_have(tmp_path: Path) -> None:
    """Files of several runs are put together: no row, or none with a cost, makes no column of text."""
    polars = pytest.importorskip("polars")
    failed = row(0, None, state="failed", tokens=None, cost_usd=None, seconds=None, model=None)
    schemas = []
    for number, rows in enumerate([[], [failed], [row(0, "x", cost_usd=0)], [row(0, "x", tokens=2**70)]]):
        path = tmp_path / f"{number}.parquet"
        await exported(Table(rows), path)
        schemas.append(polars.read_parquet_schema(path))
    for schema in schemas[:3]:
        kinds = {name: schema[name] for name in ("index", "attempts", "tokens", "cost_usd", "seconds", "model")}
        whole, real = polars.Int64, polars.Float64
        assert list(kinds.values()) == [whole, whole, whole, real, real, polars.String]
    assert schemas[3]["tokens"] == polars.String, "more than a column of numbers takes"


async def test_whole_numbers_in_parquet_are_exact(tmp_path: Path) -> None:
    """Beside fractions a number of more than 53 bits would be another one: such a column is text."""
    polars = pytest.importorskip("polars")
    path = tmp_path / "rows.parquet"
    answers = [
        {"id": 2**53 + 1, "both": 2**53 + 1, "ends": -(2**63)},
        {"id": 1, "both": 0.5, "ends": 2**63 - 1},
    ]
    await exported(Table([row(index, answer) for index, answer in enumerate(answers)]), path)
    frame = polars.read_parquet(path)
    assert frame["output.id"].to_list() == [2**53 + 1, 1]
    assert frame["output.both"].to_list() == [str(2**53 + 1), "0.5"]
    assert frame["output.ends"].to_list() == [-(2**63), 2**63 - 1]


async def test_fields_whose_names_look_alike_have_a_column_each(tmp_path: Path) -> None:
    """Half a surrogate pair is no UTF-8: two such names, and one that is what becomes of them."""
    polars = pytest.importorskip("polars")
    answer = {"a\ud800": 1, "a" + chr(0xD801): 2, "a?": 3, "": 4, "input": 5, "A?": 6}
    path = tmp_path / "rows.parquet"
    await exported(Table([row(0, answer)]), path)
    frame = polars.read_parquet(path)
    fields = {name: frame[name].item() for name in frame.columns if name.startswith("output.")}
    assert sorted(fields.values()) == [1, 2, 3, 4, 5, 6]
    assert fields["output.a?"] == 3 and fields["output."] == 4
    await exported(Table([row(0, answer)]), tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(encoding="utf-8-sig", newline="") as file:
        read = next(csv.DictReader(file))
    assert sorted(value for name, value in read.items() if name.startswith("output.")) == list("123456")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(answers=st.lists(_JSON, max_size=6))
@settings(max_examples=60, deadline=None)
async def test_any_answers_are_a_file_that_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, answers: list[Any]
) -> None:
    """Whatever models answered: no row is lost, in no kind of file."""
    polars = pytest.importorskip("polars")
    folder = tmp_path_factory.mktemp("any")
    table = Table([row(index, answer) for index, answer in enumerate(answers)])
    for kind in ("parquet", "csv", "jsonl"):
        assert await exported(table, folder / f"rows.{kind}") == len(answers)
    assert polars.read_parquet(folder / "rows.parquet")["index"].to_list() == list(range(len(answers)))
    with (folder / "rows.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(answers)
    lines = (folder / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=no_json)["index"] for line in lines] == list(range(len(answers)))


def no_json(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")
