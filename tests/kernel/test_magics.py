"""The magics in a real IPython shell, over a client in memory; a mistake says what, where and what to do."""

from __future__ import annotations

import _thread
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from po_jupyter.client.client import Run
from po_jupyter.errors import InvalidPipeline, Unavailable, Violation
from po_jupyter.kernel import load, unload
from po_jupyter.model.run.view import ItemCounts, TaskView
from tests.support.kernel import FakeAio, classifying

GOOD = "tasks:\n  - name: hello\n    prompt: hi {{ seed.text }}\n"


class Notebook:
    """Cells in, what they show out."""

    def __init__(self, shell: InteractiveShell, aio: FakeAio) -> None:
        self.shell = shell
        self.aio = aio
        self.started = 0
        self.reachable = True

    def connect(self, *, start: bool = True) -> Any:
        self.started += start
        if not self.reachable:
            raise Unavailable("no orchestrator is running", hint="`po start` starts one.")
        return self.aio.client()

    def cell(self, text: str) -> tuple[str, Any]:
        """What the cell printed and displayed as text, and its value. Raises what the cell raised."""
        with capture_output() as captured:
            result = self.shell.run_cell(text, store_history=False)
        if result.error_in_exec is not None:
            raise result.error_in_exec
        shown = [str(o.data.get("text/plain")) for o in captured.outputs if o.data]
        return "\n".join([captured.stdout, *shown]), result.result

    def error(self, text: str) -> str:
        """How the cell fails, as its box says it: no traceback of ours."""
        with capture_output() as captured:
            result = self.shell.run_cell(text, store_history=False)
        assert result.error_in_exec is not None, captured.stdout
        box = re.sub(r"\x1b\[[0-9;]*m", "", captured.stdout)
        assert "Traceback" not in box
        assert str(result.error_in_exec) in box
        return str(result.error_in_exec)


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()


@pytest.fixture
def notebook(shell: InteractiveShell) -> Iterator[Notebook]:
    shell.reset(new_session=False)
    book = Notebook(shell, FakeAio(classifying()))
    load(shell, connect=book.connect)
    yield book
    unload(shell)


def soon(action: Callable[[], object]) -> None:
    threading.Timer(0.3, action).start()


# -- %%po_pipeline ---------------------------------------------------------------------------------------


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
    soon(lambda: notebook.aio.push(classifying(state="done", tasks=(TaskView(name="classify", state="done"),))))
    text, value = notebook.cell("%%po_pipeline tickets --wait\n" + GOOD)
    assert value.state == "done"
    assert "run 7f3a9c · done" in text


def test_a_failed_run_fails_the_waiting_cell_with_the_way_on(notebook: Notebook) -> None:
    """P11, P12: "run all" stops there."""
    error = {"code": "model_key", "message": "no key for openai", "hint": "Set OPENAI_API_KEY."}
    task = TaskView(name="classify", state="failed", stage="inference", error=error)
    soon(lambda: notebook.aio.push(classifying(state="failed", tasks=(task,), error=error)))
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
    soon(_thread.interrupt_main)
    said = notebook.error("%%po_pipeline tickets --run --wait\n" + GOOD)
    assert said == "detached; the run goes on: %po show 7f3a9c"
    assert notebook.aio.calls == []


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


# -- %%po_task -------------------------------------------------------------------------------------------


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


def test_try_runs_the_stages_here(notebook: Notebook) -> None:
    text, _ = notebook.cell(
        """%%po_task extract --try {"rows": [1, 2]}
def ingestion(ctx):
    ctx.io.write_artifact("a.json", ctx.seed)
    return ctx.seed["rows"]
def parsing(ctx):
    return {"n": len(ctx.data["ingestion"]), "again": ctx.io.read_artifact("a.json")}
"""
    )
    assert re.search(r"ingestion +0\.0 s +\[1, 2\]", text)
    assert '{"n": 2, "again": {"rows": [1, 2]}}' in text


def test_try_refines_as_a_worker_does(notebook: Notebook) -> None:
    """B2."""
    text, _ = notebook.cell(
        """%%po_task x --try {}
def inference(ctx):
    return ctx.meta["round"]
def validate_quality(ctx):
    assert ctx.output == 1, "not yet"
"""
    )
    assert len(re.findall("inference +0", text)) == 2


def test_try_runs_async_stages(notebook: Notebook) -> None:
    text, _ = notebook.cell(
        """%%po_task x --try {}
import asyncio
async def inference(ctx):
    await asyncio.sleep(0.01)
    return 'slept'
"""
    )
    assert "slept" in text


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (
            "def parsing(ctx): return 1 / 0",
            ["parsing raised ZeroDivisionError: division by zero", "<po_task x>"],
        ),
        ("def parsing(ctx): return object()", ["parsing returned something that is not JSON"]),
        ("def parsing(ctx): return ctx.llm.chat('hi')", ["ctx.llm is not there with --try"]),
        ("import nothing_here\ndef parsing(ctx): return 1", ["its code cannot be loaded: ModuleNotFoundError"]),
    ],
)
def test_try_says_what_broke(notebook: Notebook, body: str, messages: list[str]) -> None:
    said = notebook.error("%%po_task x --try {}\n" + body)
    for message in messages:
        assert message in said
    assert "site-packages" not in said


# -- %po -------------------------------------------------------------------------------------------------


def test_show_brings_the_view_back(notebook: Notebook) -> None:
    text, value = notebook.cell("%po show 7f3a9c")
    assert "run 7f3a9c · running" in text
    assert isinstance(value, Run)
    assert "there is no run nope" in notebook.error("%po show nope")


def test_a_run_as_a_value_is_its_view(notebook: Notebook) -> None:
    notebook.shell.user_ns["r"] = notebook.connect().run("7f3a9c")
    text, _ = notebook.cell("r")
    assert "task 1 of 1" in text


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


def test_control_from_the_notebook(notebook: Notebook) -> None:
    """B12, B13, R2.6: the same words as the terminal."""
    notebook.cell("%po cancel 7f3a9c")
    notebook.cell("%po resume 7f3a9c --only-failed --budget 3 --from-task classify")
    notebook.cell("%po approve 7f3a9c --note 'looks fine'")
    notebook.cell("%po reject 7f3a9c")
    assert notebook.aio.calls == [
        ("cancel",),
        ("resume", {"from_task": "classify", "only_failed": True, "budget": {"usd": 3.0}}),
        ("gate", "approve", "looks fine"),
        ("gate", "reject", ""),
    ]


def test_a_pipeline_runs_by_its_name(notebook: Notebook) -> None:
    notebook.cell("%%po_pipeline mine\n" + GOOD)
    notebook.aio.registered["theirs"] = {"name": "theirs", "tasks": [{"name": "a", "prompt": "x"}]}
    notebook.cell("%po run mine --seed {'text': 'x'} --limit 1")
    notebook.cell("%po run theirs")
    assert [b["pipeline"]["name"] for b in notebook.aio.bodies] == ["mine", "theirs"]
    assert "there is no pipeline `thiers`; did you mean `theirs`?" in notebook.error("%po run thiers")


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


def test_unload_takes_everything_away(notebook: Notebook) -> None:
    unload(notebook.shell)
    assert "po" not in notebook.shell.magics_manager.magics["line"]
    assert not hasattr(notebook.shell, "_po_jupyter")


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
