"""Files of runs where all nodes find them: checked by their hash, whole, and nobody else's."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, NotFound, Unavailable
from po_jupyter.model.run.row_file_ref import RowFileRef
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.objects.directory import DirectoryObjects
from po_jupyter.store.objects.protocol import ObjectStore
from po_jupyter.store.objects.shared_files import AT_ONCE, PLACE, RENEWED, RunFile, SharedFiles

RUN, OTHER = "00a1", "00a2"


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def written(run_dir: Path, name: str, data: bytes, fence: int = 1) -> RunFile:
    """A file of a run in its directory."""
    path = run_dir / "artifacts" / "t" / f"1-{fence}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return RunFile.of(f"artifacts/t/1-{fence}/{name}", fence, digest(data))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def files(store: MemoryStore, objects: ObjectStore) -> Iterator[SharedFiles]:
    files = SharedFiles(store, objects)
    yield files
    files.close()


def test_what_one_node_keeps_another_fetches(files: SharedFiles, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    kept = [
        written(one, "größe é?#%.txt", b"hello"),
        written(one, "empty", b""),
        written(one, "same", b"hello"),
    ]
    files.keep(RUN, one, kept)
    assert files.fetch(RUN, two, kept) == {}
    for file in kept:
        assert (two / file.path).read_bytes() == (one / file.path).read_bytes()
    assert sorted(found.sha256 for found in files.run_objects(RUN)) == sorted({digest(b"hello"), digest(b"")})
    assert list(files.run_objects(OTHER)) == []


def test_a_file_that_was_changed_after_it_was_written_is_not_kept(files: SharedFiles, tmp_path: Path) -> None:
    file = written(tmp_path, "a", b"hello")
    (tmp_path / file.path).write_bytes(b"other")
    with pytest.raises(InvalidInput, match="changed after it was written"):
        files.keep(RUN, tmp_path, [file])
    assert list(files.run_objects()) == []


def test_an_object_that_was_changed_behind_our_back_is_not_read(
    files: SharedFiles, objects: ObjectStore, tmp_path: Path
) -> None:
    file = written(tmp_path / "one", "a", b"hello")
    files.keep(RUN, tmp_path / "one", [file])
    (found,) = files.run_objects(RUN)
    objects.put(found.info.key, BytesIO(b"hellO"), 5)
    problems = files.fetch(RUN, tmp_path / "two", [file])
    assert "was changed where it is kept" in problems[file.path]
    assert [p for p in (tmp_path / "two").rglob("*") if p.is_file()] == []


def test_what_is_not_there_is_said_and_the_rest_fetched(files: SharedFiles, tmp_path: Path) -> None:
    kept, never = written(tmp_path / "one", "a", b"a"), written(tmp_path / "one", "b", b"b")
    files.keep(RUN, tmp_path / "one", [kept])
    problems = files.fetch(RUN, tmp_path / "two", [kept, never])
    assert list(problems) == [never.path]
    assert "only the machine that wrote it has it" in problems[never.path]
    assert (tmp_path / "two" / kept.path).read_bytes() == b"a"


@pytest.mark.parametrize(
    ("path", "fence", "hash"),
    [("a", 1, "../../x"), ("a", 1, "A" * 64), ("a", -1, "a" * 64), ("a", 10**18, "a" * 64), ("a", 1, "a" * 63)],
)
def test_what_becomes_a_key_is_a_hash_and_a_fence(path: str, fence: int, hash: str) -> None:
    with pytest.raises(InvalidInput):
        RunFile.of(path, fence, hash)


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "artifacts/../../up", "artifacts/link/x", "a\0b", ""])
def test_a_path_that_leads_elsewhere_is_neither_read_nor_written(
    files: SharedFiles, tmp_path: Path, path: str
) -> None:
    run_dir, outside = tmp_path / "run", tmp_path / "outside"
    (run_dir / "artifacts").mkdir(parents=True)
    outside.mkdir()
    (outside / "x").write_bytes(b"secret")
    (run_dir / "artifacts" / "link").symlink_to(outside)
    file = RunFile.of(path, 1, digest(b"secret"))
    with pytest.raises((InvalidInput, NotFound)):
        files.keep(RUN, run_dir, [file])
    good = written(tmp_path / "good", "x", b"secret")
    files.keep(RUN, tmp_path / "good", [good])
    with pytest.raises(InvalidInput):
        files.fetch(RUN, run_dir, [file])
    assert sorted(p.name for p in outside.iterdir()) == ["x"]


def test_two_stores_in_one_place_do_not_meet(objects: ObjectStore, tmp_path: Path) -> None:
    """Each would otherwise clean away what the other's runs have."""
    one, two = SharedFiles(MemoryStore(), objects), SharedFiles(MemoryStore(), objects)
    file = written(tmp_path, "a", b"a")
    one.keep(RUN, tmp_path, [file])
    assert list(two.run_objects()) == []
    assert two.fetch(RUN, tmp_path / "two", [file])
    assert two.remove_run(RUN) == 0
    assert one.fetch(RUN, tmp_path / "three", [file]) == {}
    for files in (one, two):
        files.close()


def test_two_servers_that_start_at_once_agree_on_the_room(store: MemoryStore, objects: ObjectStore) -> None:
    servers = [SharedFiles(store, objects) for _ in range(4)]
    threads = [threading.Thread(target=server.open) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({server.open() for server in servers}) == 1
    known = store.get(*PLACE)
    assert known is not None and known["place"] == objects.place
    for server in servers:
        server.close()


def test_a_run_that_is_gone_leaves_nothing_and_another_one_stays(files: SharedFiles, tmp_path: Path) -> None:
    files.keep(RUN, tmp_path, [written(tmp_path, name, name.encode()) for name in "abc"])
    files.keep(RUN + "0", tmp_path, [written(tmp_path, "a", b"a")])
    assert files.remove_run(RUN) == 3
    assert [found.run for found in files.run_objects()] == [RUN + "0"]


def test_rows_are_uploaded_on_one_node_and_read_on_another(files: SharedFiles, tmp_path: Path) -> None:
    data = b'{"a":1}\n{"a":2}\n'
    one, two, alone = RowFiles(tmp_path / "1", files), RowFiles(tmp_path / "2", files), RowFiles(tmp_path / "3")
    upload = one.receive("ada", digest(data))
    upload.write(data)
    upload.finish()
    ref = RowFileRef(digest(data), 2)
    assert list(two.rows("ada", ref)) == [{"a": 1}, {"a": 2}]
    assert two.info("ada", digest(data))["rows"] == 2
    for rows in (RowFiles(tmp_path / "4", files), alone):
        with pytest.raises(NotFound):
            rows.info("eve" if rows is not alone else "ada", digest(data))
    assert [found for found, _ in files.rows()] == [digest(data)]


def test_rows_from_before_there_was_a_place_are_put_there_when_they_are_used(
    files: SharedFiles, tmp_path: Path
) -> None:
    data = b"1\n"
    upload = RowFiles(tmp_path / "1").receive("ada", digest(data))
    upload.write(data)
    upload.finish()
    RowFiles(tmp_path / "1", files).info("ada", digest(data))
    assert RowFiles(tmp_path / "2", files).info("ada", digest(data))["rows"] == 1


def test_rows_that_are_used_again_count_as_new(
    files: SharedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cleans looks at their age: a run is submitted a moment later."""
    data = b"1\n"
    rows = RowFiles(tmp_path / "1", files)
    upload = rows.receive("ada", digest(data))
    upload.write(data)
    upload.finish()
    ((_, before),) = files.rows()
    time.sleep(1.1)  # a bucket counts in seconds
    rows.info("ada", digest(data))
    assert files.still(before) == before, "it is young: nothing is sent again"
    later = time.time() + RENEWED + 10
    monkeypatch.setattr("po_jupyter.store.objects.shared_files.time.time", lambda: later)
    rows.info("ada", digest(data))
    now = files.still(before)
    assert now is not None and now.modified > before.modified


def test_everything_is_copied_into_the_room_of_another_store_and_again_into_the_same(
    files: SharedFiles, objects: ObjectStore, tmp_path: Path
) -> None:
    kept = [written(tmp_path / "1", name, name.encode()) for name in "abc"]
    files.keep(RUN, tmp_path / "1", kept)
    other = SharedFiles(MemoryStore(), objects)
    progress: list[int] = []
    assert files.copy_to(other, progress.append) == (3, 3) == files.copy_to(other, progress.append)
    assert other.fetch(RUN, tmp_path / "2", kept) == {}
    assert files.remove_run(RUN) == 3
    assert len(list(other.run_objects(RUN))) == 3
    other.close()


class SlowObjects:
    """Counts how many requests there are at once."""

    place = "slow"

    def __init__(self) -> None:
        self.now = self.most = self.puts = 0
        self._lock = threading.Lock()
        self.fail_at = 0
        self.there: dict[str, bytes] = {}

    def put(self, key: str, file: Any, size: int) -> None:
        with self._lock:
            self.now += 1
            self.puts += 1
            self.most = max(self.most, self.now)
            number = self.puts
        time.sleep(0.01)
        with self._lock:
            self.now -= 1
        if number == self.fail_at:
            raise Unavailable("away")
        self.there[key] = file.read(size)

    def read(self, key: str) -> Iterator[bytes]:
        if key not in self.there:
            raise NotFound(key)
        yield self.there[key]


def test_a_thousand_small_files_are_not_one_request_after_the_other(tmp_path: Path) -> None:
    slow = SlowObjects()
    files = SharedFiles(MemoryStore(), slow)  # type: ignore[arg-type]
    many = [written(tmp_path, str(n), str(n).encode()) for n in range(1000)]
    began = time.monotonic()
    files.keep(RUN, tmp_path, many)
    assert time.monotonic() - began < 1000 * 0.01 / 2
    assert 4 <= slow.most <= AT_ONCE
    assert slow.puts == 1001, "with the first object of the store"
    files.close()


def test_a_request_that_fails_fails_the_whole_and_leaves_none_on_its_way(tmp_path: Path) -> None:
    slow = SlowObjects()
    files = SharedFiles(MemoryStore(), slow)  # type: ignore[arg-type]
    many = [written(tmp_path, str(n), str(n).encode()) for n in range(100)]
    slow.fail_at = 50
    with pytest.raises(Unavailable):
        files.keep(RUN, tmp_path, many)
    assert slow.now == 0
    files.keep(RUN, tmp_path, many)
    assert files.fetch(RUN, tmp_path / "2", many) == {}
    files.close()


def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    files = SharedFiles(MemoryStore(), DirectoryObjects(tmp_path / "shared"))
    files.open()
    file = written(tmp_path / "1", "large", b"\0" * (64 << 20))
    tracemalloc.start()
    files.keep(RUN, tmp_path / "1", [file])
    assert files.fetch(RUN, tmp_path / "2", [file]) == {}
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 << 20
    assert (tmp_path / "2" / file.path).stat().st_size == 64 << 20
    files.close()
