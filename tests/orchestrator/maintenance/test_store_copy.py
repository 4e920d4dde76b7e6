"""A store goes into PostgreSQL and back whole, and never from under somebody who works on it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Conflict, InvalidInput, NotFound
from po_jupyter.orchestrator.maintenance import store_copy
from po_jupyter.orchestrator.maintenance.backup import back_up
from po_jupyter.orchestrator.maintenance.restore import restore
from po_jupyter.orchestrator.maintenance.store_copy import StoreCopyReport
from po_jupyter.platform import processes
from po_jupyter.store.disk import call_cache as disk_cache
from po_jupyter.store.disk.call_cache import AnswerCache
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.keyed.copying import digest_of
from po_jupyter.store.postgres import answers as postgres_answers
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.testing.conformance.store import event, new_run
from tests.support.backups import RUNS, make
from tests.support.orchestrator import orchestrator, settings
from tests.support.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A data directory with runs, whose processes are gone."""
    store = make(tmp_path / "old", 2)
    for head in store.active():
        store._run(
            head["run"], lambda s, h=head: s.write(f"head/{h['run']}", {**h, "holder": None}), write=True
        )
    store.drop("lease", "orchestrator")
    store.close()
    return tmp_path / "old"


def copied(data_dir: Path, source: object, target: object) -> StoreCopyReport:
    return asyncio.run(
        store_copy.copy(settings(data_dir, lease_ttl=2.0), str(source), str(target), lambda *_: None)
    )


def test_there_and_back_again_is_the_same(tmp_path: Path, old: Path, server: PostgresServer) -> None:
    url = server.url()
    report = copied(tmp_path / "files", old, url)
    assert (report["runs"], report["copied"], report["checked"], report["documents"]) == (4, 4, 4, 1)
    assert report["records"] == 7
    back = copied(tmp_path / "files", url, tmp_path / "back")
    assert back["files"] == report["files"] > 0
    first, shared, last = DiskStore(old / "store"), PostgresStore(url), DiskStore(tmp_path / "back" / "store")
    for run in RUNS:
        assert digest_of(first, run) == digest_of(shared, run) == digest_of(last, run)
        text = (tmp_path / "back" / "runs" / run / "artifacts" / "a" / "1-1" / "out.txt").read_text()
        assert text == f"of {run}"
        assert first.head(run)["fence"] == last.head(run)["fence"]
    assert last.get("pipeline", "p") == {"name": "p"}
    assert [h["run"] for h in shared.runs().heads] == [h["run"] for h in last.runs().heads] == RUNS[::-1]
    for store in (first, shared, last):
        assert store.get("lease", "orchestrator") is None
        store.close()


def test_cached_answers_go_along_with_their_ages(
    tmp_path: Path, old: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was paid for is not paid again after a move; in pages, and twice is once."""
    monkeypatch.setattr(disk_cache, "_AT_ONCE", 3)
    monkeypatch.setattr(postgres_answers, "_AT_ONCE", 3)
    url = server.url()
    first = AnswerCache(old / "cache", max_bytes=10**7)
    rows = [(f"o/{n % 7}/{n}", {"text": f"answer {n} " * (n * 40)}) for n in range(8)]
    for row in rows:
        first.keep([row])
    kept = [row for page in first.pages() for row in page]
    assert copied(tmp_path / "files", old, url)["answers"] == 8
    assert copied(tmp_path / "files", old, url)["answers"] == 8
    assert copied(tmp_path / "files", url, tmp_path / "back")["answers"] == 8
    last = AnswerCache(tmp_path / "back" / "cache", max_bytes=10**7)
    assert last.find([key for key, _ in rows]) == dict(rows)
    back = [row for page in last.pages() for row in page]
    assert [(row.key, row.body) for row in back] == [(row.key, row.body) for row in kept]
    assert [row.at for row in back] == pytest.approx([row.at for row in kept], abs=1e-4)
    (old / "cache" / "cache.db").write_bytes(b"no database" * 1000)
    for file in ("cache.db-wal", "cache.db-shm"):
        (old / "cache" / file).unlink(missing_ok=True)
    assert copied(tmp_path / "other", old, server.url())["answers"] == 0, "a damaged cache holds up no copy"
    first.close()
    last.close()


def test_nothing_is_copied_from_under_a_server_or_a_worker(
    tmp_path: Path, old: Path, server: PostgresServer
) -> None:
    url = server.url()

    async def refused(source: object, target: object) -> str:
        with pytest.raises(Conflict, match="is in use") as caught:
            await store_copy.copy(settings(tmp_path / "f"), str(source), str(target), lambda *_: None)
        return caught.value.message

    async def beside_a_server() -> None:
        async with orchestrator(tmp_path / "c", store=url):
            assert "postgresql://" in await refused(old, url)
            assert "postgresql://" in await refused(url, tmp_path / "d")

    asyncio.run(beside_a_server())
    store = DiskStore(old / "store")
    store.claim(RUNS[3], processes.myself())
    store.close()
    assert f"the worker {processes.myself()['pid']}" in asyncio.run(refused(old, url))


def test_a_node_of_another_machine_that_renews_is_somebody(
    tmp_path: Path, old: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_copy, "_NODES", 0.5)
    url = server.url()
    store = PostgresStore(url)
    store.put("node", "gone", {"count": 1})
    copied(tmp_path / "f", url, tmp_path / "there")
    looks = iter(range(10))
    monkeypatch.setattr(store_copy, "_nodes", lambda _: {"there": next(looks)})
    with pytest.raises(Conflict, match="node there"):
        copied(tmp_path / "f", url, tmp_path / "other")
    store.close()


def test_a_copy_that_was_killed_is_made_again_and_goes_on(
    tmp_path: Path, old: Path, server: PostgresServer
) -> None:
    """P1: at any point a run is there whole or not at all."""
    url = server.url()
    code = f"""
import asyncio
from pathlib import Path
from po_jupyter.platform import crashpoints
from po_jupyter.orchestrator.maintenance.store_copy import copy
from tests.support.orchestrator import settings
crashpoints.arm("store.commit.after", NUMBER)
asyncio.run(copy(settings(Path({str(tmp_path / "f")!r})), {str(old)!r}, {url!r}, lambda *_: None))
"""
    done = 0
    for number in (3, 9, 16):
        died = subprocess.run([sys.executable, "-c", code.replace("NUMBER", str(number))], check=False)
        store = PostgresStore(url)
        source = DiskStore(old / "store")
        there = [head["run"] for head in store.runs().heads]
        assert all(digest_of(store, run) == digest_of(source, run) for run in there)
        assert len(there) >= done
        done = len(there)
        store.close()
        source.close()
        assert died.returncode in (0, -9), died
    assert copied(tmp_path / "f", old, url)["checked"] == 4


def test_what_cannot_be_copied_is_said_and_nothing_is_written_over(
    tmp_path: Path, old: Path, server: PostgresServer
) -> None:
    url = server.url()
    with pytest.raises(NotFound):
        copied(tmp_path / "f", tmp_path / "nowhere", url)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(InvalidInput, match="into itself"):
        copied(tmp_path / "f", old, old)
    copied(tmp_path / "f", old, url)
    store = PostgresStore(url)
    store.request(RUNS[3], [event("x")])
    with pytest.raises(Conflict, match="has gone on"):
        copied(tmp_path / "f", old, url)
    store.create_run(new_run("00a1"))
    with pytest.raises(Conflict, match="runs of its own, for example 00a1"):
        copied(tmp_path / "f", old, url)
    store.close()


def test_a_backup_of_what_goes_on_is_copied(tmp_path: Path, old: Path, server: PostgresServer) -> None:
    store = DiskStore(old / "store")
    store.claim(RUNS[3], processes.myself())
    back_up(old, tmp_path / "a.tar.gz")
    restore(tmp_path / "a.tar.gz", tmp_path / "restored", allow_network=True)
    assert copied(tmp_path / "f", tmp_path / "restored", server.url())["checked"] == 4
    store.close()


def test_a_node_that_renews_seldom_is_waited_for(
    tmp_path: Path, old: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its document says within which time it renews."""
    monkeypatch.setattr(store_copy, "_NODES", 0.0)
    monkeypatch.setattr(store_copy, "_MARGIN", 0.1)
    url = server.url()
    store = PostgresStore(url)
    store.put("node", "slow", {"count": 1, "ttl": 1.5})
    renewal = threading.Timer(0.9, store.put, ("node", "slow", {"count": 2, "ttl": 1.5}))
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        if seconds > 1.0:
            slept.append(seconds)
            renewal.start()
        await sleep(seconds)

    monkeypatch.setattr(store_copy.asyncio, "sleep", note)
    with pytest.raises(Conflict, match="node slow"):
        copied(tmp_path / "f", url, tmp_path / "t")
    assert slept == [1.6]
    store.close()


def test_a_node_or_a_run_that_comes_while_it_is_copied_is_said(
    tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, later = store_copy._copy, DiskStore(old / "store")

    def copy_and_add(*arguments: Any) -> Any:
        try:
            return copy(*arguments)
        finally:
            later.put("node", "new", {"count": 1, "ttl": 5})

    with monkeypatch.context() as patched:
        patched.setattr(store_copy, "_copy", copy_and_add)
        with pytest.raises(Conflict, match="node new"):
            copied(tmp_path / "f", old, tmp_path / "one")
    later.drop("node", "new")
    check = store_copy._check_same

    def check_and_submit(source: Any, target: Any, run: str) -> None:
        check(source, target, run)
        if run == RUNS[0]:
            later.create_run(new_run("zz"))

    monkeypatch.setattr(store_copy, "_check_same", check_and_submit)
    with pytest.raises(Conflict, match="run zz was submitted"):
        copied(tmp_path / "f", old, tmp_path / "two")
    later.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_copy_that_is_ended_finishes_its_run_before_the_store_is_anybody_s(
    tmp_path: Path, old: Path, number: int
) -> None:
    """The thread that copies wrote on, beside whoever had the stores next."""
    code = """
import threading, time
from po_jupyter.orchestrator.maintenance import store_copy, store_program
copy_run = store_copy.copy_run

def slowly(source, target, run):
    print("copying", flush=True)
    time.sleep(1.0)
    held = [store.get("lease", "orchestrator") is not None for store in (source, target)]
    print("still held", held, flush=True)
    return copy_run(source, target, run)

store_copy.copy_run = slowly
raise SystemExit(store_program.main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PO_DATA_DIR": str(tmp_path / "f")},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"action": "copy", "source": str(old), "target": str(tmp_path / "t")}))
        process.stdin.close()
        lines: list[str] = []
        while "copying" not in lines:
            lines.append(process.stdout.readline().strip())
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)
        lines += process.stdout.read().split("\n")
    assert "still held [True, True]" in lines
    assert lines.count("copying") == 1
    target = DiskStore(tmp_path / "t" / "store")
    assert [head["run"] for head in target.runs().heads] == [RUNS[-1]]
    assert target.get("lease", "orchestrator") is None
    target.close()
