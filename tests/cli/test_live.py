"""The view of a run in a pipe: plain lines, the exit code, an interrupt."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.cli import FakeRun, fake_run, make_view

FAILED = {"code": "stage_failed", "message": "it broke\nin two lines", "hint": "mend it"}


GATE = {"task": "extract", "message": "Look before we send"}


def test_plain_lines_say_once_that_the_store_is_waited_for(po: Any, client: Any) -> None:
    """P11, R1.7: on a full disk a run of `po run` in a pipe is not silent."""
    full = [make_view("running", waiting=f"the run waits: the disk is full (try {n})") for n in (1, 2)]
    client.runs_there = [FakeRun([*full, make_view("running"), full[0], make_view()])]
    code, out, _ = po("show", "7f3a")
    assert code == 0
    assert [line.strip() for line in out.splitlines() if "the disk is full" in line] == [
        "the run waits: the disk is full (try 1)"
    ] * 2


LEARNED = {
    "threshold": 0.83, "target": 0.9, "model": "openai:big", "sampled": 20, "sure": 16, "agreeing": 16,
    "interval": [0.79, 1.0],
}  # fmt: skip


def test_plain_lines_say_once_what_a_cascade_learned(po: Any, client: Any) -> None:
    """It stays in the view of a task; the rows that come after it are counted as before."""

    def at(done: int, **more: Any) -> Any:
        items = {"total": 100, "done": done, "failed": 0}
        return make_view("running", tasks=[{"name": "label", "state": "running", "items": items, **more}])

    client.runs_there = [FakeRun([at(5), at(20, cascade=LEARNED), at(30, cascade=LEARNED), make_view()])]
    code, out, _ = po("show", "7f3a")
    assert code == 0
    assert out.count("label: threshold 0.83 learned from 20 rows: 100 % agree with openai:big") == 1


@pytest.mark.parametrize(
    ("state", "more", "code", "says"),
    [
        ("done", {}, 0, "label done"),
        ("failed", {"error": FAILED}, 1, "it broke"),
        ("cancelled", {}, 1, "cancelled"),
        ("dead", {"error": FAILED}, 1, "po resume"),
        ("waiting", {"gate": GATE}, 4, "Look before we send"),
    ],
)
def test_the_exit_code_tells_how_it_ended(
    state: str, more: dict[str, Any], code: int, says: str, po: Any, client: Any
) -> None:
    """R1.4: documented in `po --help`."""
    client.runs_there = [fake_run(make_view("running"), make_view(state, **more))]
    got, out, _ = po("run", "tickets")
    assert got == code
    assert says in out
    client.runs_there = [fake_run(make_view("running"), make_view(state, **more))]
    got, out, err = po("run", "tickets", "--json")
    assert got == code
    assert json.loads(out)["state"] == state
    assert err == ""


ALL_FAILED = {"name": "label", "state": "done", "items": {"total": 4, "done": 0, "failed": 4, "in_flight": 0}}


def test_a_map_without_one_good_row_exits_1(po: Any, client: Any) -> None:
    """DESIGN 9: where its pipeline lets it go on, and in stores of earlier versions, the run itself is done."""
    for verb in (("run", "tickets"), ("show", "be7f3a"), ("status", "be7f3a")):
        client.runs_there = [fake_run(make_view("done", tasks=[ALL_FAILED]))]
        code, out, _ = po(*verb)
        assert code == 1, verb
        assert "✓" not in out and "label failed on 4 of 4 rows" in out


TRACEBACK = '  File "<po_task label>", line 2, in inference\n    boom()\nNameError: boom\x1b[2J'


@pytest.mark.parametrize("verb", [("run", "tickets"), ("show", "be7f3a"), ("show", "be7f3a", "--failed")])
def test_the_lines_of_ones_own_python_are_printed(verb: tuple[str, ...], po: Any, client: Any) -> None:
    """The traceback was recorded and never shown."""
    error = {**FAILED, "details": {"traceback": TRACEBACK}}
    label = {"name": "label", "state": "failed", "kind": "python", "error": error}
    client.runs_there = [fake_run(make_view("failed", tasks=[label], error=error))]
    _, out, _ = po(*verb)
    assert '  │   File "<po_task label>", line 2, in inference\n  │     boom()\n  │ NameError: boom' in out
    assert out.count("boom()") == 1 and "\x1b" not in out


def test_an_interrupt_detaches_and_says_how_to_come_back(po: Any, client: Any) -> None:
    """P12: the run goes on."""
    run = fake_run(make_view("running"), KeyboardInterrupt())
    client.runs_there = [run]
    code, _, err = po("run", "tickets")
    assert code == 130
    assert run.asked == []
    assert f"detached; the run goes on: po show {run.short}" in err


def test_the_newest_failures_are_asked_for_when_there_are_more(monkeypatch: pytest.MonkeyPatch) -> None:
    from po_jupyter.cli.live import FailureNews

    def event(offset: int, item: int) -> dict[str, Any]:
        error = {"message": f"no label {item}"}
        return {
            "offset": offset,
            "type": "item.failed",
            "task": "label",
            "item": item,
            "data": {"error": error},
        }

    view = make_view("running")  # with one failed row
    run = fake_run(view)
    run.history = [event(n, n) for n in range(1, 8)]
    news = FailureNews(run)
    news.look(view)
    assert news.newest == [
        ("label row 7", "no label 7"),
        ("label row 6", "no label 6"),
        ("label row 5", "no label 5"),
    ]
    run.history = []
    news.look(view)
    assert len(news.newest) == 3, "no more failed than before: nothing is asked"


@pytest.mark.parametrize("option", ["--once", "--no-follow"])
def test_show_once_prints_the_run_as_it_is(option: str, po: Any, client: Any) -> None:
    client.runs_there = [fake_run(make_view("running"), make_view("done"))]
    code, out, _ = po("show", "7f3a", option)
    assert code == 0
    assert "running" in out and "· done" not in out.splitlines()[0]
