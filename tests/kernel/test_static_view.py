"""Static tables of a cell: the same words as HTML and as text."""

from __future__ import annotations

from typing import Any

from po_jupyter.kernel import static_view
from po_jupyter.kernel.try_task import Step, Trial
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.presentation import format as fmt
from tests.support.cli import make_view
from tests.support.runs import run_view

NOW = fmt.timestamp("2026-11-22T13:00:00Z")


def lines(bundle: dict[str, str]) -> list[str]:
    assert bundle.keys() == {"text/plain", "text/html"}
    return bundle["text/plain"].splitlines()


def row_of(bundle: dict[str, str], word: str) -> str:
    (line,) = [line for line in lines(bundle) if word in line]
    return line


def test_a_run_has_its_progress_time_and_cost() -> None:
    ended = make_view("failed")
    running = run_view(id="1" * 22, state="running", tasks=[{"name": "a", "state": "skipped"}, {"name": "b"}])
    bundle = static_view.runs([ended, running], now=NOW)
    row = row_of(bundle, ended.id[-6:])
    assert "failed" in row
    assert "1/2" in row
    assert "18.2k" in row
    assert "$0.04" in row
    assert "41" in row, "a run that ended took until its end, and goes on no longer"
    assert "1/2" in row_of(bundle, "running"), "what was skipped is done"
    assert ended.id[-6:] in bundle["text/html"]


def test_no_runs_say_how_to_start_one() -> None:
    assert lines(static_view.runs([])) == ["no runs yet: %%po_pipeline NAME --run starts one"]


def test_a_task_says_what_it_does_and_what_it_comes_after() -> None:
    definition = validate_pipeline({
        "name": "p",
        "llm": {"model": "openai:gpt-5-mini"},
        "tasks": [
            "extract",
            {"name": "own", "source": "def ingestion(ctx): ..."},
            {"name": "label", "prompt": "x", "needs": ["extract"], "for_each": "seed.rows", "gate": True,
             "output": {"type": "object", "properties": {"kind": {}, "why": {}}}},
            {"name": "json", "prompt": "x", "needs": [], "output": {"type": "array"}, "llm": "fake:echo"},
        ],
    })  # fmt: skip
    bundle = static_view.pipeline(definition, True)
    assert "module extract" in row_of(bundle, "module")
    assert "module" not in row_of(bundle, "own")
    label = row_of(bundle, "label ")
    for words in (
        "openai:gpt-5-mini",
        "for each of seed.rows",
        "answers kind, why",
        "then waits for a decision",
    ):
        assert words in label
    assert label.split()[:3] == ["label", "prompt", "extract"]
    assert "answers JSON" in row_of(bundle, "fake:echo")
    assert "—" in row_of(bundle, "fake:echo")
    caption = row_of(bundle, "4 tasks")
    assert "registered" in caption
    assert "%po run p starts it" in caption
    alone = validate_pipeline({"name": "q", "tasks": [{"name": "a", "prompt": "x"}]})
    assert "1 task ·" in "\n".join(lines(static_view.pipeline(alone, False)))
    assert "default model" in row_of(static_view.pipeline(alone, False), "prompt")
    assert "no orchestrator is running" in "\n".join(lines(static_view.pipeline(alone, False)))


def test_failed_rows_are_named_with_where_why_and_what_next() -> None:
    run = make_view("done")
    errors: list[Any] = [
        {"message": "no label", "details": {"stage": "parsing"}}, {"message": "late"}, None, {"message": "<b>"},
    ]  # fmt: skip
    rows: Any = [("label", {"index": i, "error": error}) for i, error in enumerate(errors)]
    bundle = static_view.failures(run, rows, 3)
    assert row_of(bundle, "row 0").split() == ["label", "row", "0", "parsing", "no", "label"]
    assert "row 2" in bundle["text/plain"], "also without a reason"
    assert "row 3" not in bundle["text/plain"]
    caption = row_of(bundle, "failed")
    assert "4 rows failed, the first 3 of them" in caption
    assert "--only-failed" in caption
    assert "show" not in caption, "that is what is shown here"
    whole = static_view.failures(run, rows, 4)
    assert "first" not in whole["text/plain"]
    assert "<b>" not in whole["text/html"].replace("<br>", "")
    assert lines(static_view.failures(run, [], 3)) == [f"nothing failed in run {run.id[-6:]}"]


def test_a_task_that_failed_without_rows_stands_before_the_rows_with_what_to_do() -> None:
    error = {
        "code": "stage_failed",
        "message": "it raised",
        "hint": "Look there.",
        "details": {"stage": "parsing"},
    }
    tasks = [{"name": "extract", "state": "failed", "error": error}, {"name": "b", "state": "done"}]
    run = run_view(state="failed", tasks=tasks)
    rows: Any = [("label", {"index": 0, "error": {"message": "no label"}})]
    bundle = static_view.failures(run, rows, 3)
    text = bundle["text/plain"]
    assert "1 task and 1 row failed" in text
    assert text.index("extract") < text.index("row 0")
    assert "it raised" in text
    assert "Look there." in text
    assert "1 task failed" in static_view.failures(run, [], 3)["text/plain"]


def test_a_tried_task_shows_each_stage_and_no_endless_output() -> None:
    steps = [
        Step("ingestion", 1.5, "text"),
        Step("parsing", 0.0, {"é": object}),
        Step("integration", 0.0, "x" * 501),
    ]
    bundle = static_view.trial("t", Trial(steps, note="no model was asked"))
    assert "text" in row_of(bundle, "ingestion")
    assert '{"é": "<class' in row_of(bundle, "parsing")
    assert row_of(bundle, "integration").rstrip().endswith("x…")
    assert "task t tried here · no model was asked" in bundle["text/plain"]
