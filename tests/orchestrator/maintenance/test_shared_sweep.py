"""What is nobody's in the shared place goes; what somebody may still use stays."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.maintenance.shared_sweep import sweep_shared
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.objects.directory import DirectoryObjects
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles
from po_jupyter.store.protocol import Commit, Lease, NewRun

RUN = "00a1"
DAY = 86_400.0


class Place:
    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        (tmp / "shared").mkdir()
        self.store = MemoryStore()
        self.files = SharedFiles(self.store, DirectoryObjects(tmp / "shared"))

    def create(self, run: str = RUN) -> Lease:
        created = draft(
            "run.created", name="n", pipeline="p", version="1", tasks=[{"name": "t", "kind": "python"}]
        )
        self.store.create_run(NewRun(run, "ada", "p", "1", "n", 0, {"pipeline": {}, "seed": {}}, [created]))
        return self.store.claim(run, {"pid": 1})

    def put(self, lease: Lease, name: str) -> RunFile:
        path = f"artifacts/t/1-{lease.fence}/{name}"
        target = self.tmp / lease.run / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(name)
        file = RunFile(path, lease.fence, sha256(name.encode()).hexdigest())
        self.files.keep(lease.run, self.tmp / lease.run, [file])
        return file

    def done(self, lease: Lease, *files: RunFile) -> None:
        listed = [
            {"name": f.path, "path": f.path.removeprefix("artifacts/"), "bytes": 1, "sha256": f.sha256}
            for f in files
        ]
        done = draft("task.done", "t", output=0, seconds=0.0, artifacts=listed)
        self.store.commit(lease, Commit(events=[done], payloads=[1]))

    def age(self, seconds: float) -> None:
        for info in [
            *(found.info for found in self.files.run_objects()),
            *(info for _, info in self.files.rows()),
        ]:
            at = time.time() - seconds
            os.utime(self.tmp / "shared" / info.key, (at, at))

    def left(self) -> set[tuple[str, int, str]]:
        return {(found.run, found.fence, found.sha256) for found in self.files.run_objects()}

    def sweep(self, *used: str) -> int:
        return sweep_shared(self.files, self.store, used)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.files.close()


def test_what_a_worker_put_and_did_not_commit_goes_once_another_has_the_run(place: Place) -> None:
    lease = place.create()
    kept, lost = place.put(lease, "kept"), place.put(lease, "lost")
    place.done(lease, kept)
    assert place.sweep() == 0, "it may still commit"
    second = place.store.claim(RUN, {"pid": 2})
    now = place.put(second, "now")
    assert place.sweep() == len("lost")
    assert place.left() == {(RUN, 1, kept.sha256), (RUN, 2, now.sha256)}
    assert lost.sha256 not in str(place.left())


def test_a_file_that_two_workers_put_stays_where_it_is_listed(place: Place) -> None:
    """The same content under two fences are two objects: that of the dead one goes."""
    place.put(place.create(), "same")
    second = place.store.claim(RUN, {"pid": 2})
    file = place.put(second, "same")
    place.done(second, file)
    third = place.store.claim(RUN, {"pid": 3})
    assert place.sweep() == len("same")
    assert place.left() == {(RUN, 2, file.sha256)}
    assert third.fence == 3


def test_what_came_with_the_seed_stays(place: Place) -> None:
    place.create()
    seed = Lease(RUN, 0)
    file = place.put(seed, "seed")
    place.store.claim(RUN, {"pid": 2})
    assert place.sweep() == 0
    assert place.left() == {(RUN, 0, file.sha256)}


def test_objects_without_a_run_go_when_they_are_old_enough(place: Place) -> None:
    """Young ones may be of a run that is being created: a fork, an archive."""
    place.put(Lease("00ff", 3), "a")
    assert place.sweep() == 0
    place.age(3700)
    assert place.sweep() == 1
    assert place.left() == set()


def test_rows_that_no_run_uses_go_after_a_day(place: Place, tmp_path: Path) -> None:
    hashes = []
    for data in (b"1\n", b"2\n"):
        digest = sha256(data).hexdigest()
        upload = RowFiles(tmp_path / "node", place.files).receive("ada", digest)
        upload.write(data)
        upload.finish()
        hashes.append(digest)
    assert place.sweep(hashes[0]) == 0
    place.age(2 * DAY)
    assert place.sweep(hashes[0]) == 2
    assert [digest for digest, _ in place.files.rows()] == [hashes[0]]


def test_a_place_that_is_away_keeps_no_cleaning_from_its_end(place: Place, tmp_path: Path) -> None:
    place.put(Lease("00ff", 3), "a")
    (tmp_path / "shared").rename(tmp_path / "away")
    assert place.sweep() == 0
    (tmp_path / "away").rename(tmp_path / "shared")
    place.age(3700)
    assert place.sweep() == 1


def test_a_log_that_cannot_be_read_keeps_what_is_its_runs(place: Place) -> None:
    created = draft("run.created", name="n")
    place.store.create_run(NewRun(RUN, "ada", "p", "1", "n", 0, {"pipeline": {}, "seed": {}}, [created]))
    file = place.put(place.store.claim(RUN, {"pid": 1}), "a")
    place.store.claim(RUN, {"pid": 2})
    assert place.sweep() == 0
    assert place.left() == {(RUN, 1, file.sha256)}
