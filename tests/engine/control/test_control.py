"""A task directs its run: B11, and the malformed control files of issue 2's sixth test."""

from __future__ import annotations

import json
from typing import Any

import pytest

from po_jupyter.engine.control.directives import MAX_ADDED
from tests.support.engine import RUN, Bench

pytestmark = pytest.mark.integration  # waits: it takes seconds

ONE = "def integration(ctx):\n    return ctx.meta['task']\n"


def python(name: str, body: str = "return ctx.meta['task']", **more: Any) -> dict[str, Any]:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return {"name": name, "source": f"import json\ndef integration(ctx):\n{lines}", **more}


def file(text: str) -> str:
    """The body of a task that leaves this control.json."""
    return f"(ctx.io.task_dir / 'control.json').write_text({text!r}, encoding='utf-8')\nreturn 1"


def order(bench: Bench) -> list[str]:
    return [e["task"] for e in bench.events("task.started")]


async def test_a_task_adds_tasks_behind_itself(bench: Bench) -> None:
    """B11: added tasks run before the next one, in the order in which they were said."""
    body = """ctx.control.add({"name": "x", "prompt": "x after {{ tasks.a }}"})
ctx.control.add(["y", {"name": "z", "source": "def integration(ctx): return ctx.tasks['x']"}])
return 'done'"""
    body = body.replace('"y", ', "")
    bench.create([python("a", body), {"name": "b", "prompt": "b after {{ tasks.a }}"}])
    assert await bench.go() == "done"
    assert order(bench) == ["a", "x", "z", "b"]
    assert bench.output("z") == "echo: x after done"
    assert list(bench.state.tasks) == ["a", "x", "z", "b"]
    [added] = [e for e in bench.events("tasks.added") if len(e["data"]["tasks"]) == 1][:1]
    assert (added["task"], added["data"]["after"]) == ("a", "a")


async def test_tasks_are_added_behind_a_later_pending_one(bench: Bench) -> None:
    """B11, from the file as in the first system: `insertAfter`; the code of another task of the run is
    found."""
    control = json.dumps(
        {
            "patch": {
                "add": [{"name": "deep-dive", "task": "b", "config": {"area": "storage"}}],
                "insertAfter": "b",
            },
            "skip": [{"task": "c", "reason": "the first analysis was complete"}],
            "pause": {"message": "Approve the outline", "artifacts": ["outline.json"]},
        }
    )
    bench.create(
        [
            python("a", file(control)),
            python("b", "return ctx.config.get('area', 'all')"),
            python("c"),
            python("d"),
        ]
    )
    assert await bench.go() == "waiting"
    state = bench.state
    assert list(state.tasks) == ["a", "b", "deep-dive", "c", "d"]
    assert (state.tasks["c"].state, state.tasks["c"].reason) == ("skipped", "the first analysis was complete")
    assert state.tasks["a"].gate_info == {"message": "Approve the outline", "artifacts": ["outline.json"]}
    assert order(bench) == ["a"]  # the gate holds what comes after
    decided = [
        {
            "at": "t",
            "type": "gate.decided",
            "task": "a",
            "data": {"decision": "approve", "by": "me", "note": ""},
        },
        {"at": "t", "type": "run.resumed", "data": {"by": "me"}},
    ]
    bench.store.request(RUN, decided, "pending")
    assert await bench.go() == "done"
    assert order(bench) == ["a", "b", "deep-dive", "d"]
    assert bench.output("deep-dive") == "storage"


async def test_what_a_task_asks_is_one_transaction_with_its_end(bench: Bench) -> None:
    """P2, B11: the log never shows a finished task without what it directed, or the other way round."""
    bench.create(
        [
            python("a", "ctx.control.add('b2')\nctx.control.skip('c', 'no need')\nreturn 1"),
            python("b"),
            python("c"),
        ]
    )
    # 'b2' names no code, so it is refused; a working one follows
    assert await bench.go() == "failed"
    assert bench.events("tasks.added", "task.skipped") == []
    error = bench.state.tasks["a"].error
    assert error is not None
    assert "no module 'b2'" in error["message"]


async def test_directives_ride_with_task_done(bench: Bench) -> None:
    """P2: one record has them all."""
    bench.create(
        [
            python(
                "a", "ctx.control.add({'name': 'b2', 'task': 'b'})\nctx.control.skip('c', 'no need')\nreturn 1"
            ),
            python("b"),
            python("c"),
        ]
    )
    assert await bench.go() == "done"
    kinds = [[e["type"] for e in r["events"]] for r in bench.records()]
    [record] = [k for k in kinds if "tasks.added" in k]
    assert record[record.index("task.done") :][:3] == ["task.done", "tasks.added", "task.skipped"]
    assert order(bench) == ["a", "b2", "b"]


async def test_an_invalid_directive_burns_no_attempts(bench: Bench) -> None:
    """B11: one attempt, one clear error, nothing applied; a resume has all its attempts again."""
    bench.create(
        [python("a", "ctx.control.skip('nope', 'x')\nreturn 1", retry={"max_attempts": 3}), python("b")]
    )
    assert await bench.go() == "failed"
    assert len(order(bench)) == 1
    assert bench.events("task.retrying") == []
    error = bench.state.tasks["a"].error
    assert error is not None
    assert error["code"] == "control_invalid"
    assert "there is no task 'nope'" in error["message"]


async def test_a_swallowed_error_still_fails_the_task(bench: Bench) -> None:
    """B11: `except Exception: pass` around a directive hides nothing."""
    body = "try:\n    ctx.control.skip('a', 'me')\nexcept Exception:\n    pass\nreturn 1"
    bench.create([python("a", body)])
    assert await bench.go() == "failed"
    assert "only later ones can be meant" in bench.state.tasks["a"].error["message"]


async def test_a_refinement_takes_the_stages_words_back(bench: Bench) -> None:
    """B2, B11: a stage that runs again says its directives again, not twice."""
    source = """
def parsing(ctx):
    ctx.control.add({"name": "extra", "task": "b"})
    return ctx.meta["round"]

def validate_structure(ctx):
    return ctx.output > 0
"""
    bench.create([{"name": "a", "source": source}, python("b")])
    assert await bench.go() == "done"
    assert order(bench) == ["a", "extra", "b"]


async def test_an_added_task_may_add_too_but_not_for_ever(bench: Bench) -> None:
    """B11: 64 added tasks a run, with the reason in the error."""
    body = """n = ctx.config.get("n", 0)
ctx.control.add({"name": f"more-{n}", "task": "a", "config": {"n": n + 1}})
return n"""
    bench.create([python("a", body)])
    assert await bench.go() == "failed"
    assert len(bench.state.added) == MAX_ADDED
    [failed] = bench.events("task.failed")
    assert failed["task"] == f"more-{MAX_ADDED - 1}"
    assert f"a run may add {MAX_ADDED}" in failed["data"]["error"]["message"]


async def test_a_row_of_a_map_cannot_direct_the_run(bench: Bench) -> None:
    bench.create(
        [python("m", "ctx.control.skip('b', 'x')", for_each="{{ seed.rows }}"), python("b")], {"rows": [1]}
    )
    assert await bench.go() == "failed"
    [failed] = bench.events("item.failed")
    assert "a row of a map cannot direct the run" in failed["data"]["error"]["message"]


async def test_a_task_done_again_says_its_directives_again(bench: Bench) -> None:
    """B11, B13: what a task added is taken back when it is reset; attempts' numbers go on (P3), usage is
    kept."""
    body = "ctx.control.add({'name': 'x', 'prompt': f\"x {ctx.meta['attempt']}\"})\nreturn 1"
    bench.create([python("a", body), {"name": "b", "prompt": "b {{ tasks.a }}"}])
    assert await bench.go() == "done"
    before = bench.state.usage.calls
    bench.resume("a", "x", "b", clear=["a", "x", "b"])
    async with bench.worker() as session:
        assert list(session.log.state.tasks) == ["a", "b"]
        assert session.log.state.usage.calls == before
    assert await bench.go() == "done"
    assert bench.output("x") == "echo: x 2"
    assert bench.state.tasks["x"].attempt == 2
    assert bench.state.usage.calls == before + 2


async def test_a_stale_control_file_is_not_read(bench: Bench) -> None:
    """R3.3: what a failed attempt left in the directory directs nothing."""
    body = """path = ctx.io.task_dir / "control.json"
if ctx.meta["attempt"] == 1:
    path.write_text('{"skip": [{"task": "b", "reason": "wrong"}]}')
    raise RuntimeError("once")
return 1"""
    bench.create([python("a", body, retry={"initial_delay": 0, "max_attempts": 2}), python("b")])
    assert await bench.go() == "done"
    assert order(bench) == ["a", "a", "b"]


async def test_a_gate_of_the_moment_wins_over_the_declared_one(bench: Bench) -> None:
    """B12: one gate a task, with the words of whoever asked last."""
    bench.create([python("a", "ctx.control.pause('now', ['x.md'])\nreturn 1", gate="later"), python("b")])
    assert await bench.go() == "waiting"
    [opened] = bench.events("gate.opened")
    assert opened["data"] == {"message": "now", "artifacts": ["x.md"]}


# -- malformed control files ---------------------------------------------------------------------------

IMPOSSIBLE = [
    ("{", "line 1: not JSON"),
    ('{"patsh": {}}', "`patsh` is not a field of a control file; did you mean `patch`?"),
    ('{"patch": {"add": [{"name": "b", "prompt": "p"}]}}', "there is a task 'b' already"),
    ('{"patch": {"add": [{"name": "x", "prompt": "p"}, {"name": "x", "prompt": "p"}]}}', "patch.add[1].name"),
    ('{"patch": {"add": [{"name": "x y", "prompt": "p"}]}}', "patch.add[0].name"),
    ('{"patch": {"add": [{"prompt": "p"}]}}', "a task needs `name`"),
    (
        '{"patch": {"add": [{"name": "x", "promt": "p"}]}}',
        "`promt` is not a field of a task; did you mean `prompt`?",
    ),
    (
        '{"patch": {"add": [{"name": "x", "prompt": "p", "retry": {"max_attempt": 1}}]}}',
        "did you mean `max_attempts`?",
    ),
    ('{"patch": {"add": [{"name": "x", "prompt": "{{ sed.x }}"}]}}', "patch.add[0].prompt"),
    ('{"patch": {"add": [{"name": "x", "prompt": "{{ tasks.c }}"}]}}', "patch.add[0].prompt"),
    (
        '{"patch": {"add": [{"name": "x", "prompt": "p", "needs": ["nope"]}]}}',
        "needs 'nope', which is not a task",
    ),
    ('{"patch": {"add": [{"name": "x", "prompt": "p", "needs": ["c"]}]}}', "goes in a circle"),
    ('{"patch": {"add": [{"name": "x", "prompt": "p", "llm": {"model": "opnai:x"}}]}}', "opnai"),
    ('{"patch": {"add": [{"name": "x", "source": "def ("}]}}', "the Python does not parse"),
    ('{"patch": {"add": ["no-such-module"]}}', "no module 'no-such-module'"),
    ('{"patch": {"add": [{"name": "x", "prompt": "p"}], "insertAfter": "zz"}}', "there is no task 'zz'"),
    ('{"patch": {"add": [{"name": "x", "prompt": "p"}], "insertAfter": "first"}}', "comes before 'a'"),
    ('{"skip": [{"task": "a", "reason": "r"}]}', "is the task that says so"),
    ('{"skip": [{"task": "first", "reason": "r"}]}', "comes before 'a'"),
    ('{"skip": [{"task": "bb", "reason": "r"}]}', "there is no task 'bb'"),
    ('{"skip": [{"task": "b", "reason": "r"}, {"task": "b", "reason": "r"}]}', "is skipped twice"),
    (
        json.dumps({"patch": {"add": [{"name": f"x{i}", "prompt": "p"} for i in range(MAX_ADDED + 1)]}}),
        f"at most {MAX_ADDED}",
    ),
]


@pytest.mark.parametrize(("text", "says"), IMPOSSIBLE)
async def test_a_malformed_control_file_is_one_clear_error(bench: Bench, text: str, says: str) -> None:
    """P11, B11, issue 2 "Done when" 6: what, where, and nothing changed."""
    bench.create([python("first"), python("a", file(text)), python("b"), python("c")])
    assert await bench.go() == "failed"
    [failed] = bench.events("task.failed")
    error = failed["data"]["error"]
    assert (failed["task"], error["code"]) == ("a", "control_invalid")
    assert says in error["message"]
    assert error["message"].startswith("control.json")
    assert error["hint"]
    assert bench.events("tasks.added", "task.skipped", "gate.opened") == []
    assert order(bench) == ["first", "a"]
