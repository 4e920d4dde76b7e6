"""P2: what was committed is there for everybody, also when one process opens a shard more than once.

SQLite holds POSIX locks, and those belong to the process and the file: closing *any* descriptor of the file
gives up all of them (sqlite.org/howtocorrupt.html, 2.2). Then another process, closing its connection, takes
itself for the last one and deletes the write-ahead log under our feet; whatever is committed after that is in a
file without a name.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.store.disk import json_disk as jsondisk
from po_jupyter.store.disk.store import DiskStore
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration

VISIT = """
import json, sys
from po_jupyter.store.disk.store import DiskStore
store = DiskStore(sys.argv[1])
store.put("visits", sys.argv[2], 1)
print(json.dumps(store.names("notes")))
store.close()
"""


def visit(path: Path, name: str) -> list[str]:
    """Another process writes, looks, and closes; the notes that it saw."""
    done = subprocess.run(
        [sys.executable, "-c", VISIT, str(path), name], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    found: list[str] = json.loads(done.stdout)
    return found


def test_a_second_opening_keeps_the_locks_of_the_first(tmp_path: Path) -> None:
    """A test, a doctor, a second orchestrator of the same process: nobody's commits go astray."""
    first = DiskStore(tmp_path / "store")
    first.put("notes", "one", 1)
    second = DiskStore(tmp_path / "store")
    assert second.get("notes", "one") == 1
    visit(tmp_path / "store", "a")
    first.put("notes", "two", 2)
    assert visit(tmp_path / "store", "b") == ["one", "two"]
    second.close()
    first.close()


def test_an_opening_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full when a shard is opened, and has room again a moment later."""
    DiskStore(tmp_path / "store").close()
    store = DiskStore(tmp_path / "store", checked=True)
    whole = jsondisk.ShardCache.reset

    def fails(self: jsondisk.ShardCache, key: str, *more: object, **named: object) -> object:
        if key == "sqlite_synchronous":
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return whole(self, key, *more, **named)

    monkeypatch.setattr(jsondisk.ShardCache, "reset", fails)
    kept: list[BaseException] = []  # as a log or a debugger keeps it
    for _ in range(2):
        with pytest.raises(StoreUnusable) as raised:
            store.get("notes", "one")
        kept.append(raised.value)
    monkeypatch.undo()
    store.put("notes", "one", 1)
    visit(tmp_path / "store", "a")
    store.put("notes", "two", 2)
    assert visit(tmp_path / "store", "b") == ["one", "two"]
    store.close()
