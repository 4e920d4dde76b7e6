"""Shared runs are their owner's: nobody else sees, cancels or reads them, whatever they guess (issue 12)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.shared_runs import SERVICE_TOKEN, TEAM_KEY, SharedRuns, shared_runs

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def vendor() -> Iterator[ModelServer]:
    with ModelServer(key=TEAM_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def service(vendor: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedRuns]:
    folder = tmp_path_factory.mktemp("shared")
    limits = {"users": {"carol": {"usd_per_day": 0.0001}}, "groups": {"blue": {"usd_per_day": 5}}}
    with shared_runs(folder, vendor.root_url, limits) as running:
        yield running


def body(name: str = "notes", *, gate: bool = False, **task: Any) -> dict[str, Any]:
    """A run of two rows."""
    one = {
        "name": "label",
        "for_each": "{{ seed.rows }}",
        "prompt": f"{name} {{{{ item }}}}",
        "gate": gate,
        **task,
    }
    return {
        "pipeline": {"name": name, "llm": {"model": "openai:gpt-5-mini", "max_tokens": 20}, "tasks": [one]},
        "seed": {"name": name, "data": {"rows": ["secret one", "secret two"]}},
    }


def submit(client: httpx.Client, content: dict[str, Any]) -> str:
    response = client.post("runs", json=content)
    assert response.status_code == 201, response.text
    return str(response.json()["run"]["id"])


@pytest.fixture(scope="module")
def alices(service: SharedRuns) -> str:
    """A run of alice's that is done."""
    with service.client("alice") as alice:
        run = submit(alice, body())
    view = service.await_state("alice", run, "done", "failed")
    assert view["state"] == "done", view["error"]
    assert view["owner"] == "alice"
    return run


def test_the_owners_run_is_asked_of_the_gateway_in_the_owners_name(service, vendor, alices):
    calls = [call for call in vendor.requests if "notes secret" in json.dumps(call.body)]
    assert len(calls) == 2
    assert {call.headers["authorization"] for call in calls} == {f"Bearer {TEAM_KEY}"}
    header = {"Authorization": "Bearer token-of-root"}
    usage = httpx.get(
        f"{service.gateway_url}/api/admin/usage?by=user&format=json", headers=header, trust_env=False
    )
    assert (
        {"alice"} == {row["name"] for row in usage.json()["usage"]} if "usage" in usage.json() else usage.text
    )


READS = [
    "", "/pipeline", "/outputs", "/display", "/artifacts", "/artifacts/x.txt", "/items?task=label", "/calls",
    "/provenance?task=label", "/tasks/label/rows", "/tasks/label/rows/0", "/model-calls", "/model-calls/0",
    "/timeline", "/spending", "/logs", "/events", "/compare?with={run}&task=label",
]  # fmt: skip
CHANGES = [
    ("POST", "/cancel", {}), ("POST", "/resume", {}), ("POST", "/restart", {}),
    ("POST", "/fork", {"from_task": "label"}), ("DELETE", "", None), ("POST", "/gate", {"decision": "approve"}),
]  # fmt: skip


@pytest.mark.parametrize("stranger", ["bob", "carol", "root"])
def test_somebody_elses_run_is_not_there(service, alices, stranger):
    with service.client(stranger) as client:
        assert alices not in client.get("runs").text
        for id in (alices, alices[-6:], alices[-4:]):
            for path in READS:
                response = client.get(f"runs/{id}{path.format(run=alices)}", headers={"Accept": "*/*"})
                assert response.status_code == 404, (path, response.text)
                assert "secret" not in response.text
            for method, path, content in CHANGES:
                response = client.request(method, f"runs/{id}{path}", json=content)
                assert response.status_code == 404, (method, path, response.text)
    assert service.await_state("alice", alices, "done")["state"] == "done"


def test_what_others_keep_beside_their_runs_is_not_there(service, alices):
    rows = b'{"text": "a row of alice"}\n'
    digest = hashlib.sha256(rows).hexdigest()
    keyed = {**body("keyed"), "idempotency_key": "the same for both"}
    with service.client("alice") as alice, service.client("bob") as bob:
        assert alice.put(f"blobs/{digest}", content=rows).status_code == 201
        assert bob.get(f"blobs/{digest}").status_code == 404
        content = body("file")
        content["seed"]["data"] = {"rows": {"$rows": digest, "count": 1, "columns": ["text"]}}
        response = bob.post("runs", json=content)
        assert "a row of alice" not in response.text
        definition = body("library")["pipeline"]
        assert alice.put("pipelines/library", json=definition).status_code in (200, 201)
        assert bob.get("pipelines/library").status_code == 404
        assert bob.get("pipelines").json()["pipelines"] == []
        assert bob.post("runs", json={"pipeline": "library", "seed": body()["seed"]}).status_code == 404
        assert submit(alice, keyed) != submit(bob, keyed)
        mine = submit(bob, body("notes"))
        service.await_state("bob", mine, "done")
        assert bob.get(f"runs/{mine}/compare", params={"with": alices, "task": "label"}).status_code == 404
        assert {row["reused"] for row in bob.get(f"runs/{mine}/items?task=label").json()["items"]} <= {
            None,
            False,
        }
        for path in ("runs/export", "runs/attention", "dead-letters", "usage", "waits"):
            assert alices not in bob.get(path).text, path


def test_the_streams_of_others_have_nothing_of_it(service, alices):
    for path, status in ((f"runs/{alices}/events", 404), ("events", 200)):
        with (
            service.client("bob") as bob,
            bob.stream("GET", path, headers={"Accept": "text/event-stream"}) as stream,
        ):
            assert stream.status_code == status
            first = "" if status == 404 else next(stream.iter_text())
            assert alices not in first  # bob's own runs are
            assert '"owner":"alice"' not in first


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": ""}, {"Authorization": "token wrong"}, {"Cookie": "jupyterhub-session-id=x; token=y"},
        {"Authorization": "token token-of-eve"}, {"Authorization": f"token {SERVICE_TOKEN}"},
        {"X-Forwarded-User": "alice"}, {"Authorization": "token token-of-bob", "x-api-key": "token-of-alice"},
    ],
)  # fmt: skip
def test_nobody_and_who_may_not_use_it_get_nothing(service, alices, headers):
    for path in ("runs", f"runs/{alices}", "meta", "events", "keys", "openapi.json", "nothing"):
        response = httpx.get(f"{service.url}/po/api/v1/{path}", headers=headers, trust_env=False)
        assert response.status_code in (401, 403), (path, response.text)
        assert "secret" not in response.text
    url = f"{service.url}/po/api/v1/runs?token=token-of-alice"
    assert httpx.get(url, trust_env=False).status_code == 401


def test_who_somebody_is_is_not_theirs_to_say(service, alices):
    with service.client("bob") as bob:
        for header in ("X-Po-On-Behalf-Of", "X-Forwarded-User", "Remote-User"):
            assert bob.get(f"runs/{alices}", headers={header: "alice"}).status_code == 404
        assert bob.get("runs", params={"owner": "alice"}).status_code in (200, 400)
        for group in ("blue", "leads", "nobody", "../red", "group:red", "alice"):
            assert bob.get("runs", headers={"X-Po-Group": group}).status_code == 403, group


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"source": "def inference(ctx): return 1", "prompt": None, "for_each": None}, "source"),
        ({"tools": ["files.read"]}, "mcp_servers"),
    ],
)
def test_code_is_refused_before_the_start(service, change, reason):
    content = body("code", **change)
    content["pipeline"]["tasks"][0] = {
        k: v for k, v in content["pipeline"]["tasks"][0].items() if v is not None
    }
    with service.client("alice") as alice:
        response = alice.post("runs", json=content)
    assert response.status_code in (400, 403), response.text
    assert reason in response.text


@pytest.mark.parametrize(
    ("model", "reason"),
    [("claude-cli:default", "run commands"), ("local:smollm2-135m", "gateway"), ("ollama:llama3", "gateway"),
     ("local:/etc/passwd.gguf", "file"), ("openai:gpt-4.1", "team's models")],
)  # fmt: skip
def test_models_that_are_not_the_gateways_are_refused_before_the_start(service, model, reason):
    content = body("models")
    content["pipeline"]["llm"]["model"] = model
    content["options"] = {"skip_validation": True}
    with service.client("alice") as alice:
        response = alice.post("runs", json=content)
    assert response.status_code in (400, 403), response.text
    assert reason in response.text


def test_an_interpreter_and_a_directory_are_nobodys_to_choose(service):
    with service.client("alice") as alice:
        for field, value in (("interpreter", "/bin/sh"), ("cwd", "/tmp")):
            content = {**body("place"), field: value}
            content["pipeline"]["tasks"].append({"name": "py", "module": "json"})
            response = alice.post("runs", json=content)
            assert response.status_code in (400, 403), response.text


def test_a_groups_run_is_its_members_with_their_roles(service):
    with (
        service.client("alice", "red") as alice, service.client("bob", "red") as bob, service.client("bob") as plain,
        service.client("dan") as dan, service.client("carol") as carol,
    ):  # fmt: skip
        run = submit(bob, body("group", gate=True))
        view = service.await_state("bob", run, "waiting")
        assert view["owner"] == "group:red"
        assert run in bob.get("runs").text
        assert run not in plain.get("runs").text  # his own
        assert dan.get(f"runs/{run}").status_code == 200  # a viewer, by the run alone
        assert dan.post(f"runs/{run}/cancel", json={}).status_code == 403
        assert dan.post(f"runs/{run}/gate", json={"decision": "approve"}).status_code == 403
        assert plain.post(f"runs/{run}/gate", json={"decision": "approve"}).status_code == 403  # a runner
        assert carol.get(f"runs/{run}").status_code == 404
        with service.client("dan", "red") as viewer:
            assert viewer.post("runs", json=body("group")).status_code == 403
        assert alice.post(f"runs/{run}/gate", json={"decision": "approve"}).status_code == 200
    service.await_state("bob", run, "done")
    with service.client("dan") as dan:
        events = dan.get(f"runs/{run}/events", headers={"Accept": "application/json"}).json()["events"]
    by = {event["type"]: event["data"].get("by") for event in events}
    assert by["run.created"] == "bob"
    assert by["gate.decided"] == "alice"
    with service.client("root") as root:
        entries = root.get("audit").json()["entries"]
    assert {"bob", "alice"} <= {entry["by"] for entry in entries if entry.get("run") in (run, None)}


def test_the_budget_of_the_owner_holds_and_that_of_the_group_is_the_groups(service):
    with service.client("carol") as carol, service.client("carol", "blue") as blue:
        own, groups = submit(carol, body("budget")), submit(blue, body("budget"))
    view = service.await_state("carol", own, "done", "failed")
    assert view["state"] == "failed"
    assert "budget" in str(view["error"]) or "usd_per_day" in str(view["error"]), view["error"]
    assert service.await_state("carol", groups, "done", "failed")["state"] == "done"


def test_the_administrator_sees_the_machine_and_not_others_runs(service, alices):
    with service.client("root") as root, service.client("alice") as alice:
        for path in ("doctor", "workers", "audit", "metrics", "keys"):
            assert root.get(path).status_code == 200, path
            assert alice.get(path).status_code == 403, path
        assert root.get(f"runs/{alices}").status_code == 404


def test_neither_token_nor_key_is_kept(service, alices):
    kept = [
        path
        for path in (service.folder / "data").rglob("*")
        if path.is_file()
        and any(text.encode() in path.read_bytes() for text in (SERVICE_TOKEN, TEAM_KEY, "token-of-alice"))
    ]
    assert kept == []
