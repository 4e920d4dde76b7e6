"""The verbs of `%po` that draw a run, and the terminal's for all others."""

from __future__ import annotations

import re

import click
import pytest

from po_jupyter.client.client import Run
from po_jupyter.client.reviews.row_details import RowDetails
from po_jupyter.kernel import load, unload
from po_jupyter.model.run.view import ItemCounts, TaskView
from tests.presentation.test_row_details import ROW
from tests.support.kernel import Notebook, classifying

GOOD = "tasks:\n  - name: hello\n    prompt: hi {{ seed.text }}\n"


def test_show_brings_the_view_back(notebook: Notebook) -> None:
    text, value = notebook.cell("%po show 7f3a9c")
    assert "run 7f3a9c · running" in text
    assert isinstance(value, Run)
    assert "there is no run nope" in notebook.error("%po show nope")


def test_one_row_is_shown_with_what_was_sent(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "row", lambda self, task, index: RowDetails({**ROW, "task": task, "index": index}))
    text, value = notebook.cell("%po show 7f3a9c --row label:3")
    assert "label row 3, variant short of run" in text and "ab12" in text
    assert value is None
    assert "is no row" in notebook.error("%po show 7f3a9c --row label")


def test_runs_are_a_table(notebook: Notebook) -> None:
    text, _ = notebook.cell("%po runs --state done,failed --limit 5")
    assert re.search(r"run +pipeline +state +tasks", text)
    assert re.search(r"7f3a9c +tickets 1\.0\.0 +▸ running +0/1", text)
    assert notebook.aio.calls[0][1]["states"] == ["done", "failed"]


def test_failed_rows_say_where_and_why(notebook: Notebook) -> None:
    items = ItemCounts(total=30, done=29, failed=1)
    notebook.aio.view = classifying(state="done", tasks=(TaskView(name="classify", state="done", items=items),))
    error = {
        "code": "output_invalid",
        "message": 'answer has no "label"',
        "details": {"stage": "validate_structure"},
    }
    notebook.aio.rows = [{"index": 17, "ok": False, "output": None, "error": error}, {"index": 18, "ok": True}]
    text, _ = notebook.cell("%po show 7f3a9c --failed")
    assert "run 7f3a9c: 1 row failed · %po resume 7f3a9c --only-failed" in text
    assert re.search(r'classify +row 17 +validate_structure +answer has no "label"', text)


def test_failures_show_the_lines_of_ones_own_python(notebook: Notebook) -> None:
    """Of rows, and of tasks without rows, which were not listed at all."""
    traceback = '  File "<po_task classify>", line 2, in inference\n    boom()\nNameError: boom'
    error = {"code": "stage_failed", "message": "it raised", "details": {"traceback": traceback, "stage": "x"}}
    items = ItemCounts(total=2, done=1, failed=1)
    tasks = (
        TaskView(name="extract", state="failed", kind="python", error=error),
        TaskView(name="classify", state="done", items=items),
    )
    notebook.aio.view = classifying(state="failed", tasks=tasks)
    notebook.aio.rows = [{"index": 1, "ok": False, "output": None, "error": error}]
    text, _ = notebook.cell("%po show 7f3a9c --failed")
    assert "1 task and 1 row failed" in text
    assert text.count("boom()") == 2


def test_control_from_the_notebook(notebook: Notebook) -> None:
    """B12, B13, R2.6: the same words as the terminal."""
    notebook.cell("%po cancel 7f3a9c")
    notebook.cell("%po resume 7f3a9c --only-failed --budget 3 --from-task classify")
    notebook.cell("%po approve 7f3a9c --note 'looks fine'")
    notebook.cell("%po reject 7f3a9c --task draft")
    notebook.cell("%po resume 7f3a9c --row label:3,17 --include-done")
    assert notebook.aio.calls == [
        ("cancel",),
        (
            "resume",
            {
                "from_task": "classify",
                "only_failed": True,
                "budget": {"usd": 3.0},
                "rows": None,
                "include_done": False,
            },
        ),
        ("gate", "approve", "looks fine", None),
        ("gate", "reject", "", "draft"),
        (
            "resume",
            {
                "rows": {"label": [3, 17]},
                "include_done": True,
                "from_task": None,
                "only_failed": False,
                "budget": None,
            },
        ),
    ]


def test_a_pipeline_runs_by_its_name(notebook: Notebook) -> None:
    notebook.cell("%%po_pipeline mine\n" + GOOD)
    notebook.aio.registered["theirs"] = {"name": "theirs", "tasks": [{"name": "a", "prompt": "x"}]}
    notebook.cell("%po run mine --seed {'text': 'x'} --limit 1")
    notebook.cell("%po run theirs")
    assert [b["pipeline"]["name"] for b in notebook.aio.bodies] == ["mine", "theirs"]
    assert "there is no pipeline `thiers`; did you mean `theirs`?" in notebook.error("%po run thiers")


def test_a_question_needs_no_quotes(notebook: Notebook) -> None:
    """`%po chat What's up?` was `No closing quotation`."""
    asked: list[tuple[str, ...]] = []

    @click.group()
    def group() -> None:
        pass

    @group.command()
    @click.argument("prompt")
    @click.option("--model")
    @click.option("--fresh", is_flag=True)
    def chat(prompt: str, model: str | None, fresh: bool) -> None:
        asked.append((prompt, str(model)))

    unload(notebook.shell)
    load(notebook.shell, verbs=lambda: group, connect=notebook.connect)
    notebook.cell("%po chat What's up? --model fake:echo")
    assert asked == [("What's up?", "fake:echo")]


def test_other_verbs_are_the_terminals(notebook: Notebook) -> None:
    @click.group()
    def group() -> None: ...

    @group.command()
    @click.argument("word")
    def say(word: str) -> None:
        click.echo(f"said {word}")

    @group.command()
    def stop() -> None:
        raise SystemExit(3)

    unload(notebook.shell)
    load(notebook.shell, verbs=lambda: group, connect=notebook.connect)
    assert notebook.cell("%po say 'a b'")[0].strip() == "said a b"
    assert "No such command 'sya'" in notebook.error("%po sya")
    assert "Missing argument 'WORD'" in notebook.error("%po say")
    assert "ended with code 3" in notebook.error("%po stop")
    assert "No closing quotation" in notebook.error("%po say 'a")


def test_what_people_said_is_listed_and_nothing_is_drawn(notebook: Notebook) -> None:
    """`%po review RUN --list` was refused: an option that the terminal has."""

    @click.group()
    def group() -> None: ...

    @group.command()
    @click.argument("run")
    @click.option("--list", "listed", is_flag=True)
    def review(run: str, listed: bool) -> None:
        click.echo(f"reviews of {run}: {listed}")

    unload(notebook.shell)
    load(notebook.shell, verbs=lambda: group, connect=notebook.connect)
    assert notebook.cell("%po review 7f3a9c --list")[0].strip() == "reviews of 7f3a9c: True"


def test_a_name_in_braces_is_its_value(notebook: Notebook) -> None:
    notebook.cell("run = _po_run = __import__('types').SimpleNamespace(id='7f3a9c', short='7f3a9c')")
    for line in ("%po show {run.id}", "%po show {run}"):
        text, _ = notebook.cell(line)
        assert "run 7f3a9c · running" in text
    assert "`{rum.id}`: name 'rum' is not defined; did you mean `run`?" in notebook.error("%po show {rum.id}")
    assert "there is no run {item.x}s" in notebook.error("%po show {item.x}s")
