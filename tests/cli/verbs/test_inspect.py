"""`po rows`, `po calls` and `po compare`, of real runs; rows that are asked for again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.client.client import Client
from po_jupyter.client.http.transport import Endpoint
from po_jupyter.client.run import Run
from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.acceptance

FAILS = """
def inference(ctx):
    if ctx.item["n"] == 3:
        raise ValueError("no \x1b[31mluck")
    return ctx.item["n"]
"""
PIPELINE = {
    "name": "inspected", "llm": {"model": "fake:echo"},
    "tasks": [
        {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "Label {{ item.n }}"},
        {"name": "even", "for_each": "{{ seed.rows }}", "where": "{{ item.n % 2 == 0 }}"},
        {"name": "check", "for_each": "{{ seed.rows }}", "source": FAILS, "retry": {"max_attempts": 1}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path_factory.mktemp("inspect"), orchestrator=None)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def run(server: JupyterProcess) -> Iterator[Run]:
    client = Client(Endpoint(server.url, server.token))
    yield client.submit(PIPELINE, seed={"rows": [{"n": n} for n in range(6)]}).wait()
    client.close()


@pytest.fixture(autouse=True)
def _found(server: JupyterProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PO_JUPYTER_URL", server.url)
    monkeypatch.setenv("PO_JUPYTER_TOKEN", server.token)


def test_rows_of_an_operator_are_those_that_it_made(po: Any, run: Run, tmp_path: Path) -> None:
    code, out, _ = po("rows", run.short, "--task", "even")
    assert code == 0 and "pending" not in out
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["0", "0", '{"n":', "0}"], ["1", "2", '{"n":', "2}"], ["2", "4", '{"n":', "4}"],
    ]  # fmt: skip
    _, out, _ = po("rows", run.short, "--task", "even", "--limit", "2")
    assert "--start 2" in out
    _, out, _ = po("rows", run.short, "--task", "even", "--start", "2", "--json")
    assert [row["output"] for row in json.loads(out)["rows"]] == [{"n": 4}]
    code, _, err = po("rows", run.short, "--task", "even", "-o", str(tmp_path / "even.csv"))
    assert code == 2 and 'run.frame("even").to_csv' in err and not (tmp_path / "even.csv").exists()


def test_rows_of_a_map(po: Any, run: Run) -> None:
    code, out, _ = po("rows", run.short, "--task", "label")
    assert code == 0
    assert len(out.splitlines()) == 7
    assert "echo: Label 5" in out
    _, out, _ = po("rows", run.short, "--task", "check", "--failed")
    assert len(out.splitlines()) == 2
    assert "luck" in out and "\x1b" not in out
    page = json.loads(
        po("rows", run.short, "--task", "label", "--sort", "output", "--desc", "--limit", "2", "--json")[1]
    )
    assert [row["index"] for row in page["rows"]] == [5, 4]
    assert page["task"] == "label"
    _, out, _ = po("rows", run.short, "--task", "label", "--limit", "4")
    assert "4 of 6 rows; the next ones: --start 4" in out
    assert "no rows like that" in po("rows", run.short, "--task", "label", "--failed")[1]
    assert len(po("rows", run.short, "--task", "label", "--search", "Label 2")[1].splitlines()) == 2


def test_which_map_is_asked_where_there_are_several(po: Any, run: Run) -> None:
    code, _, err = po("rows", run.short)
    assert code == 2
    assert "its maps: label, even, check" in err and "--task" in err
    code, _, err = po("rows", run.short, "--task", "lable")
    assert code == 2
    assert "did you mean `label`" in err


def test_calls_and_one_of_them(po: Any, run: Run) -> None:
    code, out, _ = po("calls", run.short)
    assert code == 0
    assert len(out.splitlines()) == 7
    page = json.loads(po("calls", run.short, "--row", "2", "--json")[1])
    (call,) = page["calls"]
    code, out, _ = po("calls", run.short, str(call["n"]))
    assert code == 0
    assert "Label 2" in out and "answer:" in out and "echo: Label 2" in out
    assert json.loads(po("calls", run.short, str(call["n"]), "--json")[1])["n"] == call["n"]
    assert "no calls like that" in po("calls", run.short, "--failed")[1]
    assert "the next ones: --start 2" in po("calls", run.short, "--limit", "2")[1]
    code, _, err = po("calls", run.short, "99")
    assert code == 1
    assert "99" in err


def test_two_runs_are_compared_and_chosen_rows_asked_again(po: Any, run: Run) -> None:
    """Issue 10: compare, retry selected; a comparison asks no model."""
    seed = {"rows": [{"n": n} for n in (0, 1, 2, 30, 4, 5)]}
    other = run.client.submit(PIPELINE, seed=seed).wait()
    code, out, _ = po("compare", run.short, other.short, "--task", "label")
    assert code == 0
    assert "5 of 6 answers agree (83%), 1 changed" in out
    assert "echo: Label 3" in out and "echo: Label 30" in out
    answer = json.loads(po("compare", run.short, other.short, "--task", "label", "--all", "--json")[1])
    assert [row["change"] for row in answer["rows"]] == ["changed"] + ["same"] * 5
    comparison = run.compare(other, "label")
    assert len(comparison.changed) == 1
    assert comparison.summary["agreement"] == pytest.approx(5 / 6)
    assert list(comparison.frame()["b_output"]) == ["echo: Label 30"]
    assert comparison.frame("polars")["a_row"].to_list() == [3]
    code, _, err = po("compare", run.short, run.short, "--task", "label")
    assert code == 2 and "with itself" in err

    code, _, err = po("resume", other.short, "--row", "label:2", "--no-follow")
    assert code == 1 and "row 2 of task 'label'" in err and "--include-done" in err
    code, _, err = po("resume", other.short, "--row", "label:77")
    assert code == 2 and "none is 77" in err
    code, out, _ = po("resume", other.short, "--row", "label:1-2", "--include-done", "--json")
    assert code == 0
    assert [row["attempts"] for row in other.rows("label")] == [0, 1, 1, 1, 0, 0], (
        "the others are of the first run"
    )
    other.resume(rows={"label": [0]}, include_done=True).wait()
    assert [row["attempts"] for row in other.rows("label")] == [1, 1, 1, 1, 0, 0]


def test_rows_are_written_to_a_file(po: Any, run: Run, tmp_path: Path) -> None:
    """Issue 10: CSV and Parquet out."""
    code, out, _ = po("rows", run.short, "--task", "check", "--failed", "-o", str(tmp_path / "rows.csv"))
    assert code == 0 and "1 row of check written" in out
    assert "no" in (tmp_path / "rows.csv").read_text("utf-8-sig")
    assert run.save_rows("label", tmp_path / "rows.jsonl", sort="index", desc=True) == 6
    assert json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])["index"] == 5
    code, _, err = po("rows", run.short, "--task", "label", "-o", str(tmp_path / "rows.doc"))
    assert code == 2 and ".parquet" in err


def test_one_row_is_shown_with_what_was_sent(po: Any, run: Run) -> None:
    code, out, _ = po("show", run.short, "--row", "label:2")
    assert code == 0
    assert "label row 2 of run" in out and "user:\nLabel 2" in out and "answer:\necho: Label 2" in out
    row = json.loads(po("show", run.short, "--row", "label:2", "--json")[1])
    assert row["calls"][0]["messages"] == [{"role": "user", "content": "Label 2"}]
    assert row["provenance"]["prompt_hash"] == run.row("label", 2)["provenance"]["prompt_hash"]
    code, out, _ = po("show", run.short, "--row", "check:3")
    assert code == 0 and "luck" in out and "\x1b" not in out
    code, _, err = po("show", run.short, "--row", "label")
    assert code == 2 and "--row TASK:N" in err


def test_runs_and_variants_are_compared_by_what_is_right(po: Any, run: Run) -> None:
    """Issue 13, point 5: no call is sent."""
    rows = [{"n": n, "gold": f"echo: short {n}"} for n in range(6)]
    task = {
        "name": "label", "for_each": "{{ seed.rows }}", "prompt": "Label {{ item.n }}",
        "variants": {"short": {"prompt": "short {{ item.n }}"}, "now": {}},
        "score": {"expect": "{{ item.gold }}", "metrics": ["exact"]},
    }  # fmt: skip
    pipeline = {"name": "beside", "llm": {"model": "fake:echo"}, "tasks": [task]}
    beside = run.client.submit(pipeline, seed={"rows": rows}).wait()
    frame = beside.frame("label")
    assert list(frame["variant"]) == ["short", "now"] * 6
    assert list(frame.index) == [n // 2 for n in range(12)]
    found = beside.compare_variants("label")
    assert (found["short"]["scores"][0]["mean"], found["now"]["scores"][0]["mean"]) == (1.0, 0.0)
    assert list(found.frame()["exact"]) == [1.0, 0.0]
    assert beside.scores("label").names == ["short: exact", "now: exact"]
    code, out, _ = po("compare", beside.short)
    assert code == 0 and "label: 2 variants of 6 rows" in out and "0.031" in out
    assert "variant" in po("rows", beside.short)[1].splitlines()[0]
    lines = po("rows", beside.short, "--variant", "now")[1].splitlines()
    assert len(lines) == 7 and all(" now " in line for line in lines[1:])
    code, _, err = po("rows", beside.short, "--variant", "later")
    assert code == 2 and "no variant is named 'later'" in err and "short, now" in err
    assert beside.row("label", 3)["expected"] == [
        {"scores": ["exact"], "value": "echo: short 1", "problem": None}
    ]
    shown = po("show", beside.short, "--row", "label:3")[1]
    assert re.search(r"expected\s+echo: short 1\n", shown)
    assert po("compare", run.short, "--task", "label")[0] == 2, "it has no variants"

    task = {key: value for key, value in task.items() if key != "variants"}
    a, b = (
        run.client.submit({**pipeline, "tasks": [{**task, **fields}]}, seed={"rows": rows}).wait()
        for fields in ({}, {"prompt": "short {{ item.n }}"})
    )
    code, out, _ = po("compare", a.short, b.short, "--gold", "gold")
    assert code == 0 and "McNemar's p 0.031 (exact)" in out
    assert [score["name"] for score in a.compare(b, gold="gold").summary["scores"]] == ["exact", "right"]
