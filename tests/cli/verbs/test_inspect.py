"""`po rows` and `po calls`, of a real run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from po_jupyter.client.client import Client
from po_jupyter.client.http.transport import Endpoint
from po_jupyter.client.run import Run
from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.acceptance

FAILS = """
def inference(ctx):
    if ctx.item["n"] == 3:
        raise ValueError("no \x1b[31mluck")
    return ctx.item["n"]
"""
PIPELINE = {
    "name": "inspected", "llm": {"model": "fake:echo"},
    "tasks": [
        {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "Label {{ item.n }}"},
        {"name": "check", "for_each": "{{ seed.rows }}", "source": FAILS, "retry": {"max_attempts": 1}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path_factory.mktemp("inspect"), orchestrator=None)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def run(server: JupyterProcess) -> Iterator[Run]:
    client = Client(Endpoint(server.url, server.token))
    yield client.submit(PIPELINE, seed={"rows": [{"n": n} for n in range(6)]}).wait()
    client.close()


@pytest.fixture(autouse=True)
def _found(server: JupyterProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PO_JUPYTER_URL", server.url)
    monkeypatch.setenv("PO_JUPYTER_TOKEN", server.token)


def test_rows_of_a_map(po: Any, run: Run) -> None:
    code, out, _ = po("rows", run.short, "--task", "label")
    assert code == 0
    assert len(out.splitlines()) == 7
    assert "echo: Label 5" in out
    _, out, _ = po("rows", run.short, "--task", "check", "--failed")
    assert len(out.splitlines()) == 2
    assert "luck" in out and "\x1b" not in out
    page = json.loads(
        po("rows", run.short, "--task", "label", "--sort", "output", "--desc", "--limit", "2", "--json")[1]
    )
    assert [row["index"] for row in page["rows"]] == [5, 4]
    assert page["task"] == "label"
    _, out, _ = po("rows", run.short, "--task", "label", "--limit", "4")
    assert "4 of 6 rows; the next ones: --start 4" in out
    assert "no rows like that" in po("rows", run.short, "--task", "label", "--failed")[1]
    assert len(po("rows", run.short, "--task", "label", "--search", "Label 2")[1].splitlines()) == 2


def test_which_map_is_asked_where_there_are_several(po: Any, run: Run) -> None:
    code, _, err = po("rows", run.short)
    assert code == 2
    assert "its maps: label, check" in err and "--task" in err
    code, _, err = po("rows", run.short, "--task", "lable")
    assert code == 2
    assert "did you mean `label`" in err


def test_calls_and_one_of_them(po: Any, run: Run) -> None:
    code, out, _ = po("calls", run.short)
    assert code == 0
    assert len(out.splitlines()) == 7
    page = json.loads(po("calls", run.short, "--row", "2", "--json")[1])
    (call,) = page["calls"]
    code, out, _ = po("calls", run.short, str(call["n"]))
    assert code == 0
    assert "Label 2" in out and "answer:" in out and "echo: Label 2" in out
    assert json.loads(po("calls", run.short, str(call["n"]), "--json")[1])["n"] == call["n"]
    assert "no calls like that" in po("calls", run.short, "--failed")[1]
    assert "the next ones: --start 2" in po("calls", run.short, "--limit", "2")[1]
    code, _, err = po("calls", run.short, "99")
    assert code == 1
    assert "99" in err
