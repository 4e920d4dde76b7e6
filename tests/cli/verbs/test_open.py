"""`po open`: the address of a run's page, without a token."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import click
import pytest

from po_jupyter.client import headless
from tests.support.cli import fake_run, make_view


@pytest.fixture(autouse=True)
def opened(client: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    run = fake_run(make_view("running"))
    run.client = SimpleNamespace(url="http://127.0.0.1:8888/user/ada/")  # type: ignore[attr-defined]
    client.runs_there = [run]
    opened: list[str] = []
    monkeypatch.setattr(click, "launch", lambda url: opened.append(url) or 0)
    return opened


def test_it_prints_the_address_and_opens_it_when_asked(po: Any, client: Any, opened: list[str]) -> None:
    url = f"http://127.0.0.1:8888/user/ada/lab?po-run={client.runs_there[0].id}"
    assert po("open", "7f3a") == (0, url + "\n", "")
    assert opened == [], "no terminal, no desktop"
    po("open", "7f3a", "--browser")
    assert opened == [url]
    assert json.loads(po("open", "7f3a", "--json")[1])["url"] == url
    assert "token" not in url


def test_the_public_address_is_that_of_the_settings(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PO_PUBLIC_URL", "https://hub.example/user/ada")
    assert po("open", "7f3a")[1].startswith("https://hub.example/user/ada/lab?po-run=")


def test_an_orchestrator_without_pages_says_what_to_start(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = SimpleNamespace(url="http://127.0.0.1:8888/user/ada")
    monkeypatch.setattr(
        headless, "holder", lambda settings: SimpleNamespace(kind="headless", endpoint=endpoint)
    )
    code, _, err = po("open", "7f3a")
    assert code == 3
    assert "jupyter lab" in err and "po show" in err
