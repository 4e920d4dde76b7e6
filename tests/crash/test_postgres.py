"""Runs over a store in PostgreSQL: to their end, over kills of workers and of the database's server (P1, P3)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.platform import processes
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.store.protocol import Commit, Ref
from po_jupyter.testing.conformance.store import event, new_run
from po_jupyter.testing.model_server import ModelServer
from tests.support.orchestrator import body, orchestrator, task, wait_for_state, wait_for_task_state
from tests.support.paths import ROOT, TESTS
from tests.support.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.acceptance


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


async def test_a_run_is_worked_off_and_a_killed_worker_is_replaced(
    tmp_path: Path, server: PostgresServer
) -> None:
    async with orchestrator(tmp_path, store=server.url()) as service:
        view, _ = await service.submissions.submit(body(task("one"), task("two", seconds=1.0)), owner="local")
        await wait_for_task_state(service, view.id, "two")
        os.kill(service.dispatcher.active.supervisor.processes.by_run[view.id].pid, signal.SIGKILL)
        view = await wait_for_state(service, view.id, patience=40)
        assert view.state == "done"
        types = [e["type"] for e in await service.runs.events(view.id, None)]
        assert types.count("worker.crashed") == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.timeout(110)
async def test_a_run_waits_while_the_database_is_away_and_nothing_is_paid_twice(
    tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer(latency=0.3) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", model.key)
        rows = {
            "name": "rows", "prompt": "row {{ item }}", "for_each": str(list(range(40))), "max_concurrency": 4,
            "llm": {"model": "openai:test", "max_tokens": 50},
        }  # fmt: skip
        async with orchestrator(tmp_path, store=server.url(), max_crashes=1) as service:
            view, _ = await service.submissions.submit(body(rows), owner="local")
            async with asyncio.timeout(30):
                while len(model.requests) < 10:
                    await asyncio.sleep(0.02)
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(1.0)  # as long as it is away
            await asyncio.to_thread(server.start)
            view = await wait_for_state(service, view.id, patience=60)
            assert (view.state, view.tasks[0].items.done) == ("done", 40)
            assert view.tasks[0].items.failed == 0
            # What was answered while nothing could be recorded may be asked again: at most what was in flight.
            assert len(model.requests) <= 40 + 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")
def test_killed_at_every_point_of_a_write_the_log_is_before_or_after_it(server: PostgresServer) -> None:
    """P2, P3: nothing of a transaction is there, or all; and whoever comes next goes on."""
    sweep = subprocess.run(
        [sys.executable, str(TESTS / "crash" / "postgres_sweep.py"), server.database],
        capture_output=True, text=True, timeout=110, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert sweep.returncode == 0, sweep.stderr[-3000:]
    found = [json.loads(line) for line in sweep.stdout.splitlines()]
    assert len(found) >= 30
    assert all(line["killed"] for line in found)
    assert {line["point"].partition(":")[0] for line in found} >= {
        "store.record.written", "store.commit.before", "store.commit.after",
    }  # fmt: skip
    states = [tuple(line["state"].get("00a1", [0])) for line in found]
    assert states == sorted(states, key=lambda state: (state[0], state[-1]))
    assert {state[0] for state in states} == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("times", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_what_was_answered_is_there_after_the_database_was_killed_amid_commits(
    server: PostgresServer, times: int
) -> None:
    """P2: a commit that returned is durable, one that did not is there whole or not at all."""
    url, answered = server.url("s"), {f"00a{n}": 0 for n in range(4)}
    store = PostgresStore(url, patience=3.0)
    for run in answered:
        store.create_run(new_run(run))
    for _ in range(times):

        def write(run: str) -> None:
            lease = store.claim(run, processes.myself())
            try:
                while True:
                    n = store.commit(
                        lease, Commit(events=[event("x"), event("y")], payloads=[run, "p" * 3000])
                    )["n"]
                    answered[run] = n
            except StoreUnusable:
                pass

        with ThreadPoolExecutor(4) as threads:
            writing = [threads.submit(write, run) for run in answered]
            before = sum(answered.values())
            while sum(answered.values()) < before + 40:
                assert not any(thread.done() for thread in writing), [
                    t.exception() for t in writing if t.done()
                ]
            server.kill()
            for thread in writing:
                thread.result(60)
        server.start()
        for run, n in answered.items():
            head = store.head(run)
            assert head["n"] >= n
            assert [record["n"] for record in store.records(run)] == list(range(1, head["n"] + 1))
            assert head["offset"] == 1 + 2 * (head["n"] - 1)
            assert store.payload(run, Ref(head["n"], 0)) == run
    store.close()


class Line:
    """The way to the database over TCP, which can be cut: then nothing arrives any more, and nobody is told."""

    def __init__(self) -> None:
        self.port = 0
        self._whole = asyncio.Event()
        self._whole.set()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    @asynccontextmanager
    async def to(self, socket: str) -> AsyncIterator[Line]:
        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(65_536):
                    await self._whole.wait()
                    writer.write(data)
                    await writer.drain()
            except OSError:
                pass
            finally:
                writer.close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_unix_connection(socket)
            await asyncio.gather(carry(reader, back), carry(there, writer))

        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.mend()
            listening.close()


@pytest.mark.timeout(110)
async def test_a_run_waits_while_the_line_to_the_database_is_cut_and_goes_on(
    tmp_path: Path, server: PostgresServer
) -> None:
    """P9: what is sent into a line that is cut is delayed; the run is done in the end, each row once."""
    line = Line()
    folder = server.database.partition("host=")[2]
    async with line.to(f"{folder.replace(quote('/', safe=''), '/')}/.s.PGSQL.5432"):
        user = server.database.partition("://")[2].partition("@")[0]
        url = f"postgresql://{user}@127.0.0.1:{line.port}/postgres?sslmode=disable&schema=cut"
        async with orchestrator(tmp_path, store=url, lease_ttl=20.0) as service:
            view, _ = await service.submissions.submit(
                body(task("one", seconds=1.0), task("two")), owner="local"
            )
            await wait_for_task_state(service, view.id, "one")
            line.cut()
            await asyncio.sleep(3.0)  # as long as it is cut
            line.mend()
            view = await wait_for_state(service, view.id, patience=60)
            assert view.state == "done"
            types = [e["type"] for e in await service.runs.events(view.id, None)]
            assert types.count("task.done") == 2
