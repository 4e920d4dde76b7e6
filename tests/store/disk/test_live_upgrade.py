"""C10: nothing is migrated under an older version that is alive, and after a migration the older one writes no more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.platform import processes
from po_jupyter.store.disk import migrations
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.documents import ORCHESTRATOR_LEASE
from po_jupyter.testing.conformance.store import event, new_run
from tests.support.orchestrator import Server, body, end_workers, task, wait_for_exit, wait_for_holder

pytestmark = pytest.mark.integration


@contextmanager
def newer_version(applied: list[str] | None = None) -> Iterator[None]:
    """What is opened inside is opened by a version with another format."""

    def step(store: Any) -> None:
        store.put("migrated", "yes", True)
        if applied is not None:
            applied.append("step")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "FORMAT", migrations.FORMAT + 1)
        patch.setattr(migrations, "MIGRATIONS", (("step", step),))
        yield


def format_of(path: Path) -> dict[str, Any]:
    opened = DiskStore(path)
    try:
        return dict(opened._at(-1, lambda shard: shard.read(migrations.ROW)))
    finally:
        opened.close()


async def test_a_newer_version_migrates_nothing_while_an_older_orchestrator_is_at_work(tmp_path: Path) -> None:
    path = tmp_path / "store"
    server = Server(tmp_path)
    try:
        run = server.submit(body(task("a", seconds=1.5), task("b")))
        worker = await wait_for_holder(tmp_path, run)
        before = format_of(path)
        with newer_version(), pytest.raises(StoreUnusable, match="older po_jupyter") as caught:
            DiskStore(path)
        assert str(server.process.pid) in caught.value.message or str(worker) in caught.value.message
        assert "po stop" in caught.value.hint
        assert format_of(path) == before
        await wait_for_exit([worker])  # the older one goes on as if nothing had been
        opened = DiskStore(path)
        assert opened.head(run)["state"] == "done"
        assert opened.get("migrated", "yes") is None
        opened.close()
        with newer_version(), pytest.raises(StoreUnusable, match=f"process {server.process.pid}"):
            DiskStore(path)
    finally:
        server.stop()
    applied: list[str] = []
    with newer_version(applied):
        DiskStore(path).close()
        DiskStore(path).close()
    assert applied == ["step"]
    with pytest.raises(StoreUnusable, match="newer po_jupyter"):
        DiskStore(path)


async def test_nothing_is_migrated_while_workers_of_an_older_version_finish(tmp_path: Path) -> None:
    server = Server(tmp_path)
    run = server.submit(body(task("a", seconds=30)))
    worker = await wait_for_holder(tmp_path, run)
    server.kill()
    with newer_version(), pytest.raises(StoreUnusable, match=f"worker {worker}, finishing calls in flight"):
        DiskStore(tmp_path / "store")
    end_workers(tmp_path)
    await wait_for_exit([worker])
    with newer_version():
        DiskStore(tmp_path / "store").close()


@pytest.mark.parametrize("since", [0.0, 3600.0])
def test_an_orchestrator_of_another_machine_is_gone_a_while_after_its_last_renewal(
    path: Path, since: float
) -> None:
    opened = DiskStore(path)
    renewed = (datetime.now(UTC) - timedelta(seconds=since)).isoformat()
    opened.put(*ORCHESTRATOR_LEASE, {**processes.myself(), "host": "elsewhere", "renewed": renewed, "count": 1})
    opened.close()
    with newer_version():
        if since:
            DiskStore(path).close()
            return
        with pytest.raises(StoreUnusable, match="on elsewhere"):
            DiskStore(path)


def test_an_older_version_that_has_the_store_open_writes_nothing_after_a_migration(path: Path) -> None:
    older = DiskStore(path, shards=1)
    older.create_run(new_run("00a1"))
    with newer_version():
        newer = DiskStore(path)
        newer.put("k", "newer", 1)
        newer.close()
    with pytest.raises(StoreUnusable, match="newer po_jupyter"):
        older.swap(*ORCHESTRATOR_LEASE, None, {**processes.myself(), "count": 1})
    assert older.get(*ORCHESTRATOR_LEASE) is None, "it cannot take the lease"
    for write in (
        lambda: older.create_run(new_run("00a2")),
        lambda: older.request("00a1", [event("run.done")], state="done"),
        lambda: older.claim("00a1", processes.myself()),
    ):
        with pytest.raises(StoreUnusable, match="newer po_jupyter"):
            write()
    assert older.head("00a1")["n"] == 1, "what is there can still be read"
    older.close()


def test_two_newer_versions_at_once_migrate_once(path: Path) -> None:
    """Each step is recorded; the transaction that looks at the lease makes them one after the other."""
    DiskStore(path).close()
    code = (
        "import sys\nfrom po_jupyter.store.disk import migrations\n"
        "from po_jupyter.store.disk.store import DiskStore\n"
        "migrations.FORMAT += 1\n"
        "migrations.MIGRATIONS = (('step', lambda store: store.put('migrated', 'yes', True)),)\n"
        "DiskStore(sys.argv[1]).close()\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(path)], env={**os.environ}) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    with newer_version():
        assert format_of(path)["migrations"].count("step") == 1
