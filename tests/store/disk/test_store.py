"""What only the disk store promises: hardened diskcache, private files, survival of kill -9, plain messages."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import CorruptRow, StoreUnusable
from po_jupyter.platform import private_dir
from po_jupyter.platform.private_dir import Mount
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Ref
from po_jupyter.testing.conformance.store import elsewhere, event, new_run
from tests.support.disk_store import OPENER, RUN, sql


def test_a_missing_record_is_said_and_not_skipped(store: DiskStore, path: Path) -> None:
    """P8: a gap is an error, never a shorter history."""
    for i in range(3):
        store.request(RUN, [event("x", i=i)])
    sql(path, "DELETE FROM Cache WHERE key = ?", f"c/{RUN}/00000003")
    with pytest.raises(CorruptRow, match="record 3"):
        store.events(RUN)


def test_an_existing_store_keeps_its_shards(path: Path) -> None:
    """A run is found by the hash of its id over the number of shards."""
    with_three = DiskStore(path, shards=3)
    for i in range(20):
        with_three.create_run(new_run(f"{i:04x}"))
    with_three.close()
    again = DiskStore(path, shards=8)
    assert again.shards == 3
    assert len(again.runs().heads) == 20
    again.close()


def test_reading_makes_no_shards(path: Path) -> None:
    store = DiskStore(path)
    assert store.runs().heads == []
    assert store.active() == []
    store.close()
    assert [p.name for p in path.iterdir()] == ["documents"]


def test_a_key_reserved_before_a_crash_is_redeemed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R3.3: a crash between the reservation and the run loses neither."""
    store = DiskStore(path)
    at = store._at

    def crash(shard: int, *args: Any, **named: Any) -> Any:
        if shard >= 0:
            raise KeyboardInterrupt
        return at(shard, *args, **named)

    monkeypatch.setattr(store, "_at", crash)
    with pytest.raises(KeyboardInterrupt):
        store.create_run(new_run("00a1", idempotency_key="k", request_hash="h"))
    monkeypatch.undo()
    assert store.runs().heads == []
    head, created = store.create_run(new_run("00a2", idempotency_key="k", request_hash="h"))
    assert (head["run"], created) == ("00a1", True)
    assert store.create_run(new_run("00a3", idempotency_key="k", request_hash="h"))[1] is False
    store.close()


def test_ten_shards_worth_of_threads_open_few_files(path: Path) -> None:
    """A server's thread pool does not multiply connections, and close() releases all of them."""
    store = DiskStore(path)
    for i in range(30):
        store.create_run(new_run(f"{i:04x}"))
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    threads = [threading.Thread(target=store.runs) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
    store.close()
    if before:
        assert not [f for f in os.listdir("/proc/self/fd") if str(path) in _target(f)]


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


@pytest.mark.integration
def test_kill_9_loses_no_acknowledged_commit_and_leaves_none_half(path: Path) -> None:
    """P2; issue 1, done when 4."""
    code = f"""
        from po_jupyter.store.protocol import Commit
        lease = store.claim({RUN!r}, {{"pid": 1}})
        i = 0
        while True:
            events = [{{"type": "x", "data": {{"i": i, "part": part}}}} for part in range(3)]
            head = store.commit(lease, Commit(events=events, payloads=[{{"i": i, "text": "x" * 3000}}]))
            print(head["n"], flush=True)
            i += 1
    """
    store = DiskStore(path)
    store.create_run(new_run(RUN))
    acknowledged = 1
    for round in range(3):
        child = elsewhere(code, OPENER, str(path))
        assert child.stdout is not None and child.stderr is not None and child.stdin is not None
        for _ in range(40 + round * 7):
            line = child.stdout.readline()
            assert line, child.stderr.read()
            acknowledged = int(line)
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate(timeout=30)
        acknowledged = int(rest.split()[-1]) if rest.endswith("\n") else acknowledged
        head = store.head(RUN)
        assert head["n"] >= acknowledged
        assert [e["offset"] for e in store.events(RUN, limit=10**6)] == list(range(1, head["offset"] + 1))
        for record in store.records(RUN, after=1):
            assert [e["data"]["part"] for e in record["events"]] == [0, 1, 2]
            assert store.payload(RUN, Ref(record["n"], 0))["i"] == record["events"][0]["data"]["i"]
    assert store.verify() == []
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: this system has no fork")
@pytest.mark.integration
def test_a_closed_store_works_in_a_forked_child(path: Path) -> None:
    """DESIGN 5: workers are forked; the parent closes first and goes on afterwards."""
    code = """
        import os, sys
        from po_jupyter.store.protocol import Commit, NewRun
        for i in range(4):
            store.create_run(NewRun(f"00a{i}", "ada", "p", "1.0.0", "n", 0, {}, []))
        store.close()
        children = []
        for i in range(4):
            child = os.fork()
            if child == 0:
                lease = store.claim(f"00a{i}", {"pid": os.getpid()})
                for n in range(10):
                    store.commit(lease, Commit(events=[{"type": "x", "data": {"n": n}}]))
                store.close()
                os._exit(0)
            children.append(child)
        for i in range(10):
            store.request("00a0", [{"type": "asked", "data": {}}])
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        assert [store.head(f"00a{i}")["offset"] for i in range(4)] == [20, 10, 10, 10]
        store.close()
    """
    child = elsewhere(code, OPENER, str(path))
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: this system has no fork")
@pytest.mark.integration
def test_a_child_of_a_parent_that_forgot_to_close_connects_anew(path: Path) -> None:
    code = """
        import os
        from po_jupyter.store.protocol import NewRun
        store.create_run(NewRun("00a1", "ada", "p", "1.0.0", "n", 0, {}, []))
        child = os.fork()
        if child == 0:
            store.claim("00a1", {"pid": 1})
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert store.head("00a1")["fence"] == 1
        store.close()
    """
    child = elsewhere(code, OPENER, str(path))
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors


@pytest.mark.skipif(sys.platform == "win32", reason="platform: modes are POSIX")
def test_everything_is_private(path: Path) -> None:
    """R1.3: other users of the machine read nothing."""
    old = os.umask(0)
    try:
        store = DiskStore(path)
        store.create_run(new_run(RUN))
    finally:
        os.umask(old)
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in (path, *path.rglob("*"))}
    store.close()
    assert {mode for p, mode in modes.items() if p.suffix == "" and "cache.db" not in p.name} == {0o700}
    files = {p.name: mode for p, mode in modes.items() if "cache.db" in p.name}
    assert set(files) == {"cache.db", "cache.db-wal", "cache.db-shm"}
    assert set(files.values()) == {0o600}


@pytest.mark.skipif(sys.platform == "win32", reason="platform: modes are POSIX")
def test_an_open_directory_is_closed_to_others(path: Path) -> None:
    path.mkdir(mode=0o755)
    DiskStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R1.3."""
    path.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(StoreUnusable, match="another user") as caught:
        DiskStore(path)
    assert "PO_DATA_DIR" in caught.value.hint


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    """P11."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match="cannot be made"):
        DiskStore(tmp_path / "file" / "store")
    with pytest.raises(StoreUnusable):
        DiskStore(tmp_path / "file")


def test_a_network_file_system_is_refused_with_a_way_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P11: a plain message instead of a hang."""
    monkeypatch.setattr(private_dir, "mounts", lambda: [Mount("/", "nfs4")])
    with pytest.raises(StoreUnusable, match=r"network file system \(nfs4\)") as caught:
        DiskStore(path)
    assert "PO_DATA_DIR" in caught.value.hint
    DiskStore(path, allow_network=True).close()


def test_a_shard_without_a_thread_is_an_error_and_not_a_wait_for_ever(
    store: DiskStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C8: `can't start new thread` was taken for a store that somebody had just closed, again and again."""
    store.close()

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(StoreUnusable, match="can't start new thread"):
            store.create_run(new_run("00a2"))
    assert [head["run"] for head in store.runs().heads] == [RUN], "nothing is done later that was refused"
