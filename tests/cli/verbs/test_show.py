"""`po runs`, `status`, `show`, `pipelines`."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import click
import pytest

from po_jupyter.client import headless
from tests.support.cli import fake_run, make_view

FAILED = {"code": "stage_failed", "message": "it broke\nin two lines", "hint": "mend it"}


def test_runs_is_a_table_and_json(po: Any, client: Any) -> None:
    assert "no runs yet" in po("runs")[1]
    client.runs_there = [fake_run(make_view("done", name="A\x1b[31m ticket\nwith lines"))]
    code, out, _ = po("runs")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert "done" in out
    assert "2/2" in out
    assert "\x1b" not in out
    assert "41.5 s" in out
    assert json.loads(po("runs", "--json")[1])[0]["pipeline"] == "tickets"
    assert "no runs like that" in po("runs", "--state", "dead")[1]


def test_status_of_the_orchestrator_and_of_a_run(po: Any, client: Any) -> None:
    client.runs_there = [fake_run(make_view("running"))]
    code, out, _ = po("status")
    assert code == 0
    assert "/data" in out
    assert "1 running" in out
    assert "http://127.0.0.1:1/" in out
    assert "it holds the store of /data" in out
    assert json.loads(po("status", "--json")[1])["live"] == ["running"]
    client.runs_there = [fake_run(make_view("failed", error=FAILED))]
    code, out, _ = po("status", "7f3a")
    assert code == 1
    assert "it broke" in out
    assert "mend it" in out
    assert po("status", "7f3a", "--json")[0] == 1


def test_status_of_an_orchestrator_that_is_not_ready_says_why(
    po: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = {"ready": False, "orchestrator": True, "store": "the store cannot be used: the disk is full"}
    monkeypatch.setattr(client, "ready", lambda: full)
    code, out, _ = po("status")
    assert code != 0
    assert "not ready     the store cannot be used: the disk is full\n" in out
    assert json.loads(po("status", "--json")[1])["ready"] == full


def test_status_names_channels_of_notifications_in_trouble(po: Any, client: Any) -> None:
    """G12: a wrong secret is shown as such."""
    good = {"name": "mail", "receiver": "mailtos", "error": "", "waiting": 0}
    bad = {"name": "ops", "receiver": "ops.example", "error": "refused (HTTP 401)", "waiting": 3}
    client.channels = [good, bad]
    _, out, _ = po("status")
    assert "notifications ops (ops.example): refused (HTTP 401), 3 waiting" in out
    assert "mail" not in out


def test_show_prints_results_failures_and_outputs(po: Any, client: Any) -> None:
    run = fake_run(make_view())
    run.failed_rows = [
        {"index": 2, "ok": False, "output": None, "error": {"message": "no label\x1b[2J", "hint": "ask"}}
    ]
    client.runs_there = [run]
    code, out, _ = po("show", "7f3a")
    assert code == 0
    assert '{"label": "bug"}' in out
    assert "--output label" in out
    code, out, _ = po("show", "7f3a", "--failed")
    assert code == 0
    assert "label row 2: no label" in out
    assert "\x1b" not in out
    assert "resume" in out
    assert json.loads(po("show", "7f3a", "--failed", "--json")[1])[0]["task"] == "label"
    assert json.loads(po("show", "7f3a", "--output", "label")[1]) == run.outputs["label"]
    assert json.loads(po("show", "7f3a", "--json")[1])["id"] == run.id


def test_a_row_that_failed_is_its_message_among_the_results(po: Any, client: Any) -> None:
    """Not the JSON of the row."""
    run = fake_run(make_view())
    rows = [
        {"index": 0, "ok": False, "output": None, "error": {"code": "c", "message": "no label"}},
        {"index": 1, "ok": True, "output": "bug", "error": None},
    ]
    run.outputs = {"label": rows}
    client.runs_there = [run]
    out = po("show", "7f3a")[1]
    assert " 0  ✗ no label\n 1  bug\n" in out


def test_a_budget_that_is_nearly_spent_is_said(po: Any, client: Any) -> None:
    """G1: 80 %, in the words that the cell and the panel have too."""
    warning = {"scope": "run", "fraction": 0.834, "used": {"usd": 1.7, "tokens": 5}, "budget": {"usd": 2.0}}
    client.runs_there = [fake_run(make_view("waiting", warnings=[warning], budget={"usd": 2.0}))]
    _, out, _ = po("status", "be7f3a")
    assert "83 % of the budget used" in out


def test_the_output_of_a_task_without_one_is_an_error_with_a_reason(po: Any, client: Any) -> None:
    """C8: `po show --output` of a task that is not done was a traceback."""
    client.runs_there = [fake_run(make_view("running"))]
    client.runs_there[0].outputs = {}
    code, out, err = po("show", "7f3a", "--output", "label")
    assert (code, out) == (1, "")
    assert "task 'label' of run be7f3a has no output: it is running" in err


def test_a_done_run_whose_last_task_has_no_output_is_shown(po: Any, client: Any) -> None:
    client.runs_there = [fake_run(make_view("done"))]
    client.runs_there[0].outputs = {}
    assert po("show", "7f3a")[0] == 0


def test_a_run_that_cannot_be_read_says_so_below_the_list(po: Any, client: Any) -> None:
    error = {"code": "corrupt_row", "message": "the row head/x is a pickle", "hint": "", "details": {}}
    client.runs_there = [fake_run(make_view("failed", error=error, tasks=[], created_at="", updated_at=""))]
    code, out, err = po("runs")
    assert code == 0
    assert "be7f3a" in out
    assert "be7f3a: the row head/x is a pickle" in err


@pytest.fixture
def opened_pages(client: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    run = fake_run(make_view("running"))
    run.client = SimpleNamespace(url="http://127.0.0.1:8888/user/ada/")
    client.runs_there = [run]
    opened: list[str] = []
    monkeypatch.setattr(click, "launch", lambda url: opened.append(url) or 0)
    return opened


def test_it_prints_the_address_and_opens_it_when_asked(po: Any, client: Any, opened_pages: list[str]) -> None:
    url = f"http://127.0.0.1:8888/user/ada/lab?po-run={client.runs_there[0].id}"
    assert po("open", "7f3a") == (0, url + "\n", "")
    assert opened_pages == [], "no terminal, no desktop"
    po("open", "7f3a", "--browser")
    assert opened_pages == [url]
    assert json.loads(po("open", "7f3a", "--json")[1])["url"] == url
    assert "token" not in url


@pytest.mark.usefixtures("opened_pages")
def test_the_public_address_is_that_of_the_settings(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PO_PUBLIC_URL", "https://hub.example/user/ada")
    assert po("open", "7f3a")[1].startswith("https://hub.example/user/ada/lab?po-run=")


@pytest.mark.usefixtures("opened_pages")
def test_an_orchestrator_without_pages_says_what_to_start(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = SimpleNamespace(url="http://127.0.0.1:8888/user/ada")
    monkeypatch.setattr(
        headless, "holder", lambda settings: SimpleNamespace(kind="headless", endpoint=endpoint)
    )
    code, _, err = po("open", "7f3a")
    assert code == 3
    assert "jupyter lab" in err and "po show" in err
