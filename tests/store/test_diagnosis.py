"""P11: a store that cannot be used says so in plain words."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import CorruptRow, StoreUnusable
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Commit, NewRun
from po_jupyter.testing.conformance.store import elsewhere, event, new_run
from tests.support.disk_store import OPENER, RUN, sql


def test_a_full_disk_changes_nothing_and_says_so(store: DiskStore) -> None:
    """P11, P12: the state is as before, and the run goes on when there is space."""
    lease = store.claim(RUN, {"pid": 1})

    def limit(pages: int | None) -> None:
        def work(rows: Any) -> None:
            cache = rows._cache
            used = cache.reset("sqlite_page_count", 0, update=False) if pages is None else pages
            cache._sql(f"PRAGMA max_page_count = {used or 2**30}").fetchall()

        store._at(0, work)

    limit(1)  # SQLite raises it to what is used now
    before = store.head(RUN)
    with pytest.raises(StoreUnusable, match="disk is full") as caught:
        for i in range(50):
            store.commit(
                lease, Commit(events=[event("x", i=i)], payloads=[os.urandom(5000).hex()], state="running")
            )
    assert caught.value.hint
    after = store.head(RUN)
    assert len(list(store.records(RUN))) == after["n"]
    assert after["n"] - before["n"] < 5
    limit(None)
    assert store.commit(lease, Commit(events=[event("y")]))["n"] == after["n"] + 1
    assert [e["offset"] for e in store.events(RUN)] == list(range(1, after["offset"] + 2))


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
@pytest.mark.integration
def test_a_read_only_directory_is_said_at_once(path: Path) -> None:
    """P11. In a process without root's rights, which would ignore modes."""
    code = """
        import os, tempfile
        from pathlib import Path
        from po_jupyter.errors import StoreUnusable
        from po_jupyter.store.disk.store import DiskStore
        store.close()
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)

        def said(work):
            try:
                work()
            except StoreUnusable as error:
                print(error.message)

        with tempfile.TemporaryDirectory() as base:
            base = Path(base)
            DiskStore(base / "mine").close()
            base.chmod(0o500)
            said(lambda: DiskStore(base / "new"))
            (base / "mine" / "documents" / "cache.db").chmod(0o400)
            (base / "mine" / "documents").chmod(0o500)
            said(lambda: DiskStore(base / "mine").put("k", "a", 1))
            (base / "mine" / "documents").chmod(0o700)
            base.chmod(0o700)
    """
    child = elsewhere(code, OPENER, str(path))
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    first, second = out.splitlines()
    assert "cannot be made: Permission denied" in first
    assert "documents cannot be used: Permission denied" in second


def test_a_lock_that_is_not_given_back_is_said(path: Path) -> None:
    """P11: a plain message instead of a hang."""
    store = DiskStore(path, shards=1, patience=0.2)
    store.create_run(new_run(RUN))

    def impatient(rows: Any) -> None:
        rows._cache.reset("sqlite_busy_timeout", 100, update=False)

    store._at(0, impatient)
    blocker = sqlite3.connect(path / "runs-0" / "cache.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnusable, match="locked"):
        store.request(RUN, [event("x")])
    assert store.head(RUN)["n"] == 1  # readers are not kept waiting
    blocker.execute("ROLLBACK")
    blocker.close()
    assert store.request(RUN, [event("x")])["n"] == 2
    store.close()


def test_a_damaged_file_is_said(path: Path) -> None:
    """P11."""
    store = DiskStore(path, shards=1)
    store.create_run(new_run(RUN))
    store.close()
    (path / "runs-0" / "cache.db").write_bytes(b"this is not a database at all, " * 1000)
    again = DiskStore(path)
    with pytest.raises(StoreUnusable, match=r"runs-0.*not a database"):
        again.head(RUN)
    again.close()


def test_a_run_in_a_store_has_no_secrets_of_its_own_in_errors(store: DiskStore, path: Path) -> None:
    """P10: an error names the row, never what is in it."""
    store.create_run(NewRun("00a2", "ada", "p", "1.0.0", "n", 0, {"env": {"KEY": "sk-secret"}}, []))
    sql(path, "UPDATE Cache SET value = value || 'x' WHERE key = ?", "def/00a2")
    sql(path, "UPDATE Cache SET value = CAST(value AS BLOB) WHERE key = ?", "def/00a2")
    with pytest.raises(CorruptRow) as caught:
        store.definition("00a2")
    assert "sk-secret" not in str(caught.value) + str(caught.value.details)
