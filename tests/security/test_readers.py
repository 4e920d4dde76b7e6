"""C2: a reader stops nobody: what reads somebody's input is done by a child that can be killed; real server."""

# ruff: noqa: E501 - one body is one line of the table

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.acceptance

SEED = {"name": "s", "data": {}}
LOOPS = "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}{% endfor %}{% endfor %}{% endfor %}"
REF = {
    "$defs": {"a": {"type": "object", "properties": {f"p{i}": {"$ref": "#/$defs/a"} for i in range(40)}}},
    "$ref": "#/$defs/a",
}


def one(**task: Any) -> dict[str, Any]:
    return {"name": "p", "tasks": [{"name": "a", "prompt": "x", "llm": "fake:echo", **task}]}


def nested(levels: int, keyword: str = "items") -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "minItems": 10, keyword: schema}
    return schema


YAML = "name: p\ntasks:\n- name: a\n  prompt: x\n  config:\n"
VALIDATE: dict[str, Any] = {
    "yaml anchors": "a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a, *a, *a]\n" for i in range(60_000)),
    "yaml deep": "name: p\nx: " + "[" * 900_000 + "]" * 900_000,
    "yaml long": YAML + "".join(f"    key{i}: [1, 2, 3]\n" for i in range(85_000)),
    "yaml flow": "name: p\ntasks: [" + "{name: a, prompt: x}, " * 80_000 + "]",
    "yaml quotes": YAML + '    a: "' + "\\u0041" * 250_000 + '"\n',
    "unknown fields": {**one(), **{f"field{i}": 1 for i in range(200_000)}},
    "unknown fields of a task": one(**{f"field{i}": 1 for i in range(200_000)}),
    "unknown settings": one(llm={f"field{i}": 1 for i in range(200_000)}),
    "long names": {**one(), **{"x" * 100_000 + str(i): 1 for i in range(30)}},
    "many tasks": {"name": "p", "tasks": [{"name": f"t{i}", "prompt": "x"} for i in range(200_000)]},
    "bad tasks": {"name": "p", "tasks": [{"nme": f"t{i}"} for i in range(200_000)]},
    "many needs": {"name": "p", "tasks": [{"name": f"t{i}", "prompt": "x", "needs": [f"u{j}" for j in range(200)]} for i in range(1000)]},
    "large schema": one(output={"type": "object", "properties": {f"p{i}": {"type": "string", "minLength": 1} for i in range(50_000)}}),
    "deep schema": one(output=nested(150)),
    "patterns": one(output={"type": "object", "properties": {f"p{i}": {"pattern": "(a" * 50 + ")*" * 50} for i in range(5000)}}),
    "template": one(prompt="{{ " + "('a'|center(1000000))|length + " * 50_000 + "1 }}"),
    "names in templates": one(prompt="".join(f"{{{{ nme{i} }}}}" for i in range(100_000))),
    "deep template": one(prompt="{{ " + "(" * 100_000 + " }}"),
    "tokens": one(prompt="{{" * 500_000),
    "long source": {"name": "p", "tasks": [{"name": "a", "source": "x = " + "(" * 1000 + ")" * 1000}]},
    "wide source": {"name": "p", "tasks": [{"name": "a", "source": "x = [" + "1," * 800_000 + "]"}]},
}  # fmt: skip
ESTIMATE: dict[str, Any] = {
    "loops": one(prompt=LOOPS),
    "loops in for_each": one(for_each="{{ range(100000) }}", prompt="{% for a in range(100000) %}{{ a }}{% endfor %}"),
    "much text": one(prompt="{% for a in range(100000) %}{{ 'a' * 1000000 }}{% endfor %}"),
    "one width": one(prompt="{{ '{:>{w}}'.format(1,w=999999999)|length }}"),
    "many items": one(output={"type": "array", "minItems": 3_000_000, "items": {"type": "string"}}),
    "more items": one(output={"type": "array", "minItems": 10**12}),
    "many items of many": one(output=nested(12)),
    "long text": one(output={"type": "string", "minLength": 10**12}),
    "recursion": one(output=REF),
    "a step of nothing": one(output={"type": "integer", "minimum": 1, "multipleOf": 1e-300}),
    "a giant number": one(output={"type": "integer", "minimum": 10**4000, "multipleOf": 3}),
    "many answers": {"name": "p", "tasks": [
        {"name": "a", "for_each": "{{ range(100000) }}", "prompt": "x", "llm": "fake:echo", "output": {"type": "array", "minItems": 1000, "items": {"type": "string"}}},
        {"name": "b", "prompt": "{{ tasks.a }}", "llm": "fake:echo"},
    ]},
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path_factory.mktemp("readers"), orchestrator=None)
    with process.http() as client:
        client.post("pipelines/validate", json={"pipeline": one()})
    yield process
    process.stop()


class Pulse:
    """Asks Jupyter itself how it is, all the time."""

    def __init__(self, server: JupyterProcess) -> None:
        self._url = server.url + "api/status"
        self._headers = {"Authorization": f"token {server.token}"}
        self._over = threading.Event()
        self.seconds: list[float] = []

    def __enter__(self) -> Pulse:
        self._thread = threading.Thread(target=self._beat)
        self._thread.start()
        return self

    def _beat(self) -> None:
        with httpx.Client(headers=self._headers, trust_env=False, timeout=60) as http:
            while not self._over.is_set():
                begun = time.perf_counter()
                assert http.get(self._url).status_code == 200
                self.seconds.append(time.perf_counter() - begun)
                time.sleep(0.005)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def p99(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


def content(body: object) -> dict[str, Any]:
    """A body for `post`, encoded before a pulse is taken: its thread would wait for this one meanwhile."""
    return {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json"}}


def refused(answer: httpx.Response) -> str:
    """The message of a refusal that is the sender's fault, or only not now."""
    assert answer.status_code in (400, 413, 429), (answer.status_code, answer.text[:300])
    error = answer.json()["error"]
    assert len(answer.content) < 60_000
    assert len(error["details"].get("violations", [])) <= 20
    if answer.status_code == 429:
        assert int(answer.headers["Retry-After"]) > 0
    return str(error["message"])


QUICK = {
    "unknown fields",
    "deep template",
    "tokens",
    "long source",
    "long names",
    "one width",
    "long text",
    "a giant number",
}


def cases(table: dict[str, Any]) -> list[Any]:
    """The quick ones for every change; those that take until they are killed are slow."""
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in table]


@pytest.mark.parametrize("name", cases(VALIDATE))
def test_what_cannot_be_read_is_refused_in_time(server: JupyterProcess, name: str) -> None:
    body = content({"pipeline": VALIDATE[name]})
    with server.http() as http, Pulse(server) as pulse:
        begun = time.monotonic()
        answer = http.post("pipelines/validate", **body, timeout=60)
        took = time.monotonic() - begun
    if answer.status_code != 200:  # some of it is only large
        refused(answer)
    assert took < 30
    assert max(pulse.seconds, default=0.0) < 1.0, (name, sorted(pulse.seconds)[-5:])


@pytest.mark.parametrize("name", cases(ESTIMATE))
def test_what_cannot_be_estimated_is_refused_in_time(server: JupyterProcess, name: str) -> None:
    body = content({"pipeline": ESTIMATE[name], "seed": SEED})
    with server.http() as http, Pulse(server) as pulse:
        begun = time.monotonic()
        answer = http.post("runs/estimate", **body, timeout=60)
        took = time.monotonic() - begun
    if answer.status_code != 200:
        refused(answer)
    assert took < 30
    assert max(pulse.seconds, default=0.0) < 1.0, (name, sorted(pulse.seconds)[-5:])


def test_six_readers_stop_nobody(server: JupyterProcess) -> None:
    """Six estimates that never end: Jupyter answers, runs are listed and started, the server says that it is ready."""
    endless = {"pipeline": one(prompt=LOOPS), "seed": SEED}

    def estimate(_: int) -> httpx.Response:
        with server.http() as http:
            return http.post("runs/estimate", json=endless, timeout=90)

    with ThreadPoolExecutor(8) as readers, server.http() as http, Pulse(server) as pulse:
        answers = [readers.submit(estimate, number) for number in range(8)]
        time.sleep(1)
        begun = time.monotonic()
        assert http.get("ready").json() == {"ready": True, "orchestrator": True, "store": "ok"}
        assert http.get("runs").status_code == 200
        submitted = http.post("runs", json={"pipeline": one(), "seed": SEED})
        assert submitted.status_code == 201, submitted.text
        while http.get(f"runs/{submitted.json()['run']['id']}").json()["run"]["state"] != "done":
            assert time.monotonic() - begun < 20
            time.sleep(0.1)
        messages = [refused(answer.result()) for answer in answers]
    # An estimate on the server's own loop would hold it up for tens of seconds; a slow processor alone takes 0.1.
    assert pulse.p99() < 0.5, sorted(pulse.seconds)[-20:]
    statuses = [answer.result().status_code for answer in answers]
    assert statuses.count(429) >= 1 and statuses.count(400) >= 2, messages  # two at once, four wait
    assert any("takes more than" in message for message in messages)


def test_the_server_ends_whatever_hangs(tmp_path: Path) -> None:
    process = JupyterProcess(tmp_path, orchestrator=None)
    threads = []
    for path in ("runs/estimate", "runs", "pipelines/validate") * 3:
        body = {
            "pipeline": one(prompt=LOOPS) if path == "runs/estimate" else VALIDATE["yaml flow"],
            "seed": SEED,
        }

        def ask(path: str = path, body: dict[str, Any] = body) -> None:
            with process.http() as http, suppress(httpx.HTTPError):
                http.post(path, json=body, timeout=60)

        threads.append(threading.Thread(target=ask))
        threads[-1].start()
    time.sleep(4)
    begun = time.monotonic()
    process.process.send_signal(signal.SIGTERM)
    try:
        assert process.process.wait(15) == 0
    finally:
        process.kill()
        for thread in threads:
            thread.join()
    assert time.monotonic() - begun < 15
