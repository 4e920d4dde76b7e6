"""Frames of real runs: each answer stands beside the row that it is about, whatever the table's index is."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pytest

from po_jupyter.client.client import Client
from po_jupyter.client.frames import pandas_frame, polars_frame
from po_jupyter.client.http.transport import Endpoint
from po_jupyter.client.inputs.seeds import seed_of
from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.acceptance

FAILS = """
def inference(ctx):
    if ctx.item["text"] == ctx.seed.get("bad"):
        raise ValueError("told to fail")
    return {"about": ctx.item["text"]}
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path_factory.mktemp("frames"), orchestrator=None)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def client(real: JupyterProcess) -> Iterator[Client]:
    client = Client(Endpoint(real.url, real.token))
    yield client
    client.close()


def pipeline(
    for_each: str = "seed.rows", prompt: str = "{{ item.text }}", *more: dict[str, Any]
) -> dict[str, Any]:
    label = {"name": "label", "for_each": "{{ " + for_each + " }}", "prompt": prompt, "max_concurrency": 20}
    return {"name": "frames", "llm": {"model": "fake:echo"}, "tasks": [label, *more]}


def beside(joined: Any) -> None:
    """Every row of the joined table has the answer about its own text."""
    assert list(joined["output"]) == [f"echo: {text}" for text in joined["text"]]


INDEXES: dict[str, Any] = {
    "strings": ["w", "z", "x", "y"],
    "numbers": [40, 10, 30, 20],
    "a range with a step": pd.RangeIndex(12, 4, -2),
    "a named range": pd.RangeIndex(4, name="ticket"),
    "dates": [dt.date(2026, 1, day) for day in (4, 2, 1, 3)],
    "moments": pd.DatetimeIndex(["2026-01-02", "2026-01-01", "3000-01-01", "1500-01-01"]),
    "moments of a zone, over a change of the clocks": pd.date_range(
        "2026-10-25 00:00", periods=4, freq="h", tz="Europe/Berlin"
    ),
    "moments with an offset": pd.date_range(
        "2026-01-01", periods=4, tz=dt.timezone(dt.timedelta(hours=2)), name="at"
    ),
    "spans": pd.to_timedelta(["2h", "1h", "4h", "3h"]),
    "months": pd.period_range("2026-01", periods=4, freq="M"),
    "intervals": pd.interval_range(0, 4, closed="left"),
    "categories": pd.CategoricalIndex(list("dabc"), categories=list("dcbaz"), ordered=True),
    "two levels": pd.MultiIndex.from_tuples([("a", 2), ("a", 1), ("b", 2), ("b", 1)], names=["group", None]),
    "one level of a MultiIndex": pd.MultiIndex.from_arrays([[4, 1, 3, 2]]),
    "numbers, text and others": [1, "1", Decimal("1.5"), b"x"],
    "nullable numbers": pd.Index([4, None, 2, 1], dtype="Int64", name="n"),
    "numbers with an infinity": [1.5, float("inf"), -1.0, float("nan")],
    "tuples": pd.Index([("a", 1), ("b", 2), ("c", 3), ("d", 4)], tupleize_cols=False),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_an_answer_stands_beside_its_row(kind: str, client: Client) -> None:
    table = pd.DataFrame({"text": list("abcd")}, index=INDEXES[kind])
    run = client.submit(pipeline(), seed=table).wait()
    frame = client.run(run.id).frame("label")
    assert frame.index.equals(table.index), (frame.index, table.index)
    assert frame.index.names == table.index.names
    assert frame.index.dtype == table.index.dtype
    beside(table.join(frame))
    beside(table.iloc[[2, 0, 3, 1]].join(frame))


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"text": list("abcd")}).sort_values("text", ascending=False),
        pd.DataFrame({"text": list("abcdef"), "keep": [0, 1, 0, 1, 1, 0]}).query("keep == 1"),
        pd.DataFrame({"text": list("abcdefgh")}).sample(frac=0.6, random_state=3),
        pd.DataFrame({"text": list("abc")}),
    ],
    ids=["sorted", "filtered", "sampled", "as it was made"],
)
def test_a_table_that_was_sorted_or_filtered_gets_its_own_answers(table: Any, client: Client) -> None:
    """The README's own idiom."""
    frame = client.submit(pipeline(), seed=table).wait().frame("label")
    pd.testing.assert_index_equal(frame.index, table.index)
    beside(table.join(frame))


def test_labels_that_stand_there_twice_come_back_twice(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """After a concat: join() would multiply the rows, which the log says; side by side they fit."""
    table = pd.concat([pd.DataFrame({"text": ["a", "b"]}), pd.DataFrame({"text": ["c", "d"]})])
    run = client.submit(pipeline(), seed=table).wait()
    with caplog.at_level(logging.WARNING, "po_jupyter"):
        frame = run.frame("label")
    assert frame.index.tolist() == [0, 1, 0, 1]
    assert "join() puts each answer beside every row" in caplog.text
    beside(pd.concat([table, frame], axis=1))


def test_a_series_keeps_its_index(client: Client) -> None:
    series = pd.Series(["a", "b", "c"], index=["z", "x", "y"], name="text")
    frame = client.submit(pipeline(prompt="{{ item }}"), seed=series).wait().frame("label")
    beside(series.to_frame().join(frame))


def test_tables_inside_of_a_seed_keep_theirs(client: Client) -> None:
    """Each its own: `{"rows": df, ...}` is a seed as well."""
    left = pd.DataFrame({"text": ["a", "b"]}, index=["x", "y"])
    right = pd.DataFrame({"text": ["c", "d"]}, index=[7, 5])
    other = {"name": "other", "for_each": '{{ seed["tables"].right }}', "prompt": "{{ item.text }}"}
    seed = {"rows": left, "tables": {"right": right}, "lang": "en"}
    run = client.submit(pipeline("seed.rows", "{{ item.text }}", other), seed=seed).wait()
    beside(left.join(run.frame("label")))
    beside(right.join(run.frame("other")))


def test_the_index_is_no_name_of_templates(client: Client) -> None:
    """What a table is called is not what a task sees."""
    table = pd.DataFrame({"text": ["a"]}, index=["secret"])
    keys = {"name": "keys", "prompt": "{{ seed | list }} {{ seed.rows[0] | list }}"}
    assert client.submit(pipeline("seed.rows", "{{ item.text }}", keys), seed=table).wait().outputs["keys"] == (
        'echo: ["rows"] ["text"]'
    )


@pytest.mark.parametrize("size", [20, 3000], ids=["in the request", "as files"])
def test_a_large_table_keeps_its_index(size: int, client: Client, real: JupyterProcess) -> None:
    """Rows and labels travel as files, and `limit` takes the first of both."""
    names = [f"ticket {n:05} {'x' * 40}" for n in range(size, 0, -1)]
    table = pd.DataFrame({"text": [f"{n} " + "word " * 100 for n in range(size)]}, index=names)
    run = client.submit(pipeline(prompt="{{ item.text[:9] }}"), seed=table, limit=7).wait()
    frame = run.frame("label")
    assert frame.index.tolist() == names[:7]
    assert [text.split()[1] for text in frame["output"]] == [str(n) for n in range(7)]
    level = client.run(run.id).view.seed["index"]["rows"]["levels"][0]
    assert ("$rows" in level["values"]) == (size == 3000)


def test_the_index_outlives_the_server(tmp_path: Any) -> None:
    """Kept with the run: another kernel, another server."""
    table = pd.DataFrame(
        {"text": list("abc")}, index=pd.date_range("2026-01-01", periods=3, tz="Asia/Tokyo")[::-1]
    )
    with_server = JupyterProcess(tmp_path / "one", orchestrator=None)
    first = Client(Endpoint(with_server.url, with_server.token))
    run = first.submit(pipeline(), seed=table).wait()
    first.close()
    with_server.stop()
    again = JupyterProcess(tmp_path / "two", orchestrator=None, env={"PO_DATA_DIR": str(with_server.data)})
    second = Client(Endpoint(again.url, again.token))
    beside(table.join(second.run(run.id).frame("label")))
    second.close()
    again.stop()


FILTERED = {
    "rows that a filter selects": 'seed.rows | selectattr("urgent") | list',
    "their texts": 'seed.rows | selectattr("urgent") | map(attribute="text") | list',
    "texts that are selected": 'seed.rows | map(attribute="text") | select("in", ["a", "c", "d"]) | list',
    "sorted rows": 'seed.rows | sort(attribute="text", reverse=true)',
    "a part of them": "seed.rows[1:4]",
    "one on a condition": "seed.rows[:2] if seed.rows | length > 3 else seed.rows",
    "every one once": 'seed.rows | map(attribute="text") | unique | list',
    "their texts alone": 'seed.rows | map(attribute="text")',
}


@pytest.mark.parametrize("kind", FILTERED)
@pytest.mark.parametrize("index", [["w", "z", "x", "y"], None], ids=["labels", "no labels"])
def test_a_map_over_some_of_the_rows_has_their_labels(kind: str, index: Any, client: Client) -> None:
    """What `for_each` selects or sorts is still rows of the table."""
    table = pd.DataFrame({"text": list("cdab"), "urgent": [True, False, True, True]}, index=index)
    item = "{{ item if item is string else item.text }}"
    frame = client.submit(pipeline(FILTERED[kind], item), seed=table).wait().frame("label")
    assert len(frame) in (2, 3, 4)
    beside(table.join(frame, how="inner"))
    assert len(table.join(frame, how="inner")) == len(frame)


@pytest.mark.parametrize(
    "for_each",
    ["tasks.label", 'tasks.label | selectattr("ok") | map(attribute="output") | list', 'tasks["label"]'],
)
def test_a_map_over_an_earlier_map_has_the_labels_of_its_rows(for_each: str, client: Client) -> None:
    table = pd.DataFrame({"text": list("abcd")}, index=list("wzxy"))
    output = "{{ item.output if item is mapping else item }}"
    second = {"name": "second", "for_each": "{{ " + for_each + " }}", "prompt": output}
    run = client.submit(pipeline("seed.rows[1:]", "{{ item.text }}", second), seed=table).wait()
    frame = run.frame("second")
    assert frame.index.tolist() == ["z", "x", "y"]
    assert frame["output"].tolist() == [f"echo: echo: {text}" for text in "bcd"]


def test_rows_that_are_none_of_the_tables_are_numbered(client: Client) -> None:
    """Nothing pretends to be a row of the table."""
    table = pd.DataFrame({"text": list("abcd")}, index=list("wzxy"))
    for for_each in ("range(3) | list", "seed.rows | batch(2) | list", '["a", "b"]', "seed.rows | list + [1]"):
        frame = client.submit(pipeline(for_each, "{{ item }}"), seed=table).wait().frame("label")
        assert frame.index.tolist() == list(range(len(frame))), for_each


def test_failed_rows_that_are_tried_again_keep_their_labels(client: Client) -> None:
    table = pd.DataFrame({"text": list("abcd")}, index=list("wzxy"))
    task = {"name": "label", "for_each": "{{ seed.rows[1:] }}", "source": FAILS, "retry": {"max_attempts": 1}}
    run = client.submit({"name": "fails", "tasks": [task]}, seed={"rows": table, "bad": "c"}).wait()
    frame = run.frame("label")
    assert frame.index[~frame["ok"]].tolist() == ["x"]
    run.resume(only_failed=True).wait()
    frame = run.frame("label")
    assert table.join(frame, how="inner").query("ok").eval("text == about").all()
    assert frame.index.tolist() == ["z", "x", "y"]


def test_a_fork_keeps_the_labels_of_the_rows_that_it_takes_over(client: Client) -> None:
    """With another seed too: the answers taken over are about the rows of the old one."""
    table = pd.DataFrame({"text": list("abcd")}, index=list("wzxy"))
    end = {"name": "end", "prompt": "{{ tasks.label | length }}"}
    last = {"name": "last", "for_each": "{{ seed.rows }}", "prompt": "{{ item.text }}", "needs": ["end"]}
    run = client.submit(pipeline("seed.rows[1:]", "{{ item.text }}", end, last), seed=table).wait()
    beside(table.join(run.fork("end").wait().frame("label"), how="inner"))
    other = pd.DataFrame({"text": list("efgh")}, index=[4, 3, 2, 1])
    for forked in (run.fork("end", seed=other).wait(), run.fork("end", seed=other).wait().fork("end").wait()):
        assert forked.frame("label").index.tolist() == ["z", "x", "y"]
        beside(other.join(forked.frame("last")))
    twice = run.fork("end", seed=other).wait().fork("last", seed=table).wait()
    assert twice.frame("label").index.tolist() == ["z", "x", "y"]
    beside(table.join(twice.frame("last")))


def test_reused_rows_have_the_labels_of_their_new_table(client: Client) -> None:
    """Paid for by another run, in another order."""
    table = pd.DataFrame({"text": ["one", "two", "three"]}, index=list("abc"))
    client.submit(pipeline(), seed=table).wait()
    again = table.iloc[::-1].set_axis([9, 8, 7])
    run = client.submit(pipeline(), seed=again).wait()
    assert run.view.tasks[0].items is not None and run.view.tasks[0].items.reused == 3
    beside(again.join(run.frame("label")))


def test_rows_over_http_have_their_labels(client: Client) -> None:
    """An index in the envelope itself, and JSON all the way."""
    index = {"rows": {"levels": [{"name": "id", "type": "str", "values": ["x", "y"]}]}}
    seed = {"name": "s", "data": {"rows": [{"text": "a"}, {"text": "b"}]}, "index": index}
    view = client.call(client.aio.submit({"pipeline": pipeline(), "seed": seed}))
    run = client.run(view.id).wait()
    assert [(row["of"], row["label"]) for row in run.items("label")] == [("rows", "x"), ("rows", "y")]
    assert json.dumps(run.items("label"))
    assert run.frame("label").index.to_list() == ["x", "y"] and run.frame("label").index.name == "id"
    (row,) = client.submit(pipeline(), [{"text": "a"}]).wait().items("label")
    assert not row.keys() & {"row", "of", "label"}


def test_a_frame_of_polars_joins_the_table_that_was_the_seed(client: Client) -> None:
    """polars has no index: the number of a row, as it counts them itself."""
    table = pl.DataFrame({"text": list("dbca")}).sort("text", descending=True)
    run = client.submit(pipeline("seed.rows[1:]"), seed=table).wait()
    joined = table.with_row_index().join(run.frame("label", "polars"), on="index")
    assert joined.height == 3
    beside(joined)
    assert run.frame("label").index.tolist() == [1, 2, 3]


def test_a_frame_of_polars_has_the_labels_of_pandas_as_columns(client: Client) -> None:
    def columns(index: Any) -> dict[str, list[Any]]:
        table = pd.DataFrame({"text": ["a", "b"]}, index=index)
        frame = client.submit(pipeline(), seed=table).wait().frame("label", "polars")
        return {name: frame[name].to_list() for name in frame.columns[: frame.columns.index("output")]}

    assert columns(["x", "y"]) == {"index": ["x", "y"]}
    assert columns(pd.Index([5, 3], name="id")) == {"id": [5, 3]}
    pairs = pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["a", None])
    assert columns(pairs) == {"a": ["x", "y"], "level_1": [1, 2]}
    days = pd.DatetimeIndex(["2026-01-02", "2026-01-01"])
    assert columns(days) == {"index": [dt.datetime(2026, 1, 2), dt.datetime(2026, 1, 1)]}


def test_the_frame_of_a_map_on_its_way_has_the_labels_of_the_rows_so_far(client: Client) -> None:
    table = pd.DataFrame({"text": list("abc")}, index=list("zyx"))
    slow = {"name": "label", "for_each": "{{ seed.rows }}", "max_concurrency": 1, "source": SLOW}
    run = client.submit({"name": "slow", "tasks": [slow]}, seed=table)
    for _ in run.follow():
        frame = run.frame("label")
        assert frame.index.tolist() == ["z", "y", "x"][: len(frame)]
    assert len(run.frame("label")) == 3


SLOW = """
import asyncio
async def inference(ctx):
    await asyncio.sleep(0.3)
    return ctx.item["text"]
"""


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_says_where_each_answer_is_from(client: Client, library: Any) -> None:
    """G23: model, prompt hash, time, attempt, and the run that paid."""
    seed = [{"text": f"{library} {n}"} for n in range(3)]
    first = client.submit(pipeline(), seed=seed).wait()
    frame = first.frame("label", library, provenance=True)
    assert list(frame["model"]) == ["echo"] * 3 or set(frame["model"]) == {"fake:echo"}
    assert len(set(frame["prompt_hash"])) == 3
    assert list(frame["attempt"]) == [1, 1, 1]
    assert all(moment.tzinfo is not None for moment in frame["asked_at"])
    assert set(frame["reused_from"]) <= {None}
    again = client.submit(pipeline(), seed=[*seed, {"text": f"{library} new"}]).wait()
    frame = again.frame("label", library, provenance=True)
    assert list(frame["reused_from"])[:3] == [f"{first.id}/label/{n}" for n in range(3)]
    assert list(frame["cost"]) == [0, 0, 0, 0]
    assert list(frame["prompt_hash"])[:3] == list(first.frame("label", library, provenance=True)["prompt_hash"])
    assert "model" not in first.frame("label", library).columns


def test_votes_are_columns_of_the_frame(client: Client) -> None:
    """`agreement` is the part of all votes that agree."""
    pipeline = {
        "name": "votes", "llm": {"model": "fake:echo"},
        "tasks": [{"name": "m", "for_each": "{{ seed.rows }}", "prompt": "{{ item.text }}",
                   "votes": {"n": 3, "stop_early": True}}],
    }  # fmt: skip
    run = client.submit(pipeline, seed=pd.DataFrame({"text": ["a", "b"]}, index=["x", "y"])).wait()
    frame = run.frame("m")
    assert list(frame.index) == ["x", "y"]
    assert frame["agreement"].tolist() == pytest.approx([2 / 3, 2 / 3], abs=1e-6)
    assert frame["votes"].tolist() == [2, 2]
    assert [row["agreement"] for row in run.items("m")] == frame["agreement"].tolist()


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_vectors_are_a_column_of_the_frame(kind: str, client: Client) -> None:
    texts = ["one two", "three", "two one"]
    table = (
        pd.DataFrame({"text": texts}, index=["a", "b", "c"])
        if kind == "pandas"
        else pl.DataFrame({"text": texts})
    )
    embed = {"name": "v", "for_each": "{{ seed.rows }}", "embed": "{{ item.text }}"}
    unique = {**embed, "name": "u", "distinct": {"similarity": 0.9}}
    definition = {"name": "vectors", "llm": {"model": "fake:echo"}, "tasks": [embed, unique]}
    run = client.submit(definition, seed={"rows": table}).wait()
    vectors = list(run.frame("v")["output"])
    assert [len(vector) for vector in vectors] == [64, 64, 64]
    assert list(vectors[0]) == list(vectors[2]) != list(vectors[1])
    assert list(run.frame("u")["count"]) == [2, 1]


def test_rows_of_operators_have_the_index_of_the_table(client: Client) -> None:
    """A row that passes where, unnest and group_by is known by its label all the way."""
    table = pd.DataFrame({"n": [1, 2, 3], "tags": [["x"], ["x", "y"], []]}, index=["w", "y", "z"])
    tasks = [
        {"name": "keep", "for_each": "{{ seed.rows }}", "where": "{{ item.n > 1 }}"},
        {"name": "each", "for_each": "{{ tasks.keep }}", "unnest": "tags"},
        {
            "name": "by",
            "for_each": "{{ tasks.each }}",
            "group_by": "{{ item.tags }}",
            "prompt": "{{ item.key }}",
        },
        {"name": "best", "for_each": "{{ seed.rows }}", "top_k": {"k": 2, "by": "{{ item.n }}"}},
        {
            "name": "both",
            "for_each": "{{ tasks.keep }}",
            "join": {"to": "{{ seed.rows }}", "key": "{{ item.n }}"},
        },
    ]
    run = client.submit(
        {"name": "operators", "llm": {"model": "fake:echo"}, "tasks": tasks}, seed={"rows": table}
    )
    run.wait()
    assert list(run.frame("keep").index) == ["y", "z"]
    assert list(run.frame("each").index) == ["y", "y"]
    by = run.frame("by")
    assert (list(by["key"]), list(by["rows"]), list(by["output"])) == (
        ["x", "y"],
        [["y"], ["y"]],
        ["echo: x", "echo: y"],
    )
    assert (list(run.frame("best").index), list(run.frame("best")["rank"])) == (["z", "y"], [1, 2])
    assert list(run.frame("both")["right_row"]) == [1, 2]
    assert run.frame("each", "polars").columns == ["index", "n", "tags"]
    assert run.outputs["keep"] == [{"n": 2, "tags": ["x", "y"]}, {"n": 3, "tags": []}]


def test_a_whole_number_beside_a_row_without_one_keeps_all_its_digits() -> None:
    """A float has 53 bits: an id of 17 digits would be another one. Small numbers are floats with NaN, as ever."""
    usage: Any = {"usage": {}, "error": None}
    rows: Any = [
        {"index": 0, "ok": True, "output": {"id": 9007199254740993, "n": 3}, **usage},
        {"index": 1, "ok": False, "output": None, **usage},
    ]
    frame = pandas_frame(pd, rows, None)
    assert int(frame["id"][0]) == 9007199254740993 and pd.isna(frame["id"][1])
    assert frame["n"].dtype == "float64"


def test_no_field_of_an_answer_takes_the_place_of_another() -> None:
    """The field `error` is the column `output_error`, where another field was called so already."""
    output = {"error": 1, "output_error": 2, "output_output_error": 3, "output_note": 4}
    row: Any = {"index": 0, "ok": True, "output": output, "error": None, "usage": {}}
    cells = pandas_frame(pd, [row], None).iloc[0]
    names = ["output_error", "output_output_error", "output_output_output_error", "output_note"]
    assert [cells[name] for name in names] == [1, 2, 3, 4]
    assert cells["error"] is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10**40, 1], [str(10**40), "1"]),
        ([2**53 + 1, 1.5], [str(2**53 + 1), "1.5"]),
        ([{"a": 1}, 2, None], ['{"a": 1}', "2", None]),
        (["x", {"a": [True]}], ["x", '{"a": [true]}']),
        ([[2**53 + 1], [1.5]], [f"[{2**53 + 1}]", "[1.5]"]),
        ([{"a": 1}, {"b": "x"}], [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
        ([[1], ["a"], []], [["1"], ["a"], []]),
        ([1, "a", None], ["1", "a", None]),
        ([1, 2.5], [1.0, 2.5]),
    ],
)
def test_a_column_of_polars_has_every_value(values: Any, expected: Any) -> None:
    """polars makes null of what does not fit the type that it chose, and rounds."""
    rows: list[Any] = [{"index": i, "ok": True, "output": {"v": v}} for i, v in enumerate(values)]
    assert polars_frame(pl, rows, None)["v"].to_list() == expected


MOMENT = dt.datetime(2020, 1, 1)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([MOMENT, MOMENT.replace(tzinfo=dt.UTC)], ["2020-01-01 00:00:00", "2020-01-01 00:00:00+00:00"]),
        ([1, dt.date(2020, 1, 1)], ["1", "2020-01-01"]),
        ([pd.NA, 1], [None, 1]),
        ([pd.NaT, "x"], [None, "x"]),
        (["\ud800x", "y"], ["?x", "y"]),
        ([("a", 1), ("b", 2)], [["a", "1"], ["b", "2"]]),
    ],
)  # fmt: skip
def test_labels_that_polars_has_no_type_for_are_text(labels: Any, expected: list[Any]) -> None:
    seed = seed_of(
        {"rows": pd.DataFrame({"t": [1, 2]}, index=pd.Index(labels, dtype=object, tupleize_cols=False))}, "t"
    )
    assert seed.index is not None
    spec = seed.index["rows"]
    kept = json.loads(json.dumps(spec["levels"][0]["values"]))
    rows: list[Any] = [{"index": i, "ok": True, "output": i, "label": label} for i, label in enumerate(kept)]
    assert polars_frame(pl, rows, spec)["index"].to_list() == expected


@pytest.mark.parametrize("name", ["error", "ok", "cost"])
def test_an_index_called_like_a_column_of_ours_has_a_column_of_its_own(name: str) -> None:
    """polars refused two columns of one name with an error of its own."""
    rows: list[Any] = [{"index": 0, "ok": True, "output": {f"index_{name}": 1}, "label": "a", "error": None}]
    spec = {"levels": [{"name": name, "type": "object", "values": ["a"]}]}
    frame = polars_frame(pl, rows, spec)
    assert frame.columns[:2] == [f"index_index_{name}", f"index_{name}"]
    assert frame[frame.columns[0]].to_list() == ["a"]
