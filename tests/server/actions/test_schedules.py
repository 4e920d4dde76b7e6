"""Schedules over HTTP: a real server, a real store, scoped tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.integration
GREET = {"name": "greet", "tasks": [{"name": "say", "prompt": "Hello {{ seed.who }}", "llm": "fake:echo"}]}
BODY = {"pipeline": "greet", "cron": "0 0 1 1 *", "seed": {"data": {"who": "you"}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path_factory.mktemp("scheduled"), orchestrator=None)
    yield process
    process.stop()


@pytest.fixture
def http(server: JupyterProcess) -> Iterator[httpx.Client]:
    with server.http() as client:
        client.put("pipelines/greet", json=GREET).raise_for_status()
        yield client


def added(http: httpx.Client, **more: Any) -> str:
    answer = http.post("schedules", json={**BODY, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["schedule"]["id"])


def test_a_schedule_lives_over_http(http: httpx.Client) -> None:
    """Added, listed, replaced, changed in part, run now, removed; each change is in the audit log."""
    schedule = added(http, timezone="Europe/Berlin")
    (brief,) = http.get("schedules").json()["schedules"]
    assert (brief["id"], brief["state"]) == (schedule, "active")
    assert brief["next_at"].endswith("12-31T23:00:00Z")
    replaced = http.put(f"schedules/{schedule}", json={**BODY, "missed": "all"}).json()["schedule"]
    assert (replaced["missed"], replaced["timezone"]) == ("all", "UTC")
    paused = http.patch(f"schedules/{schedule}", json={"paused": True, "cron": "0 0 2 1 *"}).json()["schedule"]
    assert (paused["state"], paused["cron"], paused["missed"]) == ("paused", "0 0 2 1 *", "all")
    assert http.patch(f"schedules/{schedule}", json={"paused": False}).json()["schedule"]["state"] == "active"
    run = http.post(f"schedules/{schedule}/run", json={})
    assert run.status_code == 201
    until = time.monotonic() + 30
    while http.get(f"runs/{run.json()['run']['id']}").json()["run"]["state"] != "done":
        assert time.monotonic() < until
        time.sleep(0.05)
    last = http.get(f"schedules/{schedule}").json()["schedule"]["last"]
    assert (last["outcome"], last["state"], last["note"]) == ("run", "done", "asked for by hand")
    assert http.delete(f"schedules/{schedule}").status_code == 204
    assert http.get(f"schedules/{schedule}").status_code == 404
    actions = [entry["action"] for entry in http.get("audit").json()["entries"]][::-1]
    assert [action for action in actions if "schedule" in action] == [
        "add_schedule", "put_schedule", "patch_schedule", "patch_schedule", "run_schedule", "delete_schedule",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cron": "61 * * * *"}, "cron"), ({"timezone": "Mars"}, "there is no time zone 'Mars'"),
        ({"missed": "some"}, "missed"), ({"crron": "x"}, "did you mean `cron`"), ({"seed": []}, "seed"),
        ({"seed": {"files": "relative.csv"}}, "give an absolute one"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_clear_400(http: httpx.Client, wrong: dict[str, Any], message: str) -> None:
    """P11."""
    answer = http.post("schedules", json={**BODY, **wrong})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"] + answer.json()["error"].get("hint", "")
    assert http.get("schedules").json()["schedules"] == []


def test_a_token_schedules_no_more_than_it_may_and_takes_it_along(
    server: JupyterProcess, http: httpx.Client
) -> None:
    made = http.post("tokens", json={"scopes": ["runs:read", "runs:write"], "expires": 3600}).json()
    with server.http(made["secret"]) as limited:
        schedule = added(limited)
        refused = limited.post("schedules", json={**BODY, "seed": {"files": "/etc/hosts.txt"}})
        assert refused.status_code == 403
        assert refused.json()["error"]["details"] == {"scope": "code:run"}
        keys = limited.post("schedules", json={**BODY, "seed": {"files": str(server.data / "keys.json")}})
        assert keys.status_code == 403
        assert limited.get(f"schedules/{schedule}").json()["schedule"]["code_allowed"] is False
    assert http.delete(f"tokens/{made['token']['id']}").status_code == 204
    found = http.get(f"schedules/{schedule}").json()["schedule"]
    assert found["state"] == "paused"
    assert made["token"]["id"] in found["reason"]
    assert made["secret"] not in http.get(f"schedules/{schedule}").text
    http.delete(f"schedules/{schedule}")
