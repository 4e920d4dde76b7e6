"""Done-when 3 of trust: servers are stopped and killed in the middle of 40 calls, and no call is paid for twice.

python -m pytest tests/crash/test_handover.py -m slow -s          # 20 times each, with the figures
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from po_jupyter import config
from po_jupyter.client import headless
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.testing.model_server import ModelServer
from tests.support.jupyter_process import API, JupyterProcess
from tests.support.orchestrator import end_workers, is_alive
from tests.support.paths import ROOT

WIDTH = 40  # calls in flight
PATIENCE = 0.5  # s that a stop waits for workers: shorter than any call here
LATENCY = 1.5  # s
HUB = {"JUPYTERHUB_SERVICE_PREFIX": "/user/me/"}


class Servers:
    """One server after the other over one data directory."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.environ = environ

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def http(self) -> httpx.Client: ...


class Jupyters(Servers):
    """Jupyter servers, stopped as a person or a hub does."""

    def __init__(self, folder: Path, environ: dict[str, str], sig: int = signal.SIGTERM) -> None:
        super().__init__(folder, environ)
        self.signal = sig

    def start(self) -> None:
        self.server = JupyterProcess(self.folder, orchestrator=None, env=self.environ)

    def stop(self) -> None:
        self.server.process.send_signal(self.signal)
        self.server.process.wait(20)

    def kill(self) -> None:
        self.server.kill()

    def http(self) -> httpx.Client:
        return self.server.http()


class Headless(Servers):
    """`po start` and `po stop`."""

    def start(self) -> None:
        environ = {**os.environ, **self.environ, "PO_DATA_DIR": str(self.data)}
        self.server = headless.start(config.load(environ), environ)

    def stop(self) -> None:
        command = [sys.executable, "-m", "po_jupyter", "stop"]
        environ = {
            **os.environ, **self.environ, "PO_DATA_DIR": str(self.data), "PYTHONPATH": str(ROOT)
        }  # fmt: skip
        subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60)

    def kill(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        while headless.is_alive(self.server):
            time.sleep(0.01)

    def http(self) -> httpx.Client:
        endpoint = self.server.endpoint
        headers = {"Authorization": f"token {endpoint.token}"}
        return httpx.Client(base_url=endpoint.url + API, headers=headers, trust_env=False, timeout=20)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer(latency=LATENCY) as server:
        yield server


@pytest.fixture
def servers(tmp_path: Path, model: ModelServer, request: pytest.FixtureRequest) -> Iterator[Servers]:
    environ = {
        "OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key,
        "PO_SHUTDOWN_TIMEOUT": str(PATIENCE), "PO_STORE_SHARDS": "2", "PO_LEASE_TTL": "3",
    }  # fmt: skip
    servers: Servers = request.param(tmp_path, environ)
    servers.start()
    yield servers
    servers.stop()
    end_workers(servers.data)


def submit(servers: Servers, rows: int) -> str:
    """A map of prompts, every one a different one."""
    task = {"name": "rows", "prompt": "row {{ item }}", "for_each": "{{ seed.rows }}", "max_concurrency": WIDTH}
    pipeline = {"name": "wide", "llm": {"model": "openai:test", "max_tokens": 50}, "tasks": [task]}
    seed = {"name": "seed", "data": {"rows": list(range(rows))}}
    with servers.http() as http:
        answer = http.post("runs", json={"pipeline": pipeline, "seed": seed})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["run"]["id"])


def finished(servers: Servers, run: str, patience: float = 60.0) -> dict[str, Any]:
    """The run at its end."""
    until = time.monotonic() + patience
    with servers.http() as http:
        while (view := http.get(f"runs/{run}").json()["run"])["state"] not in ("done", "failed", "dead"):
            assert time.monotonic() < until, view
            time.sleep(0.1)
    return dict(view)


def in_flight(model: ModelServer) -> int:
    return sum(not r.answered and not r.aborted for r in model.requests)


def handed_over(
    servers: Servers, model: ModelServer, times: int, end: Callable[[], None], *, hold: bool = False
) -> None:
    """End the server `times` times, each in the middle of 40 calls; every row is asked once.

    With `hold` no call ends while there is no server: a worker that goes on would soon have asked everything.
    """
    rows = WIDTH * ((3 * times if hold else 3 * times // 2) + 1)
    run = submit(servers, rows)
    stops: list[float] = []
    open_calls: list[int] = []
    for _ in range(times):
        model.wait_for(min(rows, len(model.requests) + WIDTH), timeout=40)
        open_calls.append(in_flight(model))
        if hold:
            model.hold()
        began = time.monotonic()
        end()
        stops.append(time.monotonic() - began)
        servers.start()
        model.release()
    view = finished(servers, run)
    again = model.paid_twice()
    print(
        f"\n{times} times, {sum(open_calls)} calls in flight then: {len(model.requests)} requests for {rows} calls, "
        f"{len(again)} answered ones sent again; an end took {max(stops):.1f} s at most"
    )
    assert view["state"] == "done", view["error"]
    assert min(open_calls) >= WIDTH // 2, "the stops were in the middle of something"
    assert again == []
    assert model.duplicates() == {}
    assert len(model.requests) == rows
    assert (view["usage"]["calls"], view["usage"]["unknown"]) == (rows, 0)


def ways(*quick: str) -> pytest.MarkDecorator:
    """A test with a server of each kind; without one of `quick` it is slow."""
    servers: dict[str, Any] = {
        "po stop": Headless,
        "a Jupyter server, SIGTERM": Jupyters,
        "a hub, SIGINT": lambda folder, environ: Jupyters(folder, {**environ, **HUB}, signal.SIGINT),
    }
    return pytest.mark.parametrize(
        "servers",
        [
            pytest.param(server, id=name, marks=[] if name in quick else pytest.mark.slow)
            for name, server in servers.items()
        ],
        indirect=True,
    )


KILLED = pytest.mark.parametrize("servers", [Headless], indirect=True)


@ways("po stop", "a Jupyter server, SIGTERM")
def test_a_stop_hands_over_and_pays_for_no_call_twice(servers: Servers, model: ModelServer) -> None:
    """B1: workers finish what is in flight, neither waited for nor killed."""
    handed_over(servers, model, 2, servers.stop)


@ways("po stop", "a hub, SIGINT")
def test_after_a_stop_nothing_new_is_sent_and_workers_exit_by_themselves(
    servers: Servers, model: ModelServer
) -> None:
    model.hold()
    run = submit(servers, 3 * WIDTH)
    model.wait_for(WIDTH)
    worker = worker_of(servers.data, run)
    servers.stop()
    assert in_flight(model) == WIDTH, "a stop does not wait for calls to end"
    assert is_alive(worker)
    model.release()
    until = time.monotonic() + 20
    while is_alive(worker):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert len(model.requests) == WIDTH
    servers.start()
    assert finished(servers, run)["usage"]["unknown"] == 0
    assert len(model.requests) == 3 * WIDTH


@KILLED
def test_a_killed_server_leaves_its_worker_at_work(servers: Servers, model: ModelServer) -> None:
    handed_over(servers, model, 2, servers.kill, hold=True)


@KILLED
def test_a_killed_worker_costs_the_calls_in_flight_and_no_other(servers: Servers, model: ModelServer) -> None:
    killed_workers(servers, model, 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@ways()
def test_twenty_stops(servers: Servers, model: ModelServer) -> None:
    handed_over(servers, model, 20, servers.stop)


@pytest.mark.slow
@pytest.mark.timeout(900)
@KILLED
def test_twenty_kills_of_the_server(servers: Servers, model: ModelServer) -> None:
    handed_over(servers, model, 20, servers.kill, hold=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@KILLED
def test_twenty_kills_of_the_worker(servers: Servers, model: ModelServer) -> None:
    killed_workers(servers, model, 20)


def killed_workers(servers: Servers, model: ModelServer, times: int) -> None:
    """Kill the worker `times` times: what was in flight is sent again, and nothing else."""
    rows = WIDTH * (2 * times + 2)
    run = submit(servers, rows)
    lost = 0
    for _ in range(times):
        answered = sum(r.answered for r in model.requests)
        # Progress, or it would be a run that only crashes.
        model.wait_for(answered + WIDTH, answered=True, timeout=40)
        model.wait_for(len(model.requests) + WIDTH, timeout=40)
        model.hold()
        time.sleep(0.5)  # what was answered is recorded by now
        lost += in_flight(model)
        os.kill(worker_of(servers.data, run), signal.SIGKILL)
        until = time.monotonic() + 5
        while in_flight(model):
            assert time.monotonic() < until
            time.sleep(0.01)
        model.release()
    view = finished(servers, run)
    again = model.paid_twice()
    print(
        f"\n{times} kills of the worker, {lost} calls in flight then: {len(model.requests)} requests for {rows} "
        f"calls, {len(again)} answered ones sent again"
    )
    assert view["state"] == "done", view["error"]
    assert again == []
    assert len(model.requests) == rows + lost
    assert view["usage"]["unknown"] == lost


def worker_of(data_dir: Path, run: str) -> int:
    store = DiskStore(data_dir / "store")
    try:
        until = time.monotonic() + 10
        while (holder := store.head(run)["holder"]) is None:
            assert time.monotonic() < until
            time.sleep(0.02)
        return int(holder["pid"])
    finally:
        store.close()
