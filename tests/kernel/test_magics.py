"""The magics in a real IPython shell, over a client in memory; a mistake says what, where and what to do."""

from __future__ import annotations

import pytest

from po_jupyter.errors import InvalidPipeline, Violation
from po_jupyter.kernel import unload
from tests.support.kernel import Notebook

GOOD = "tasks:\n  - name: hello\n    prompt: hi {{ seed.text }}\n"


def test_loading_asks_and_starts_nothing(notebook: Notebook) -> None:
    assert notebook.started == 0
    notebook.cell("%load_ext IPython.extensions.storemagic")
    assert "po_pipeline" in notebook.shell.magics_manager.magics["cell"]


def test_a_definition_shows_its_tasks_and_starts_nothing(notebook: Notebook) -> None:
    text, value = notebook.cell("%%po_pipeline tickets\n" + GOOD)
    assert value is None
    assert "tickets 1.0.0 · 1 task · registered · %po run tickets starts it" in text
    assert "hello  prompt  —" in text
    assert (notebook.started, notebook.aio.bodies) == (0, [])
    assert list(notebook.aio.registered) == ["tickets"]


def test_a_definition_needs_no_orchestrator(notebook: Notebook) -> None:
    notebook.reachable = False
    text, _ = notebook.cell("%%po_pipeline tickets\n" + GOOD)
    assert "no orchestrator is running" in text
    assert notebook.started == 0


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("%%po_pipeline\n" + GOOD, "%%po_pipeline needs NAME\nusage: %%po_pipeline NAME [--run] [--seed EXPR]"),
        ("%%po_pipeline t --rum\n" + GOOD, "has no option `--rum`; did you mean `--run`?"),
        ("%%po_pipeline Big --run\n" + GOOD, "cell line 1: name: may hold a-z, 0-9 and - only"),
        ("%%po_pipeline t --out r\n" + GOOD, "`--out` does something only together with `--run`"),
        (
            "%%po_pipeline t --run --seed tikcet\n" + GOOD,
            "`--seed tikcet`: name 'tikcet' is not defined; did you mean `ticket`?",
        ),
        (
            "%%po_pipeline t --run --seed {1:\n" + GOOD,
            "a } is missing at the end of the line: t --run --seed {1:",
        ),
        (
            "%%po_pipeline t --run --seed 1 +\n" + GOOD,
            "`--seed 1 +` is not a Python expression: invalid syntax",
        ),
        ("%%po_pipeline t --run --seed 1/0\n" + GOOD, "`--seed 1/0`: ZeroDivisionError: division by zero"),
        ("%%po_pipeline t --run --seed 5\n" + GOOD, "a seed is a dict, a list of rows or a DataFrame, not int"),
        ("%%po_pipeline t --run --model gpt\n" + GOOD, "`--model gpt`: a model is written provider:model"),
        (
            "%%po_pipeline t\nname: u\n" + GOOD,
            "cell line 2: the pipeline is called 't' outside and 'u' in its text",
        ),
        (
            "%%po_pipeline t\ntasks:\n  - name: a\n    prompt: x\n    neds: [b]\n",
            "cell line 5: `neds` is not a field of a task; did you mean `needs`?",
        ),
        ("%%po_pipeline t\ntasks:\n\t- a\n", "cell line 3: not valid YAML"),
        (
            "%%po_pipeline t\ntasks:\n- {name: a, prompt: x}\n- {name: a, prompt: y}\n",
            "cell line 4: two tasks are called 'a'",
        ),
        (
            "%%po_pipeline t\ntasks:\n- {name: a, prompt: x, needs: b}\n- {name: b, prompt: y}\n",
            "`needs` goes in a circle",
        ),
        (
            "%%po_pipeline t\ntasks:\n- {name: a, prompt: x}\n- extrakt\n",
            "cell line 4: task `extrakt` has no prompt, and there is no Python `extrakt`; did you mean",
        ),
        (
            "%%po_pipeline t --run\ntasks: [no-such]\n",
            "there is no Python `no-such`: define it in a cell with %%po_task no-such",
        ),
    ],
)
def test_a_mistake_is_one_clear_message_and_starts_nothing(notebook: Notebook, cell: str, message: str) -> None:
    """P11; done-when 8."""
    notebook.cell("ticket = {'text': 'x'}")
    notebook.cell("%%po_task extract\ndef ingestion(ctx): return 1")
    assert message in notebook.error(cell)
    assert notebook.aio.bodies == []
    assert "t" not in notebook.shell._po_jupyter.pipelines or "--run" in cell


def test_what_the_orchestrator_finds_points_at_the_line_of_the_cell(notebook: Notebook) -> None:
    """P11: an undefined template variable, found by the server in the decoded pipeline."""
    notebook.aio.refuse = InvalidPipeline(
        violations=[
            Violation("tasks[0].prompt", "task 'hello': prompt: `txt` is not defined", 2),
            Violation("llm.model", "there is no provider `opnai`; did you mean `openai`?"),
        ]
    )
    body = 'llm: {model: "opnai:x"}\ntasks:\n  - name: hello\n    prompt: |\n      one\n      {{ txt }}\n'
    for flags in ("", " --run"):
        assert notebook.error(f"%%po_pipeline t{flags}\n{body}").splitlines() == [
            "cell line 7: task 'hello': prompt: `txt` is not defined",
            "cell line 2: there is no provider `opnai`; did you mean `openai`?",
        ]


def test_a_task_of_a_cell_travels_with_the_pipeline(notebook: Notebook) -> None:
    """B10: a cell's task wins over an installed module; the run keeps the code it ran."""
    source = "def ingestion(ctx):\n    return ctx.seed\n"
    text, _ = notebook.cell("%%po_task json\n" + source)
    assert text.strip() == "task json: ingestion"
    notebook.cell("%%po_pipeline t --run\ntasks: [json]\n")
    (body,) = notebook.aio.bodies
    assert body["pipeline"]["tasks"] == [{"name": "json", "source": source}]
    assert body["interpreter"]
    assert body["cwd"]


def test_a_task_warns_of_what_it_will_miss(notebook: Notebook) -> None:
    notebook.cell("rows = [1]")
    text, _ = notebook.cell("%%po_task extract\n\ndef ingestion(ctx):\n    return rows\n")
    assert "cell line 4: `rows` is of this notebook and will not be there when the task runs" in text


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            "%%po_task extract\ndef ingestion(ctx):\nreturn 1\n",
            "cell line 3: the Python does not parse: expected an indented block",
        ),
        ("%%po_task -x\ndef ingestion(ctx): return 1\n", "`-x` cannot be the name of a task"),
        ("%%po_task x --tyr 1\ndef ingestion(ctx): return 1\n", "has no option `--tyr`; did you mean `--try`?"),
    ],
)
def test_a_task_that_cannot_be(notebook: Notebook, cell: str, message: str) -> None:
    """P11; done-when 8: a Python task with a syntax error."""
    assert message in notebook.error(cell)


def test_a_run_as_a_value_is_its_view(notebook: Notebook) -> None:
    notebook.shell.user_ns["r"] = notebook.connect().run("7f3a9c")
    text, _ = notebook.cell("r")
    assert "task 1 of 1" in text


def test_unload_takes_everything_away(notebook: Notebook) -> None:
    unload(notebook.shell)
    assert "po" not in notebook.shell.magics_manager.magics["line"]
    assert not hasattr(notebook.shell, "_po_jupyter")
