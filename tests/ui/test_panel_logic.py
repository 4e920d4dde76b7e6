"""The pure half of the side panel, run where it will run: as modules in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.paths import ROOT

UI = ROOT / "po_jupyter" / "ui"
Run = Callable[..., Any]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def js(browser: Any) -> Iterator[Run]:
    """`js("format/run", "m => m.money(0)")`: calls the function with the module, and with `argument` as JSON."""
    built = UI / "lib"
    sources = [
        path
        for path in (UI / "src").rglob("*.ts*")
        if path.suffix in (".ts", ".tsx") and "__tests__" not in path.parts
    ]
    if not (built / "index.js").exists() or any(
        path.stat().st_mtime > (built / path.relative_to(UI / "src")).with_suffix(".js").stat().st_mtime
        for path in sources
    ):
        pytest.skip("the panel is not built from these sources: pip install .")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(built)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    page = browser.new_page()
    # A page of that origin, so that its modules may be imported.
    page.goto(f"http://127.0.0.1:{server.server_address[1]}/")

    def call(module: str, body: str, argument: Any = None) -> Any:
        return page.evaluate(f"async a => ({body})(await import('/{module}.js'), a)", argument)

    yield call
    page.close()
    server.shutdown()
    server.server_close()
    thread.join()


def usage(tokens: int = 0, cost: float | None = 0.0, unknown: int = 0) -> dict[str, Any]:
    return {"input_tokens": tokens, "output_tokens": 0, "cost": cost, "calls": 1, "unknown": unknown}


def a_task(name: str, state: str = "pending", **more: Any) -> dict[str, Any]:
    base = {"name": name, "state": state, "kind": "prompt", "stage": None, "attempt": 1, "started_at": None}
    rest = {"ended_at": None, "usage": usage(), "error": None, "items": None, "waiting": None}
    return base | rest | more


def a_run(id: str = "a", state: str = "running", tasks: tuple[Any, ...] = (), **more: Any) -> dict[str, Any]:
    times = {"created_at": "2026-11-22T12:00:00.000Z", "updated_at": "2026-11-22T12:00:41.000Z"}
    base = {"id": id, "name": "tickets", "pipeline": "tickets", "version": "1.0.0", "state": state, **times}
    rest = {"tasks": list(tasks), "gate": None, "usage": usage(), "budget": {}, "error": None, "position": None}
    return base | rest | {"last_event": 1} | more


@pytest.mark.parametrize(
    ("usd", "said"),
    [
        (None, "cost unknown"),
        (0, "$0"),
        (0.00000001, "<$0.0001"),
        (0.0031, "$0.0031"),
        (0.043, "$0.043"),
        (2, "$2.00"),
        (12345.678, "$12,345.68"),
    ],
)
def test_money_is_never_rounded_to_zero(js: Run, usd: float | None, said: str) -> None:
    """DESIGN 8: an unknown price is unknown, a free call is free, and a small sum is still a sum."""
    assert js("format/run", "(m, usd) => m.money(usd)", usd) == said


def test_numbers_read_like_the_cell(js: Run) -> None:
    """DESIGN 8: the same words and numbers in the cell, the panel and the terminal."""
    assert js("format/run", "m => [0, 1, 999, 1000, 18200, 999999, 1240000].map(m.compact)") == [
        "0", "1", "999", "1k", "18.2k", "1M", "1.24M",
    ]  # fmt: skip
    assert js("format/run", "m => [m.clock(41), m.clock(3723), m.duration(12.14), m.duration(61)]") == [
        "00:41", "1:02:03", "12.1 s", "01:01",
    ]  # fmt: skip
    run = a_run(usage=usage(18200, 0.043, unknown=1), budget={"usd": 2})
    said = "18.2k tokens · $0.043 of $2.00 · 1 call with unknown outcome"
    assert js("format/run", "(m, run) => m.spent(run)", run) == said
    hits = a_run(usage={**usage(0, 0.0), "calls": 0, "cached_calls": 3})
    assert js("format/run", "(m, run) => m.spent(run)", hits).endswith("3 of 3 calls from the cache")


def test_rows_in_flight_end_with_their_task(js: Run) -> None:
    """R2.6: counters say what is so now; a failed map has nothing in flight."""
    items = {"total": 1000, "done": 409, "failed": 3, "in_flight": 16}
    running, failed = a_task("map", "running", items=items), a_task("map", "failed", items=items)
    assert js("format/run", "(m, t) => m.rows(t)", running) == "412/1000 rows · 3 failed · 16 in flight"
    assert js("format/run", "(m, t) => m.rows(t)", failed) == "412/1000 rows · 3 failed"
    again = a_task("map", "running", items={**items, "reused": 400})
    shown = "412/1000 rows · 3 failed · 400 reused · 16 in flight"
    assert js("format/run", "(m, t) => m.rows(t)", again) == shown


def test_a_map_without_one_good_row_is_not_green(js: Run) -> None:
    """DESIGN 9: also where its pipeline lets it go on, and in stores of earlier versions."""
    bad = a_task("map", "done", items={"total": 2, "done": 0, "failed": 2, "in_flight": 0})
    good = a_task("map", "done", items={"total": 2, "done": 1, "failed": 1, "in_flight": 0})
    empty = a_task("map", "done", items={"total": 0, "done": 0, "failed": 0, "in_flight": 0})
    body = "(m, run) => [m.runState(run), ...run.tasks.map(m.taskState)]"
    assert js("format/run", body, a_run(state="done", tasks=(good, bad))) == ["failed", "done", "failed"]
    assert js("format/run", body, a_run(state="done", tasks=(good, empty))) == ["done", "done", "done"]


def test_the_lines_of_ones_own_python_are_found(js: Run) -> None:
    error = {"code": "x", "message": "m", "details": {"traceback": "File x\n  boom()\n"}}
    assert js("format/run", "(m, e) => m.traceback(e)", error) == "File x\n  boom()"
    assert js("format/run", "(m, e) => m.traceback(e)", {"code": "x", "message": "m"}) == ""


def test_progress_counts_tasks_and_rows(js: Run) -> None:
    """C3: a map of 1,000 rows moves the bar with each row, not only at its end."""
    half = a_task("map", "running", items={"total": 10, "done": 4, "failed": 1, "in_flight": 0})
    run = a_run(tasks=(a_task("a", "done"), half, a_task("b")))
    assert js("format/run", "(m, run) => [m.progress(run), m.place(run)]", run) == [0.5, "task 2 of 3"]
    ended = a_run(state="failed", tasks=(a_task("a", "done"), a_task("b", "failed")))
    assert js("format/run", "(m, run) => [m.progress(run), m.place(run)]", ended) == [0.5, "1 of 2 tasks"]
    assert js("format/run", "(m, run) => m.elapsed(run, 0)", ended) == 41


def test_the_clock_of_a_task_stops_with_its_run(js: Run) -> None:
    """R1.2: a dead run's last task was cut off without an end; it must not seem to go on."""
    cut = a_task("a", "running", started_at="2026-11-22T12:00:01.000Z")
    body = "(m, run) => m.taskSeconds(run, run.tasks[0], Date.parse('2026-11-22T13:00:01.000Z'))"
    assert js("format/run", body, a_run(state="dead", tasks=(cut,))) == 40
    assert js("format/run", body, a_run(state="running", tasks=(cut,))) == 3600


def test_the_larger_budget_is_asked_in_the_unit_that_ran_out(js: Run) -> None:
    """G1: a run that ended at its budget resumes with a larger one."""
    both = a_run(usage=usage(990, 0.5), budget={"usd": 2, "tokens": 1000})
    assert js("format/run", "(m, run) => m.tightBudget(run)", both) == {"unit": "tokens", "suggested": 2000}
    money = a_run(usage=usage(10, 1.99), budget={"usd": 2, "tokens": 1000})
    assert js("format/run", "(m, run) => m.tightBudget(run)", money) == {"unit": "usd", "suggested": 4}


def test_events_survive_any_cut_of_the_stream(js: Run) -> None:
    """P8: wherever the network cuts the stream into chunks, the same frames come out."""
    text = ': ping\n\nevent: run\r\ndata: {"a":\r\ndata: 1}\r\n\r\n'
    text += "event: empty\n\ndata: ✓\n\nid: 7\nevent: x\ndata:y\n\n"
    frames = [
        {"event": "run", "data": '{"a":\n1}'},
        {"event": "message", "data": "✓"},
        {"event": "x", "data": "y"},
    ]
    every_cut = """(m, text) => [...text].map((_, cut) => {
        const parser = new m.FrameParser();
        return [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
    })"""
    assert all(found == frames for found in js("api/sse", every_cut, text))
    one_by_one = "(m, text) => { const p = new m.FrameParser(); return [...text].flatMap(c => p.push(c)); }"
    assert js("api/sse", one_by_one, text) == frames


def test_an_endless_event_is_refused(js: Run) -> None:
    """P11: a stream that is not ours cannot fill the browser's memory."""
    body = """m => { const p = new m.FrameParser(1000);
        try { for (let i = 0; i < 200; i++) p.push("data: 0123456789\\n"); return "read"; }
        catch (error) { return error.message; } }"""
    assert "too large" in js("api/sse", body)


def reduced(js: Run, *actions: dict[str, Any]) -> Any:
    return js("state/reducer", "(m, actions) => actions.reduce(m.reduce, m.EMPTY)", list(actions))


def test_a_snapshot_is_the_whole_truth(js: Run) -> None:
    """P1, R2.8: what the server no longer shows is forgotten; a live run opens by itself."""
    saved = {"type": "restore", "expanded": {"old": True, "a": False, "b": True}}
    runs = [a_run("a", "done", created_at="2026-11-22T12:00:02Z"), a_run("b", "done"), a_run("c")]
    state = reduced(js, saved, {"type": "snapshot", "runs": runs})
    assert [run["id"] for run in state["runs"]] == ["a", "c", "b"]
    assert state["expanded"] == {"a": False, "b": True, "c": True}


def test_a_late_answer_does_not_undo_the_stream(js: Run) -> None:
    """P1: an answer to a button that the stream overtook changes nothing."""
    newer, older = a_run("a", "cancelled", last_event=9), a_run("a", "running", last_event=8)
    state = reduced(js, {"type": "snapshot", "runs": [newer]}, {"type": "run", "run": older})
    assert state["runs"][0]["state"] == "cancelled"


def test_speech_is_the_tail_of_the_task_that_speaks(js: Run) -> None:
    """G11: the last words are shown, of one round at a time, and end with their task."""
    start = {"type": "snapshot", "runs": [a_run("a", tasks=(a_task("t", "running"),))]}

    def say(text: str, round: int = 1) -> dict[str, Any]:
        return {"type": "text", "text": {"run": "a", "task": "t", "text": text, "round": round}}

    state = reduced(js, start, say("x" * 700), say("end"))
    assert state["speech"]["a"]["text"] == "x" * 597 + "end"
    assert reduced(js, start, say("first"), say("second", 2))["speech"]["a"]["text"] == "second"
    ended = {"type": "run", "run": a_run("a", "done", tasks=(a_task("t", "done"),), last_event=2)}
    assert reduced(js, start, say("x"), ended)["speech"] == {}


def test_a_deleted_run_leaves_nothing_behind(js: Run) -> None:
    """R2.8: old data is cleaned."""
    problem = {"type": "answered", "id": "a", "problem": {"code": "conflict", "message": "no"}}
    state = reduced(js, {"type": "snapshot", "runs": [a_run()]}, problem, {"type": "gone", "id": "a"})
    assert state["runs"] == []
    assert state["expanded"] == state["problems"] == state["busy"] == state["speech"] == {}


def test_a_snapshot_says_how_many_runs_are_worked_on(js: Run) -> None:
    """B14: the panel's head counts against the orchestrator's limit; an older server does not say one."""
    told = js(
        "state/reducer", "(m, runs) => m.reduce(m.EMPTY, {type: 'snapshot', runs, limit: 8}).limit", [a_run()]
    )
    silent = js("state/reducer", "(m, runs) => m.reduce(m.EMPTY, {type: 'snapshot', runs}).limit", [a_run()])
    assert (told, silent) == (8, None)
