"""Runs that a cell starts: the line's options, the wait, the interrupt."""

from __future__ import annotations

import _thread

import pytest

from po_jupyter.client.client import Run
from po_jupyter.model.run.view import TaskView
from tests.support.kernel import Notebook, classifying, run_later

pytestmark = pytest.mark.integration  # waits: it takes seconds

GOOD = "tasks:\n  - name: hello\n    prompt: hi {{ seed.text }}\n"


def test_run_returns_at_once_with_a_live_view(notebook: Notebook) -> None:
    """C3: a `Run` in `_` and in VAR."""
    text, value = notebook.cell(
        """%%po_pipeline tickets --run --seed {"text": "{x} $y"} --out r --limit 2 --fresh --cache false"""
        + " --budget 1.5 --model fake:echo\n"
        + GOOD
    )
    assert isinstance(value, Run)
    assert notebook.shell.user_ns["r"] is value
    assert "tickets 1.0.0 · run 7f3a9c · running" in text
    assert "run 7f3a9c of tickets 1.0.0 · %po show 7f3a9c brings this view back" in text
    assert text.count("run 7f3a9c · running") == 1
    (body,) = notebook.aio.bodies
    assert body["seed"] == {"name": "tickets", "data": {"text": "{x} $y"}}
    assert body["options"] == {"limit": 2, "fresh": True, "cache": False, "model": "fake:echo"}
    assert body["budget"] == {"usd": 1.5}
    assert body["pipeline"]["llm"] == {"model": "fake:echo"}
    assert "interpreter" not in body


def test_the_budget_of_the_line_keeps_the_tokens_of_the_text(notebook: Notebook) -> None:
    notebook.cell("%%po_pipeline t --run --budget 2\nbudget: {usd: 1, tokens: 500}\n" + GOOD)
    assert notebook.aio.bodies[0]["pipeline"]["budget"] == {"usd": 2.0, "tokens": 500}


def test_wait_blocks_until_the_end(notebook: Notebook) -> None:
    run_later(
        lambda: notebook.aio.push(classifying(state="done", tasks=(TaskView(name="classify", state="done"),)))
    )
    text, value = notebook.cell("%%po_pipeline tickets --wait\n" + GOOD)
    assert value.state == "done"
    assert "run 7f3a9c · done" in text


def test_a_failed_run_fails_the_waiting_cell_with_the_way_on(notebook: Notebook) -> None:
    """P11, P12: "run all" stops there."""
    error = {"code": "model_key", "message": "no key for openai", "hint": "Set OPENAI_API_KEY."}
    task = TaskView(name="classify", state="failed", stage="inference", error=error)
    run_later(lambda: notebook.aio.push(classifying(state="failed", tasks=(task,), error=error)))
    said = notebook.error("%%po_pipeline tickets --run --wait --out r\n" + GOOD)
    assert said.splitlines() == [
        "run 7f3a9c of tickets ended failed",
        "classify failed in inference: no key for openai",
        "  Set OPENAI_API_KEY.",
        "%po resume 7f3a9c",
    ]
    assert notebook.shell.user_ns["r"].id == notebook.aio.view.id


def test_an_interrupt_detaches_from_the_run(notebook: Notebook) -> None:
    """P12."""
    run_later(_thread.interrupt_main)
    said = notebook.error("%%po_pipeline tickets --run --wait\n" + GOOD)
    assert said == "detached; the run goes on: %po show 7f3a9c"
    assert notebook.aio.calls == []


def test_a_dry_run_says_what_it_would_cost(notebook: Notebook) -> None:
    """G1: `--dry-run` of a cell and of `%po run`, and `%po estimate`; nothing is started."""
    before = len(notebook.aio.bodies)
    for text in (
        f"%%po_pipeline p --run --dry-run --seed {{'text': 'a'}}\n{GOOD}",
        "%po run p --dry-run --seed {'text': 'a'}",
        "%po estimate p --seed {'text': 'a'} --limit 2",
    ):
        said, value = notebook.cell(text)
        assert value is None
        assert "p (estimate, nothing was started): 3 calls" in said
        assert "about $0.100 · at most $0.250" in said
    assert notebook.aio.estimated["options"] == {"limit": 2}
    assert len(notebook.aio.bodies) == before, "no run was started"
