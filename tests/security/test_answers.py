"""Every request has an answer of ours: no 500, no traceback, and nothing before it is known who asks."""

from __future__ import annotations

import errno
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.jupyter_process import JupyterProcess, body

pytestmark = pytest.mark.integration

METHODS = ("FOO", "PROPFIND", "TRACE", "QUERY", "get", "FINISH", "WRITE", "_serve", "OPTIONS", "PATCH")
PREFIX = "/po/api/v1"


def ask(
    process: JupyterProcess, method: str, target: str, token: str | None = ""
) -> tuple[int, dict[str, Any], str]:
    """Status, body and `Allow` of a request whose method and target are sent as they are."""
    connection = http.client.HTTPConnection(urlsplit(process.url).netloc, timeout=20)
    headers = {} if token is None else {"Authorization": f"token {token or process.token}"}
    try:
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers.get("Allow") or ""
    finally:
        connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path_factory.mktemp("answers"))
    yield process
    process.stop()
    assert "Traceback" not in process.log.read_text()


@pytest.mark.parametrize("target", [PREFIX, PREFIX + "?x=1", PREFIX + "/", PREFIX + "//", PREFIX + "/%2F"])
def test_the_prefix_alone_is_a_path_like_any(server: JupyterProcess, target: str) -> None:
    """C8: `/po/api/v1` without a slash was a 500 with two tracebacks."""
    assert ask(server, "GET", target, None)[0] == 401
    status, answer, _ = ask(server, "GET", target)
    assert (status, answer["error"]["code"]) == (404, "not_found")


def test_what_only_begins_like_the_prefix_is_not_ours(server: JupyterProcess) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        assert "error" not in client.get("po/api/v1nope").text[:9]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_nobody_knows_is_refused_as_any_other(server: JupyterProcess, method: str) -> None:
    """C8, P5: 401 for the anonymous, then 405 with what is possible; never a method of the handler itself."""
    assert ask(server, method, PREFIX + "/runs", None)[0] == 401
    status, answer, allow = ask(server, method, PREFIX + "/runs")
    assert (status, allow) == (405, "POST, GET")
    assert f"{method} is not possible here" in answer["error"]["message"]
    assert ask(server, method, PREFIX + "/nowhere")[0] == 404


FIELDS = ["·a", "·", "·text", "·list", "a\u0000", "\u2028", "__class__", "", "ﬁ", "$ref"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_may_have_any_name(server: JupyterProcess, field: str) -> None:
    """C8: `·a` was a 500, because the parts of places that only pydantic knows begin with that dot."""
    step = {"name": "t", "prompt": "x"}
    bodies: list[tuple[str, Any]] = [
        ("pipelines/validate", {"pipeline": {"name": "x", "tasks": [{**step, field: 1}]}}),
        ("pipelines/validate", {"pipeline": {"name": "x", field: 2, "tasks": [step]}}),
        ("pipelines/validate", {"pipeline": {"name": "x", "tasks": [{**step, "retry": {field: 1}}]}}),
        ("pipelines/validate", {field: 2}),
        ("runs", {**body(), field: 1}),
        ("runs", {**body(), "options": {field: 1}}),
    ]
    with server.http() as client:
        for path, content in bodies:
            answer = client.post(path, content=json.dumps(content))
            assert answer.status_code == 400, (path, content, answer.text)
            assert f"`{field}`" in answer.json()["error"]["message"]


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(
        tmp_path_factory.mktemp("troubled"),
        orchestrator="tests.support.troubled_orchestrator.TroubledOrchestrator",
        args=(
            "--ServerApp.identity_provider_class=tests.support.two_people.Troubled",
            "--ServerApp.authorizer_class=tests.support.two_people.TroubledRules",
        ),
    )
    yield process
    process.stop()
    assert "Traceback" not in process.log.read_text()


@pytest.mark.parametrize(
    "trouble", ["thread", "memory", *(str(n) for n in (errno.EMFILE, errno.ENFILE, errno.EAGAIN))]
)
def test_a_machine_that_has_nothing_left_says_so_for_the_moment(troubled: JupyterProcess, trouble: str) -> None:
    """C8: `can't start new thread` was a 500; so were too many open files, no process, no memory."""
    with troubled.http("token-of-alice") as client:
        answer = client.get("pipelines/" + trouble)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert "no more" in answer.json()["error"]["message"]


@pytest.mark.parametrize("trouble", ["hub-500", "hub-502", "hub-429", "hub-gone", "hub-slow"])
def test_a_hub_that_is_down_is_no_reason_to_refuse_somebody(troubled: JupyterProcess, trouble: str) -> None:
    """C8: 503, to be tried again; it was 403, as if the token were wrong."""
    with troubled.http(trouble) as client:
        answer = client.get("health")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    with troubled.http("hub-403") as client:
        assert client.get("health").status_code == 403
    with troubled.http("token-of-bob") as client:
        assert client.get("health").status_code == 503, "the authorizer asks the hub, too"


def test_a_data_directory_that_cannot_be_used_is_one_message(tmp_path: Path) -> None:
    """C8: the extension loads all the same, and every route says what is wrong."""
    (tmp_path / "file").write_text("")
    process = JupyterProcess(
        tmp_path / "jupyter", orchestrator=None, env={"PO_DATA_DIR": str(tmp_path / "file" / "data")}
    )
    try:
        with process.http() as client:
            assert client.get("health").status_code == 200
            answer = client.get("runs")
            assert (answer.status_code, answer.json()["error"]["code"]) == (507, "store_unusable")
            assert str(tmp_path / "file") in answer.json()["error"]["message"]
            assert "PO_DATA_DIR" in answer.json()["error"]["hint"]
    finally:
        process.stop()
    assert "Traceback" not in process.log.read_text()
