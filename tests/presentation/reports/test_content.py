"""G13: what a report says, in the words and numbers of every other face."""

from __future__ import annotations

from po_jupyter.presentation.reports.content import ReportRows, clipped, left_out_text, row_cells
from tests.support.report_content import EVIL, content, row


def test_facts_tasks_and_prompts() -> None:
    report = content()
    facts = dict(report.facts())
    assert facts["State"] == "done"
    assert facts["Used"] == "18.2k tokens · $0.043 of $2.00"
    assert facts["Took"] == "41.5 s"
    assert facts["Report of"] == "2027-01-15T08:00:00+00:00"
    extract, label = report.tasks()
    assert (extract.model, extract.calls, extract.cost) == ("python", "", "")
    assert (label.model, label.rows, label.cost) == ("openai:gpt-5-mini", "4/4 rows · 1 failed", "$0.043")
    assert [(task, kind) for task, kind, _ in report.prompts()] == [
        ("extract", "source"), ("label", "system"), ("label", "prompt"),
    ]  # fmt: skip
    assert any("1 of 4 rows" in problem for problem in report.problems())


def test_a_run_with_options_is_reported_with_them() -> None:
    """`--model` is in the place of every model that the pipeline names."""
    report = content(options={"limit": 10, "model": "openai:cheap"})
    assert [task.model for task in report.tasks()] == ["python", "openai:cheap"]
    assert dict(report.facts())["Options"] == "limit 10, model openai:cheap"
    assert "Options" not in dict(content().facts())


def test_how_many_rows_are_left_out_is_said() -> None:
    assert (
        left_out_text(ReportRows([{}] * 3, 1000, 0))
        == "997 of 1,000 rows are left out. All of them: run.frame()."
    )
    assert left_out_text(ReportRows([{}] * 3, 3, 0)) == ""


def test_a_long_value_is_cut_and_says_so() -> None:
    assert clipped("x" * 2000) == "x" * 2000
    assert clipped("x" * 2010).endswith("x… (10 characters left out)")
    assert clipped({"a": None}) == '{"a": null}'


def test_a_row_shows_its_answer_or_its_error() -> None:
    assert row_cells(row(1, {"a": 1})) == ("1", "done", '{"a": 1}', "$0.00012")
    assert row_cells(row(2, error="broke")) == ("2", "failed", "broke", "$0.00012")
    assert row_cells({"index": 3, "ok": False, "error": None, "usage": None}) == ("3", "failed", "failed", "")
    assert row_cells(row(4, EVIL))[2] == EVIL
    assert row_cells({**row(5, "a"), "variant": "short"})[0] == "5 (short)"
