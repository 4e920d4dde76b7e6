"""The HTTP surface over a real Jupyter server: shapes, refusals, limits, identities."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.jupyter_process import JupyterProcess, body, definition

pytestmark = pytest.mark.integration


@pytest.fixture
def http(jupyter: JupyterProcess) -> Iterator[httpx.Client]:
    with jupyter.http() as client:
        yield client


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """Every error has one shape."""
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "hint", "details"}
    assert error["message"]
    return dict(error)


def test_a_run_from_submit_to_delete(http: httpx.Client) -> None:
    """The main path of HTTP.md: 201 with the run, its list, its outputs, its end."""
    answer = http.post("runs", json=body(steps=1))
    assert answer.status_code == 201
    run = answer.json()["run"]
    assert {"id", "name", "pipeline", "version", "state", "created_at", "tasks", "usage", "last_event"} <= set(
        run
    )
    events = http.get(f"runs/{run['id']}/events", headers={"Accept": "text/event-stream"})
    assert events.text.endswith('event: end\ndata: {"state":"done"}\n\n')
    assert http.get(f"runs/{run['id'][-6:]}").json()["run"]["state"] == "done"
    assert http.get(f"runs/{run['id']}/outputs").json() == {"outputs": {"label": {"said": "label"}}}
    listed = http.get("runs", params={"state": "done,failed", "pipeline": "tickets"}).json()
    assert run["id"] in [one["id"] for one in listed["runs"]]
    assert http.delete(f"runs/{run['id']}").status_code == 204
    assert error_of(http.get(f"runs/{run['id']}"))["code"] == "not_found"


def test_lists_go_on_by_cursor(http: httpx.Client) -> None:
    """P8: every run once, newest first."""
    made = [http.post("runs", json=body()).json()["run"]["id"] for _ in range(3)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = http.get("runs", params={"limit": 1, **({"cursor": cursor} if cursor else {})}).json()
        seen += [run["id"] for run in page["runs"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen[:3] == made[::-1]
    assert len(seen) == len(set(seen))


def test_the_same_idempotency_key_is_the_same_run(http: httpx.Client) -> None:
    """DESIGN Identity: 200 and the same run; with another body 409."""
    first = http.post("runs", json=body(idempotency_key="k1"))
    again = http.post("runs", json=body(idempotency_key="k1"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["run"]["id"] == again.json()["run"]["id"]
    other = http.post("runs", json={**body(idempotency_key="k1"), "seed": {"name": "other", "data": {}}})
    assert other.status_code == 409
    assert error_of(other)["code"] == "conflict"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{bad", "not JSON"),
        (b"[1, 2]", "JSON object"),
        (b'"text"', "JSON object"),
        (b'{"seed": NaN, "pipeline": "x"}', "NaN is not JSON"),
        (b'{"seed": {"name": "a", "data": {"x": 1e999}}, "pipeline": 3, "n": -Infinity}', "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b'{"seed": "\\ud800"}', "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"pipeline": "x"}', "needs `seed`"),
        (b'{"seed": {}, "pipelin": "x"}', "did you mean `pipeline`"),
        (b'{"seed": {}, "pipeline": "x", "priority": "high"}', "priority"),
        (b'{"seed": {}, "pipeline": "x", "options": {"limit": 0}}', "options.limit"),
        (b'{"seed": {}, "pipeline": "x", "options": {"limits": 2}}', "did you mean `limit`"),
        (b'{"seed": {}, "pipeline": "x", "idempotency_key": ""}', "idempotency_key"),
    ],
)
def test_a_malformed_body_gets_one_clear_400(http: httpx.Client, content: bytes, said: str) -> None:
    """P11: what, where, and nothing started."""
    before = http.get("runs").json()
    answer = http.post("runs", content=content)
    assert answer.status_code == 400, answer.text
    assert said in error_of(answer)["message"]
    assert http.get("runs").json() == before


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("runs?state=dnoe", "did you mean `done`"),
        ("runs?limit=0", "limit"),
        ("runs?limit=many", "limit"),
        ("runs/abcd/items", "task"),
        ("runs/abcd/items?task=a&state=maybe", "state"),
        ("runs/abcd/events?since=-1", "since"),
        ("runs/abcd/events?since=x", "since"),
    ],
)
def test_a_malformed_query_gets_one_clear_400(http: httpx.Client, path: str, said: str) -> None:
    """P11."""
    answer = http.get(path)
    assert answer.status_code == 400
    assert said in error_of(answer)["message"]


def test_an_unknown_path_is_told_in_our_words(http: httpx.Client) -> None:
    """P11: 404 with a suggestion, 405 with what is possible."""
    lost = http.get("pipelnes")
    assert lost.status_code == 404
    assert "did you mean `pipelines`" in error_of(lost)["message"]
    for method in ("PATCH", "DELETE", "OPTIONS"):
        wrong = http.request(method, "runs")
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "POST, GET"
        assert error_of(wrong)["details"]["allowed"] == ["POST", "GET"]


def test_the_table_is_published(http: httpx.Client) -> None:
    """openapi.json has every route and the one shape of errors."""
    document = http.get("openapi.json").json()
    assert document["openapi"].startswith("3.1")
    post = document["paths"]["/po/api/v1/runs"]["post"]
    assert post["x-scopes"] == ["runs:write"]
    reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert "seed" in document["components"]["schemas"][reference]["required"]
    assert "/po/api/v1/runs/{id}/events" in document["paths"]
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]


def test_pipelines_are_registered_by_name(http: httpx.Client) -> None:
    """PUT 201, again 200, GET, DELETE 204; a run is started by the name."""
    assert http.put("pipelines/tickets", json=definition()).status_code == 201
    assert http.put("pipelines/tickets", json=definition()).status_code == 200
    assert http.get("pipelines/tickets").json()["pipeline"]["name"] == "tickets"
    assert http.post("runs", json={**body(), "pipeline": "tickets"}).status_code == 201
    assert http.delete("pipelines/tickets").status_code == 204
    assert http.get("pipelines/tickets").status_code == 404


def test_an_invalid_pipeline_says_where(http: httpx.Client) -> None:
    """P11: violations with their places."""
    answer = http.post(
        "pipelines/validate", json={"pipeline": {"name": "a", "tasks": [{"name": "t", "promt": "x"}]}}
    )
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["code"] == "invalid_pipeline"
    assert error["details"]["violations"]


def test_answers_are_json_and_not_stored(http: httpx.Client) -> None:
    """No answer is taken for a page, or kept by a proxy."""
    answer = http.get("health")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(
        tmp_path_factory.mktemp("tight"),
        args=("--PoExtension.requests_per_minute=10",),
        env={"PO_MAX_REQUEST_BYTES": "2000", "PO_AUTH_TOKEN": "the-orchestrators-own"},
    )
    yield process
    process.stop()


class TestLimits:
    def test_too_many_requests_are_told_when_to_come_back(self, tight: JupyterProcess) -> None:
        """DESIGN: a token bucket per token; 429 with Retry-After; another token is not touched."""
        with tight.http() as http:
            states = [http.get("health").status_code for _ in range(12)]
            assert states == [200] * 10 + [429] * 2
            answer = http.get("health")
            assert error_of(answer)["code"] == "rate_limited"
            assert 1 <= int(answer.headers["retry-after"]) <= 6
        with tight.http("the-orchestrators-own") as http:
            assert http.get("health").status_code == 200

    def test_a_body_too_large_is_refused_and_not_kept(self, tight: JupyterProcess) -> None:
        """P11: 413 for a declared and for a chunked body."""
        large = {"pipeline": "x", "seed": {"name": "a", "data": {"text": "x" * 5000}}}
        with tight.http("the-orchestrators-own") as http:
            declared = http.post("runs", json=large)
            assert declared.status_code == 413
            assert "2000" in error_of(declared)["message"]
            chunked = http.post("runs", content=iter([json.dumps(large).encode()]))
            assert chunked.status_code == 413
            assert http.get("health").status_code == 200  # on the same connection

    def test_the_orchestrators_own_token_is_as_good_as_jupyters(self, tight: JupyterProcess) -> None:
        """PO_AUTH_TOKEN opens, and changes things without XSRF; a part of it does not."""
        with tight.http("the-orchestrators-own") as http:
            assert http.post("runs", json=body()).status_code == 201
        with tight.http("the-orchestrators-ow") as http:
            assert http.get("health").status_code == 403


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(
        tmp_path_factory.mktemp("shared"),
        token="token-of-alice",
        args=(
            "--ServerApp.identity_provider_class=tests.support.two_people.Named",
            "--ServerApp.authorizer_class=tests.support.two_people.Rules",
        ),
    )
    yield process
    process.stop()


class TestPeople:
    def test_nobody_sees_the_runs_of_another(self, shared: JupyterProcess) -> None:
        """P5: another owner's run is not found, in lists, by id, by suffix and on streams."""
        with shared.http("token-of-alice") as alice, shared.http("token-of-bob") as bob:
            run = alice.post("runs", json=body()).json()["run"]["id"]
            assert alice.get("meta").json()["user"] == {"name": "alice"}
            assert bob.get("runs").json()["runs"] == []
            for path in (f"runs/{run}", f"runs/{run[-6:]}", f"runs/{run}/events", f"runs/{run}/outputs"):
                assert bob.get(path).status_code == 404
            for path in (f"runs/{run}/cancel", f"runs/{run}/resume"):
                assert bob.post(path, json={}).status_code == 404
            assert alice.get(f"runs/{run}").json()["run"]["state"] == "pending"

    def test_scopes_are_asked_of_jupyters_authorizer(self, shared: JupyterProcess) -> None:
        """P5: action and resource are ours, each route's own."""
        with shared.http("token-of-carol") as carol:
            assert carol.get("runs").status_code == 200
            refused = carol.post("runs", json=body())
            assert refused.status_code == 403
            assert error_of(refused)["details"] == {"scope": "runs:write"}
            assert error_of(carol.post("runs/abcd/gate", json={"decision": "approve"}))["details"] == {
                "scope": "gates"
            }

    def test_code_needs_its_own_scope(self, shared: JupyterProcess) -> None:
        """DESIGN Doors: `code:run` for `source` and `interpreter`."""
        code = definition(tasks=[{"name": "t", "source": "def integration(ctx): return 1"}])
        with shared.http("token-of-alice") as alice, shared.http("token-of-bob") as bob:
            assert alice.post("runs", json={**body(), "pipeline": code}).status_code == 201
            assert bob.post("runs", json={**body(), "pipeline": code}).status_code == 403
            assert bob.post("runs", json=body(interpreter="/usr/bin/python3")).status_code == 403
            assert bob.post("runs", json=body()).status_code == 201


def test_wrong_settings_are_told_by_every_route(tmp_path: Path) -> None:
    """P11: the server starts, and says what is wrong with our settings."""
    process = JupyterProcess(tmp_path, env={"PO_MAX_RUNNING": "many"})
    try:
        with process.http() as http:
            assert http.get("health").status_code == 200
            assert http.get("ready").status_code == 503
            answer = http.get("runs")
            assert error_of(answer)["code"] == "invalid_settings"
            assert "PO_MAX_RUNNING" in answer.json()["error"]["message"]
    finally:
        process.stop()


def test_what_one_token_sends_at_once_is_bounded(tmp_path: Path) -> None:
    """Bodies that never end fill no memory, are in nobody else's way, and are forgotten with their connection."""
    server = JupyterProcess(tmp_path, env={"PO_MAX_REQUEST_BYTES": "100000"})
    try:
        with server.http() as http:
            url = httpx.URL(server.url)
            token = http.post("tokens", json={"scopes": ["runs:read"]}).json()["secret"]
            head = (
                f"POST {url.path}po/api/v1/pipelines/validate HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n"
                f"Authorization: Bearer {token}\r\nContent-Length: 99000\r\n\r\n"
            ).encode()
            reader = {"Authorization": f"Bearer {token}"}

            def validate(headers: dict[str, str]) -> int:
                return http.post(
                    "pipelines/validate", json={"pipeline": "x" * 50_000}, headers=headers
                ).status_code

            with ExitStack() as open_ones:

                def send_one_more() -> int:
                    # One that comes while the question is there may be the one that is refused: then one more is sent.
                    place = (str(url.host), int(url.port or 80))
                    one = open_ones.enter_context(socket.create_connection(place))
                    one.sendall(head + b"x" * 98_000)
                    return validate(reader)

                assert validate(reader) == 400
                await_status(send_one_more, 429)
                assert validate({}) == 400  # another token
            await_status(lambda: validate(reader), 400)
    finally:
        server.stop()


def await_status(ask: Callable[[], int], status: int) -> None:
    """Ask until the answer has that status."""
    until = time.monotonic() + 10
    while (got := ask()) != status:
        assert time.monotonic() < until, got


def test_requests_that_the_stop_overtook_are_told_so(tmp_path: Path) -> None:
    """A client tries again after 503, and takes 500 for a fault of ours."""
    process = JupyterProcess(tmp_path, orchestrator="tests.support.stopping_orchestrator.StoppingOrchestrator")
    paths = ("runs", "pipelines")
    with process.http() as http, ThreadPoolExecutor(2) as threads:
        assert http.get("ready").status_code == 200
        asked = [threads.submit(http.get, path) for path in paths]
        for path in paths:
            with pytest.raises(httpx.ReadTimeout):  # the one before it came, and waits
                http.get(path, timeout=0.5)
        process.stop()
        answers = [response.result(10) for response in asked]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert {error_of(answer)["message"] for answer in answers} == {"the orchestrator is stopping"}
