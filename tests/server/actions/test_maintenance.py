"""B15, G7: every change over HTTP is a line of the audit log; export, usage and clean over the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from po_jupyter.server.routes import TABLE
from tests.support.jupyter_process import JupyterProcess, body, definition

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    """A server of this module alone: its audit log is read from the first line on."""
    process = JupyterProcess(tmp_path_factory.mktemp("audited"))
    yield process
    process.stop()


@pytest.fixture
def http(server: JupyterProcess) -> Iterator[httpx.Client]:
    with server.http() as client:
        yield client


def test_who_changed_what_is_written_down(http: httpx.Client) -> None:
    """B15: submit, cancel, resume, pipelines and deletions; reading and refusals leave no line."""
    run = http.post("runs", json=body(idempotency_key="k")).json()["run"]
    http.post(f"runs/{run['id'][-6:]}/cancel", json={})
    http.post(f"runs/{run['id']}/resume", json={"only_failed": True})
    http.post(f"runs/{run['id']}/cancel", json={})
    assert http.post(f"runs/{run['id']}/gate", json={"decision": "approve"}).status_code == 409
    http.put("pipelines/tickets", json=definition())
    http.delete("pipelines/tickets")
    http.delete(f"runs/{run['id']}")
    http.post("pipelines/validate", json={"pipeline": definition()})
    assert http.delete("runs/nope").status_code == 404
    http.get("runs")
    answer = http.get("audit").json()
    assert answer["next"] is None
    entries = answer["entries"][::-1]
    assert [e["action"] for e in entries] == [
        "submit", "cancel", "resume", "cancel", "put_pipeline", "delete_pipeline", "delete_run",
    ]  # fmt: skip
    assert {e["by"] for e in entries} == {"local"}
    assert all(e["at"] for e in entries)
    submitted, cancelled, resumed, *_ = entries
    assert (submitted["run"], submitted["pipeline"]) == (run["id"], "tickets")
    assert cancelled["run"] == run["id"], "the whole id, however it was given"
    assert resumed["only_failed"] is True
    assert entries[4]["name"] == "tickets"
    assert entries[-1]["id"] == run["id"]
    assert "seed" not in json.dumps(submitted), "data are not copied into the log"
    page = http.get("audit", params={"limit": 2}).json()
    more = http.get("audit", params={"limit": 100, "cursor": page["next"]}).json()
    assert page["entries"] + more["entries"] == answer["entries"]


def test_every_route_that_changes_something_is_audited() -> None:
    """B15: by the table; the exceptions are named here."""
    silent = {f"{r.method} {r.path}" for r in TABLE.routes if r.method != "GET" and not r.audited}
    assert silent == {f"POST pipelines/{verb}" for verb in ("complete", "describe", "validate")} | {
        "POST handovers/check", "POST runs/{id}/score/rows",
    }  # fmt: skip
    assert not [r.path for r in TABLE.routes if r.method == "GET" and r.audited]
    assert next(r for r in TABLE.routes if r.path == "audit").scopes == ("admin",)


def test_ended_runs_are_exported_as_lines(http: httpx.Client) -> None:
    """B15, P8: every ended run once, in pages that nobody sees; running ones are not history yet."""
    made = [http.post("runs", json=body(steps=1)).json()["run"]["id"] for _ in range(3)]
    for run in made:
        http.get(f"runs/{run}/events", headers={"Accept": "text/event-stream"})
    going = http.post("runs", json=body()).json()["run"]["id"]
    answer = http.get("runs/export")
    assert answer.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["id"] for line in lines if line["id"] in made] == made[::-1]
    assert going not in [line["id"] for line in lines]
    assert all(line["state"] == "done" for line in lines if line["id"] in made)
    assert {"tasks", "usage", "error", "created_at", "pipeline"} <= set(lines[0])
    assert http.get("runs/export", params={"state": "failed"}).text == ""
    refused = http.get("runs/export", params={"state": "running"})
    assert refused.status_code == 400
    assert "'running' has not ended" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"older_than": -1}, "older_than"),
        ({"older_than": "soon"}, "needs a number"),
        ({"states": ["running"]}, "states[0]"),
        ({"states": "done"}, "needs a list"),
        ({"dryrun": True}, "did you mean `dry_run`?"),
        ({"cache": "all"}, "cache"),
    ],
)
def test_a_wrong_request_to_clean_deletes_nothing(http: httpx.Client, asked: dict[str, Any], said: str) -> None:
    """P11, G7: what is running can never be named for deletion."""
    answer = http.post("clean", json=asked)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_clean_and_usage_over_the_wire(http: httpx.Client) -> None:
    """G7, issue "Tokens and money": the shapes of HTTP."""
    answer = http.post("clean", json={"dry_run": True, "older_than": 30, "states": ["done", "dead"]}).json()
    assert answer == {"runs": [], "bytes": 0, "returned": 0, "dry_run": True}
    forgotten = http.post("clean", json={"cache": True}).json()
    assert forgotten["cache"].keys() == {"answers", "bytes"}
    assert forgotten["runs"] == []
    assert set(http.get("usage").json()) == {"days", "total", "disk"}
    for wrong in ("0", "many", "-1", "99999"):
        answer = http.get("usage", params={"days": wrong})
        assert answer.status_code == 400
        assert "days" in answer.json()["error"]["message"]
    found = http.get("openapi.json").json()["paths"]
    content = found["/po/api/v1/runs/export"]["get"]["responses"]["200"]["content"]
    assert list(content) == ["application/x-ndjson"]


def test_the_log_is_in_the_data_directory_for_its_owner_only(server: JupyterProcess) -> None:
    """B15, P10."""
    path = Path(server.data) / "audit" / "audit.jsonl"
    assert path.stat().st_mode & 0o077 == 0
    assert server.token not in path.read_text()
