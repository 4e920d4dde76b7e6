"""Python tasks: how their code is found, what it gets, and what becomes of what it prints."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from po_jupyter.engine.files.artifacts import artifacts_by_name
from po_jupyter.engine.python.lookup import module_problem
from po_jupyter.engine.python.python_task import only_defines
from po_jupyter.errors import ModelRefused
from po_jupyter.model.pipeline.pipeline import Task
from tests.support.engine import RUN, Bench


def task(source: str, **more: Any) -> dict[str, Any]:
    return {"name": "t", "source": source, "retry": {"max_attempts": 1}, **more}


async def error_of(bench: Bench, source: str, **more: Any) -> dict[str, Any]:
    bench.create([task(source, **more)])
    assert await bench.go() == "failed"
    error = bench.state.error
    assert error is not None
    return error


async def test_a_stage_gets_its_context(bench: Bench) -> None:
    """B3"""
    source = """
def ingestion(ctx):
    return ctx.seed["x"]
async def preProcessing(ctx):
    ctx.flags["seen"] = True
    return [ctx.output, ctx.data["ingestion"]]
def integration(ctx):
    m = dict(ctx.meta)
    m.pop("run")
    flags, tasks = dict(ctx.flags), dict(ctx.tasks)
    return {"meta": m, "config": ctx.config, "flags": flags, "out": ctx.output, "tasks": tasks}
"""
    bench.create([{"name": "a", "prompt": "a"}, task(source, config={"k": [1]})], {"x": 5})
    assert await bench.go() == "done"
    assert bench.output("t") == {
        "meta": {
            "pipeline": "p",
            "version": "1.0.0",
            "name": "seed",
            "task": "t",
            "stage": "integration",
            "attempt": 1,
            "round": 0,
            "index": None,
        },
        "config": {"k": [1]},
        "flags": {"seen": True},
        "out": [5, 5],
        "tasks": {"a": "echo: a"},
    }


async def test_a_module_is_found_beside_the_notebook(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.tmp / "my_labels.py").write_text("def inference(ctx):\n    return __name__\n")
    monkeypatch.syspath_prepend(str(bench.tmp))
    bench.create(["my-labels", {"name": "other", "task": "my_labels"}])
    assert await bench.go() == "done"
    assert bench.output("my-labels") == "my_labels"
    assert bench.output("other") == "my_labels"
    assert module_problem(Task(name="my-labels")) is None
    sys.modules.pop("my_labels", None)


async def test_a_missing_module_says_where_was_looked(bench: Bench) -> None:
    bench.create(["nowhere_to_be_found"])
    assert await bench.go() == "failed"
    error = bench.state.error
    assert error is not None
    assert "no module 'nowhere_to_be_found'" in error["message"]
    assert "%%po_task nowhere_to_be_found" in error["hint"]
    assert "task.retrying" not in bench.types()
    assert module_problem(Task(name="nowhere_to_be_found")) is not None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_to_be_found\ndef inference(ctx): pass", "ModuleNotFoundError"),
        ("x = 1\n1 / 0\n", "ZeroDivisionError"),
        ("x = 1\n", "no stage function"),
        ("def intgration(ctx): pass\n", "did you mean `integration`?"),
    ],
)
async def test_code_that_cannot_be_loaded(bench: Bench, source: str, said: str) -> None:
    error = await error_of(bench, source)
    assert said in error["message"]
    assert "task.retrying" not in bench.types()


async def test_a_traceback_shows_the_users_lines_only(bench: Bench) -> None:
    error = await error_of(
        bench, "import json\ndef inner():\n    json.loads('{')\ndef inference(ctx):\n    inner()\n"
    )
    trace = error["details"]["traceback"]
    assert '"<po_task t>", line 3, in inner' in trace
    assert "json.loads('{')" in trace
    assert "po_jupyter/" not in trace
    assert "concurrent" not in trace
    assert trace.count("json/") <= 1


async def test_the_line_that_asked_a_model_is_known_when_the_call_fails(bench: Bench) -> None:
    """As for an error of one's own code."""
    source = "def ask(ctx):\n    return ctx.llm.chat('x')\ndef ingestion(ctx):\n    return ask(ctx)\n"
    bench.fake._replies = [ModelRefused("no such model")]
    bench.create([task(source, retry={"max_attempts": 1})])
    assert await bench.go() == "failed"
    error = bench.state.tasks["t"].error
    assert error is not None and error["code"] == "model_refused"
    assert "return ctx.llm.chat('x')" in error["details"]["traceback"]
    assert "po_jupyter/" not in error["details"]["traceback"]


async def test_what_a_stage_prints_is_in_its_log(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """B5: each stage by itself, at the same time too; failures carry the path."""
    source = """
import sys, asyncio
def ingestion(ctx):
    print("from a thread")
    sys.stderr.write("and stderr\\n")
async def inference(ctx):
    await asyncio.sleep(0)
    print("from the loop", ctx.index)
    raise ValueError("x")
"""
    bench.create(
        [
            task(source, for_each="[1, 2, 3]"),
            {"name": "u", "source": source, "needs": [], "retry": {"max_attempts": 1}},
        ]
    )
    assert await bench.go() == "failed"
    logs = bench.session.inputs.run_dir / "logs"
    assert (logs / "t" / "ingestion.1.log").read_text() == "from a thread\nand stderr\n"
    assert (logs / "t" / "inference.2.log").read_text() == "from the loop 2\n"
    assert (logs / "u" / "inference.log").read_text() == "from the loop None\n"
    error = bench.state.tasks["u"].error
    assert error is not None
    assert error["details"]["log"] == str(logs / "u" / "inference.log")
    assert "from a thread" not in capsys.readouterr().out


async def test_calls_from_sync_and_async_stages(bench: Bench) -> None:
    """B6; the schema's answer is a value, and asked for again when it does not fit: its usage is of all three calls."""
    source = """
SCHEMA = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["a", "b"]}}}
def ingestion(ctx):
    answer = ctx.llm.chat("one", system="be brief", schema=SCHEMA)
    return [answer.value, answer.usage.calls, answer.model]
async def inference(ctx):
    answer = await ctx.llm.chat([{"role": "user", "content": "two"}], max_tokens=7, temperature=0.5)
    return [ctx.output, str(answer)]
"""
    bench.fake._replies = ["nonsense", '{"label": "c"}']
    bench.create([task(source)])
    assert await bench.go() == "done"
    assert bench.output("t") == [[{"label": "a"}, 3, "echo"], "echo: two"]
    assert [r.messages[0].role for r in bench.fake.requests] == ["system"] * 3 + ["user"]
    assert bench.fake.requests[-1].max_tokens == 7
    assert "not one of" in bench.fake.requests[2].messages[-1].content
    assert bench.state.usage.calls == 4


async def test_rounds_end_with_the_violations(bench: Bench) -> None:
    source = """
def inference(ctx):
    return ctx.llm.chat("x", schema={"type": "object", "required": ["k"]}).value
"""
    bench.fake._replies = ["{}"] * 9
    error = await error_of(bench, source)
    assert (error["code"], error["message"]) == ("output_invalid", 'answer has no "k"')
    assert len(bench.fake.requests) == 3


async def test_files_are_whole_and_stay_inside(bench: Bench) -> None:
    """B4, P6: a name that a model wrote is no path."""
    source = """
def integration(ctx):
    io = ctx.io
    io.write_artifact("a/report.json", {"ok": [1]})
    io.write_artifact("text.txt", "grün")
    io.write_artifact("raw.bin", b"\\x00\\xff")
    io.write_log("notes.txt", "n")
    io.write_tmp("t.json", [1])
    refused = []
    names = ["../x", "/etc/passwd", "a/../../x", "", "a//b", "a\\\\b", "nul", "x\\n"]
    names += ["C:x", "a" * 300, ".", "con.txt"]
    for name in names:
        try:
            io.write_artifact(name, "x")
        except Exception as error:
            refused.append(type(error).__name__)
    raw = list(io.read_artifact("raw.bin", "bytes"))
    texts = [io.read_artifact("text.txt"), raw, io.read_log("notes.txt")]
    return [io.read_artifact("a/report.json"), *texts, io.read_tmp("t.json"), refused]
"""
    bench.create([task(source)])
    assert await bench.go() == "done"
    output = bench.output("t")
    assert output[:5] == [{"ok": [1]}, "grün", [0, 255], "n", [1]]
    assert output[5] == ["InvalidInput"] * 12
    directory = bench.session.inputs.run_dir
    report = artifacts_by_name(bench.state)["a/report.json"]
    assert json.loads((directory / "artifacts" / report["path"]).read_text()) == {"ok": [1]}
    assert not list(directory.rglob(".po-*"))
    assert sorted(p.name for p in bench.tmp.iterdir()) == ["runs"]


async def test_a_link_does_not_lead_out(bench: Bench) -> None:
    source = "def integration(ctx):\n    return ctx.io.read_artifact('link/secret')\n"
    bench.create([task(source)])
    secret = bench.tmp / "outside"
    secret.mkdir()
    (secret / "secret").write_text("s")
    given = bench.tmp / "runs" / RUN / "given"
    given.mkdir(parents=True)
    (given / "link").symlink_to(secret)
    assert await bench.go() == "failed"
    assert bench.state.error is not None
    assert "link" in bench.state.error["message"]


async def test_validators_start_a_refinement(bench: Bench) -> None:
    source = """
def inference(ctx):
    return {"n": ctx.meta["round"]}
def validate_structure(ctx):
    ctx.validators.schema(ctx.output, {"type": "object", "properties": {"n": {"minimum": 1}}})
def validate_quality(ctx):
    ctx.validators.require(ctx.output["n"] > 1, "n is too small")
def critique(ctx):
    return ctx.violations
def integration(ctx):
    return [ctx.output, ctx.data["critique"]]
"""
    bench.create([task(source)])
    assert await bench.go() == "done"
    assert bench.output("t") == [{"n": 2}, ["n is too small"]]


async def test_a_sync_stage_that_takes_too_long(bench: Bench) -> None:
    """StageTimeout; its thread is stopped at its next instruction."""
    source = "import time\ndef inference(ctx):\n    for _ in range(500):\n        time.sleep(0.01)\n"
    error = await error_of(bench, source, timeout=0.05)
    assert error["code"] == "stage_timeout"


async def test_classes_of_a_source_work(bench: Bench) -> None:
    source = """
from __future__ import annotations
import dataclasses
@dataclasses.dataclass
class Row:
    n: int
def inference(ctx):
    return dataclasses.asdict(Row(3))
"""
    bench.create([task(source)])
    assert await bench.go() == "done"
    assert bench.output("t") == {"n": 3}


async def test_a_call_left_behind_by_a_thread_is_stopped(bench: Bench) -> None:
    bench.fake.hold = True
    source = """
import threading
def leave(ctx):
    try:
        ctx.llm.chat("left")
    except BaseException:
        pass
def inference(ctx):
    threading.Thread(target=leave, args=(ctx,), daemon=True).start()
    while not ctx.llm._starter._open:
        pass
    return 1
"""
    bench.create([task(source)])
    assert await bench.go() == "done"
    assert not bench.fake.answered


async def test_what_a_stage_changes_nobody_else_sees(bench: Bench) -> None:
    """R3.3: after a crash the change would not be there, so it must not be there now."""
    source = """
def integration(ctx):
    ctx.seed["rows"].append("mine")
    ctx.tasks["a"]["k"] = "changed"
    return {"k": [len(ctx.seed["rows"]), ctx.tasks["a"]["k"]]}
"""
    rows = """
def inference(ctx):
    ctx.item["n"] += 1
    if ctx.meta["attempt"] < 2:
        raise ValueError
    return ctx.item["n"]
"""
    bench.create(
        [
            {"name": "a", "source": "def integration(ctx):\n    return {'k': 'kept'}\n"},
            task(source),
            {"name": "u", "prompt": "{{ tasks.a.k }} {{ seed.rows | length }}"},
            {"name": "m", "source": rows, "for_each": "[{'n': 1}]", "retry": {"initial_delay": 0}},
        ],
        {"rows": [1]},
    )
    assert await bench.go() == "done"
    assert bench.output("t") == {"k": [2, "changed"]}
    assert bench.output("u") == "echo: kept 1"
    assert bench.output("m")[0]["output"] == 2


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("def ingestion(ctx):\n    return 1\n", True),
        ('"""What it does."""\nLIMIT = 3\nasync def ingestion(ctx, n=2, *, m="x"):\n    return LIMIT\n', True),
        ("import pandas\ndef ingestion(ctx): ...\n", False),
        ("from time import sleep\ndef ingestion(ctx): ...\n", False),
        ("X = [1 for _ in range(10**9)]\ndef ingestion(ctx): ...\n", False),
        ("X = Y = input()\ndef ingestion(ctx): ...\n", False),
        ("def ingestion(ctx, n=load()): ...\n", False),
        ("def ingestion(ctx, *, n=load()): ...\n", False),
        ("def ingestion(ctx: load()): ...\n", False),
        ("def ingestion(*ctx: load()): ...\n", False),
        ("def ingestion(ctx) -> load(): ...\n", False),
        ("@load()\ndef ingestion(ctx): ...\n", False),
        ("class Label(load()): ...\n", False),
        ("f'{load()}'\n", False),
        ("def ingestion(ctx): ...\nwhile True: pass\n", False),
        ("X.y = 1\n", False),
        ("def ingestion(ctx):\n    return" + " (" * 300, False),
        ("def broken(:", False),
        ("# long\n" * 2000 + "def ingestion(ctx): ...\n", False),
    ],
)
def test_only_definitions_are_loaded_on_the_loop(source: str, plain: bool) -> None:
    """R3.3: code that can take long runs in a thread; the worker's heartbeat goes on meanwhile."""
    task = Task.model_construct(name="a", source=source)
    assert only_defines(task) is plain
