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


def test_an_interrupt_detaches_and_says_how_to_come_back(po: Any, client: Any) -> None:
    """P12: the run goes on."""
    run = fake_run(make_view("running"), KeyboardInterrupt())
    client.runs_there = [run]
    code, _, err = po("run", "tickets")
    assert code == 130
    assert run.asked == []
    assert f"detached; the run goes on: po show {run.short}" in err
