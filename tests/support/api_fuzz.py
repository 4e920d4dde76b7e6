"""Requests that schemathesis makes up from the OpenAPI document, sent to a server with tokens of every scope.

`python -m tests.support.api_fuzz 10000` sends so many to a server of its own and prints what came back.
"""

from __future__ import annotations

import collections
import json
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Unsatisfiable

from po_jupyter.server.auth import SCOPES
from tests.support.jupyter_process import API, JupyterProcess

RUN = {
    "pipeline": {"name": "small", "tasks": [{"name": "label", "prompt": "Label {{ seed.text }}"}]},
    "seed": {"name": "first", "data": {"text": "x"}},
}
GATE = {
    "pipeline": {"name": "gated", "tasks": [{"name": "label", "prompt": "Label it", "gate": True}]},
    "seed": {"name": "second", "data": {}},
}
FAILED = {
    "pipeline": {
        "name": "broken",
        "tasks": [{"name": "label", "source": "def ingestion(ctx):\n    raise OSError"}],
    },
    "seed": {"name": "third", "data": {}},
}
# Templates that take long, a schema with millions of items, fields without an end: what a reader may send.
LOOPS = "{% for a in range(99999) %}" * 3 + "x" + "{% endfor %}" * 3
HEAVY: list[dict[str, Any]] = [
    {"pipeline": {"name": "p", "tasks": [{"name": "t", **task}]}, "seed": {"name": "s", "data": {}}}
    for task in (
        {"prompt": LOOPS},
        {"prompt": "{{ '{:>{w}}'.format(1,w=99999999)|length }}"},
        {"prompt": "x", "schema": {"type": "array", "items": {}, "minItems": 3_000_000}},
        {"prompt": "x", **{f"f{n}": n for n in range(20_000)}},
    )
]


@dataclass
class Outcome:
    """What came back."""

    statuses: collections.Counter[int] = field(default_factory=collections.Counter)
    operations: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)  # s, of GET /api/status

    def percentile(self, share: float) -> float:
        """Of the latencies, in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


class Fuzzer:
    """Sends made-up requests to one server."""

    def __init__(self, server: JupyterProcess) -> None:
        self._server = server
        self._random = random.Random(7)
        self.outcome = Outcome()
        with server.http() as client:
            self.document = client.get("openapi.json").json()
            self.runs = [client.post("runs", json=body).json()["run"]["id"] for body in (RUN, GATE, FAILED)]
            client.put("pipelines/small", json=RUN["pipeline"])
            self.tokens = [
                client.post("tokens", json={"scopes": scopes}).json()["secret"]
                for scopes in ([scope] for scope in (*SCOPES,))
            ]
            self.tokens.append(client.post("tokens", json={"scopes": list(SCOPES)}).json()["secret"])
        self._http = httpx.Client(base_url=server.url, trust_env=False, timeout=60)

    def close(self) -> None:
        self._http.close()

    def send(self, requests: int, *, seconds: float = float("inf")) -> None:
        """So many requests, evenly over all operations, or as many as the time allows."""
        import schemathesis

        schema = schemathesis.openapi.from_dict(self.document)
        operations = [result.ok() for result in schema.get_all_operations()]
        modes = list(schemathesis.GenerationMode)
        until = time.monotonic() + seconds
        round_ = 0
        while self._sent < requests and time.monotonic() < until:
            round_ += 1
            for operation in operations:
                each = max(1, min(25, (requests - self._sent) // len(operations) or 1))
                for mode in modes:
                    if self._sent < requests and time.monotonic() < until:
                        self._examples(operation, mode, each, round_)

    @property
    def _sent(self) -> int:
        return sum(self.outcome.statuses.values())

    def _examples(self, operation: Any, mode: Any, count: int, number: int) -> None:
        @seed(number)
        @settings(
            max_examples=count, database=None, deadline=None, phases=[Phase.generate], verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(operation.as_strategy(generation_mode=mode))
        def one(case: Any) -> None:
            self._send(case)

        with suppress(Unsatisfiable):  # nothing invalid can be made of an operation without a parameter
            one()

    def _send(self, case: Any) -> None:
        for name in case.path_parameters or {}:
            if self._random.random() < 0.7:
                case.path_parameters[name] = self._known(name)
        kwargs = case.as_transport_kwargs(base_url=self._server.url)
        headers = {
            k: v for k, v in kwargs["headers"].items() if k.lower() not in ("authorization", "connection")
        }
        for name in ("Authorization", "authorization"):
            headers.pop(name, None)
        caller = self._random.randrange(20)
        if caller >= 2:
            token = "wrong" if caller == 2 else self._random.choice(self.tokens)
            token = self.tokens[-1] if caller > 10 else token  # of every scope
            headers["Authorization"] = f"token {token}"
        params = {k: v for k, v in (kwargs.get("params") or {}).items() if k != "token"}
        label = f"{case.method} {case.operation.path}"
        content: dict[str, Any] = {k: kwargs[k] for k in ("json", "data") if kwargs.get(k) is not None}
        try:
            self._exchange(label, case, kwargs["url"], params, headers, content)
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError, TypeError, ValueError):
            return  # what no client can send
        except httpx.HTTPError as error:
            self.outcome.wrong.append(f"{label}: {error!r} {kwargs}"[:2000])

    def _exchange(
        self, label: str, case: Any, url: str, params: Any, headers: dict[str, str], content: dict[str, Any]
    ) -> None:
        if isinstance(data := content.pop("data", None), str | bytes):
            content["content"] = data
        elif data is not None:
            content["data"] = data
        with self._http.stream(case.method, url, params=params, headers=headers, **content) as answer:
            beginning = next(answer.iter_bytes(), b"")
        self.outcome.statuses[answer.status_code] += 1
        self.outcome.operations[label] += 1
        documented = case.operation.definition.raw["responses"]
        media = answer.headers.get("content-type", "").partition(";")[0]
        status = str(answer.status_code)
        if status not in documented:
            self.outcome.wrong.append(f"{label}: {status} {beginning[:300]!r} {params} {content}"[:2000])
        elif media and media not in {
            name.partition(";")[0] for name in documented[status].get("content", {media: None})
        }:
            self.outcome.wrong.append(f"{label}: {status} as {media}")

    def _known(self, name: str) -> str:
        if name == "id":
            return self._random.choice(self.runs)
        return self._random.choice(
            {"name": ["small", "new"], "provider": ["openai", "anthropic"]}.get(name, ["label", "x"])
        )


class StatusProbe:
    """Asks Jupyter itself how it is, again and again, and keeps how long that took."""

    def __init__(self, server: JupyterProcess, outcome: Outcome, every: float = 0.05) -> None:
        self._server, self._outcome, self._every = server, outcome, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> StatusProbe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        headers = {"Authorization": f"token {self._server.token}"}
        with httpx.Client(base_url=self._server.url, headers=headers, trust_env=False, timeout=60) as client:
            while not self._stop.wait(self._every):
                began = time.perf_counter()
                assert client.get("api/status").status_code == 200
                self._outcome.latencies.append(time.perf_counter() - began)


class Heavy:
    """A reader who sends bodies that are a lot of work, one after the other."""

    def __init__(self, server: JupyterProcess) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.statuses: collections.Counter[int] = collections.Counter()

    def __enter__(self) -> Heavy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        with httpx.Client(base_url=self._server.url + API, trust_env=False, timeout=60) as client:
            client.headers["Authorization"] = f"token {self._server.token}"
            bodies = [
                (path, json.dumps(body)) for body in HEAVY for path in ("runs/estimate", "pipelines/validate")
            ]
            while not self._stop.is_set():
                for path, text in bodies:
                    if not self._stop.wait(0.2):
                        with suppress(httpx.HTTPError):
                            self.statuses[client.post(path, content=text).status_code] += 1


def start(folder: Path) -> JupyterProcess:
    """A server with the real orchestrator and a model that costs nothing."""
    return JupyterProcess(
        folder,
        orchestrator=None,
        env={
            "PO_DEFAULT_MODEL": "fake:echo",
            "PO_REQUESTS_PER_MINUTE": "1000000",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        },
    )


def tracebacks(server: JupyterProcess) -> list[str]:
    """The last lines of the tracebacks in the server's log."""
    return re.findall(r"Traceback[\s\S]*?\n    (\w[^\n]*)", server.log.read_text(errors="replace"))


def main(arguments: Sequence[str]) -> int:
    """`N [--heavy]`: the figures; 1 when something was wrong, or Jupyter was slow. `--heavy`: while a reader sends
    bodies that are a lot of work."""
    requests = int(arguments[0]) if arguments else 10_000
    with tempfile.TemporaryDirectory() as folder:
        server = start(Path(folder))
        try:
            fuzzer = Fuzzer(server)
            began = time.monotonic()
            with (
                StatusProbe(server, fuzzer.outcome),
                Heavy(server) if "--heavy" in arguments else nullcontext() as heavy,
            ):
                fuzzer.send(requests)
            fuzzer.close()
        finally:
            server.stop()
        for line in report(fuzzer.outcome, time.monotonic() - began, tracebacks(server)):
            print(line)
        if heavy is not None:
            print("heavy bodies:", dict(heavy.statuses))
    return 1 if fuzzer.outcome.wrong or fuzzer.outcome.percentile(0.99) > 100 else 0


def report(outcome: Outcome, seconds: float, traces: Sequence[str]) -> Iterator[str]:
    yield f"{sum(outcome.statuses.values())} requests to {len(outcome.operations)} operations in {seconds:.0f} s"
    yield f"statuses: {dict(sorted(outcome.statuses.items()))}"
    yield f"GET /api/status: p50 {outcome.percentile(0.5):.1f} ms, p99 {outcome.percentile(0.99):.1f} ms, " + (
        f"max {outcome.percentile(1):.1f} ms of {len(outcome.latencies)}"
    )
    yield f"wrong: {len(outcome.wrong)}; tracebacks: {len(traces)}"
    yield from sorted(set(outcome.wrong))[:40]
    yield from sorted(set(traces))[:20]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
