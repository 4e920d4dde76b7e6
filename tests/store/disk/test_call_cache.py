"""G2: the cache of answers as a file: bounded, private, JSON only, and never a reason to fail."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import diskcache
import pytest
import structlog

from po_jupyter.errors import StoreUnusable
from po_jupyter.store.disk import call_cache as module
from po_jupyter.store.disk.call_cache import AnswerCache
from tests.support.paths import ROOT

BIG = 2**30


_opened: list[AnswerCache] = []


def cache(tmp_path: Path, **more: Any) -> AnswerCache:
    _opened.append(AnswerCache(tmp_path / "cache", **{"max_bytes": BIG, "days": 30, **more}))
    return _opened[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """A cache belongs to the thread that closes it; what a test leaves open is closed here."""
    yield
    while _opened:
        _opened.pop().close()


def size_of(tmp_path: Path) -> int:
    return sum(p.stat().st_size for p in (tmp_path / "cache").rglob("*") if p.is_file())


@pytest.fixture
def logged() -> Any:
    with structlog.testing.capture_logs() as entries:
        yield entries


def warnings(logged: list[Any]) -> list[str]:
    return [str(e.get("reason", e["event"])) for e in logged if e["log_level"] == "warning"]


def test_what_one_keeps_another_finds(tmp_path: Path) -> None:
    """G2: by key, replaced as a whole, in files that nobody else may read."""
    one, other = cache(tmp_path), cache(tmp_path)
    assert other.find(["a"]) == {}
    assert not (tmp_path / "cache").exists(), "looking makes nothing"
    one.keep([("a", {"text": "1"}), ("b", {"text": "2" * 5000})])
    one.keep([("a", {"text": "3"})])
    assert other.find(["a", "b", "c"]) == {"a": {"text": "3"}, "b": {"text": "2" * 5000}}
    keys = [f"k{i}" for i in range(1200)]
    one.keep([(key, {"n": i}) for i, key in enumerate(keys)])
    assert len(other.find(keys)) == 1200
    one.close()
    other.close()
    for path in (tmp_path / "cache", *(tmp_path / "cache").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_an_answer_grows_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G2: `cache_days`; 0 is no limit."""
    found = cache(tmp_path)
    found.keep([("old", {"n": 1})])
    later = time.time() + 31 * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    assert cache(tmp_path, days=0).find(["old"]) == {"old": {"n": 1}}
    found.keep([("new", {"n": 2})])
    assert found.find(["old", "new"]) == {"new": {"n": 2}}
    assert found.measure()[0] == 2
    found.prepare()
    assert found.measure()[0] == 1
    assert found.find(["old", "new"]) == {"new": {"n": 2}}


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    """G2: eviction is right here; the file itself stays small."""
    bound = 2_000_000
    found = cache(tmp_path, max_bytes=bound)
    for i in range(40):
        found.keep([(f"{i}/{j}", {"text": os.urandom(500).hex()}) for j in range(100)])
    assert size_of(tmp_path) < bound + 6_000_000, "and the journal beside it"
    found.prepare()
    found.close()
    assert size_of(tmp_path) <= bound
    assert found.find(["0/0"]) == {}
    assert found.find(["39/99"]) != {}
    found.keep([("huge", {"text": os.urandom(300_000).hex()})])
    assert found.find(["huge", "39/99"]).keys() == {"39/99"}, "one answer does not drive out the others"


def test_clearing_takes_what_begins_with_the_prefix(tmp_path: Path) -> None:
    found = cache(tmp_path)
    assert found.clear() == 0
    found.keep([("a/1", {"n": 1}), ("a/2", {"n": 2}), ("b/1", {"n": 3})])
    assert found.measure("a/")[0] == 2
    assert found.clear("a/") == 2
    assert found.find(["a/1", "b/1"]) == {"b/1": {"n": 3}}
    assert found.clear() == 1
    assert found.measure() == (0, 0)


class Bomb:
    """Its pickle, when loaded, leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


def test_a_pickled_row_is_a_miss_and_not_executed(tmp_path: Path, logged: list[Any]) -> None:
    """P4: values and keys; a row that somebody else wrote, and one that is no object."""
    trace = tmp_path / "executed"
    found = cache(tmp_path)
    found.keep([("good", {"n": 1})])
    with diskcache.Cache(str(tmp_path / "cache")) as attacker:
        attacker["pickled"] = Bomb(trace)
        attacker[("good",)] = {"n": 2}
        attacker["raw"] = b"x" + b"{}"
        attacker["file"] = "x" * 100_000
        attacker["list"] = b"j[1]"
    assert found.find(["good", "pickled", "raw", "file", "list"]) == {"good": {"n": 1}}
    assert not trace.exists()
    assert len(warnings(logged)) == 1
    assert found.clear() >= 5


@pytest.mark.parametrize("where", ["header", "middle"])
def test_a_damaged_file_is_a_miss_told_once_and_made_anew(
    tmp_path: Path, logged: list[Any], where: str
) -> None:
    """G2, P11"""
    found = cache(tmp_path)
    found.keep([(f"{i}", {"text": os.urandom(200).hex()}) for i in range(200)])
    found.close()
    file = tmp_path / "cache" / "cache.db"
    raw = bytearray(file.read_bytes())
    raw[slice(0, 100) if where == "header" else slice(4096, len(raw))] = b"\xff" * 100
    file.write_bytes(raw)
    for _ in range(3):
        assert found.find(["1"]) == {}
        found.keep([("new", {"n": 1})])
    assert len(warnings(logged)) == 1
    assert found.find(["new"]) == {}
    fresh = cache(tmp_path)
    assert fresh.clear() == 0
    fresh.keep([("new", {"n": 1})])
    assert fresh.find(["new"]) == {"new": {"n": 1}}


def test_a_read_only_cache_is_a_miss(
    tmp_path: Path, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """G2: as `access` says it, which root's own rights do not change."""
    found = cache(tmp_path)
    found.keep([("a", {"n": 1})])
    found.close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert found.find(["a"]) == {}
    found.keep([("b", {"n": 1})])
    assert len(warnings(logged)) == 1


def test_a_file_in_its_place_is_a_miss(tmp_path: Path, logged: list[Any]) -> None:
    (tmp_path / "cache").write_text("not a directory")
    found = cache(tmp_path)
    found.prepare()
    assert found.find(["a"]) == {}
    found.keep([("a", {"n": 1})])
    assert found.find(["a"]) == {}
    assert len(warnings(logged)) == 1


def test_a_full_disk_loses_the_answer_and_nothing_else(
    tmp_path: Path, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """G2: and after a while it is tried again."""
    found = cache(tmp_path)
    found.keep([("a", {"n": 1})])
    assert found._shard is not None
    ((pages,),) = found._shard.sql("PRAGMA page_count")
    found._shard.sql(f"PRAGMA max_page_count = {pages}")
    found.keep([("b", {"text": os.urandom(50_000).hex()})])
    assert warnings(logged) == ["the disk is full"]
    assert found.find(["a"]) == {}, "left alone for a minute"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert found.find(["a", "b"]) == {"a": {"n": 1}}


def test_one_that_is_deleted_meanwhile_is_a_miss(tmp_path: Path) -> None:
    """G2: by whoever cleans up; what comes then makes a new one."""
    found = cache(tmp_path)
    found.keep([("a", {"n": 1})])
    shutil.rmtree(tmp_path / "cache")
    found.find(["a"])
    found.keep([("b", {"n": 1})])
    found.close()
    other = cache(tmp_path)
    assert other.find(["a"]) == {}
    other.keep([("c", {"n": 1})])
    assert other.find(["c"]) == {"c": {"n": 1}}


def test_who_waits_too_long_for_another_writer_goes_on(
    tmp_path: Path, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """G2: nothing is told, and the next one is kept again."""
    monkeypatch.setitem(module._Shard.settings, "sqlite_busy_timeout", 50)
    found = cache(tmp_path)
    found.keep([("a", {"n": 1})])
    other = sqlite3.connect(tmp_path / "cache" / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    found.keep([("b", {"n": 1})])
    assert found.find(["a", "b"]).keys() == {"a"}, "reading goes on"
    other.execute("ROLLBACK")
    other.close()
    found.keep([("c", {"n": 1})])
    assert found.find(["a", "b", "c"]).keys() == {"a", "c"}
    assert warnings(logged) == []


WRITER = """
import sys
from contextlib import closing
from pathlib import Path
from po_jupyter.store.disk.call_cache import AnswerCache
cache = AnswerCache(Path(sys.argv[1]), max_bytes=2**30, days=30)
for i in range(50):
    cache.keep([(f"{sys.argv[2]}/{i}/{j}", {"n": j}) for j in range(20)])
    assert cache.find([f"{sys.argv[2]}/{i}/0"]) == {f"{sys.argv[2]}/{i}/0": {"n": 0}}, i
cache.close()
"""


@pytest.mark.integration
def test_processes_make_and_write_one_cache_at_once(tmp_path: Path) -> None:
    """G2: none of them waits for the orchestrator to make it."""
    done = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "cache"), name], cwd=ROOT, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        )
        for name in ("one", "two", "three")
    ]  # fmt: skip
    for process in done:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    assert cache(tmp_path).measure()[0] == 3000


def test_whoever_wants_answers_gone_hears_that_they_are_not(tmp_path: Path) -> None:
    """P11: another process is in a transaction, or the file may not be written."""
    found = cache(tmp_path)
    found.keep([("o/a", {"n": 1})])
    found.close()
    with closing(sqlite3.connect(tmp_path / "cache" / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnusable):
            cache(tmp_path).clear("o/")
        other.execute("ROLLBACK")
    assert cache(tmp_path).measure("o/")[0] == 1
    assert cache(tmp_path).clear("o/") == 1
