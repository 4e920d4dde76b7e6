"""What a copy of a store does about files that nodes share: it takes them along, into a room of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import StoreUnusable
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.maintenance import store_copy
from po_jupyter.platform import processes
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.objects.directory import DirectoryObjects
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles
from po_jupyter.store.protocol import Commit, NewRun

RUN = "00a1"
FILE = RunFile("artifacts/t/1-1/a", 1, sha256(b"a").hexdigest())
ROWS = sha256(b"1\n").hexdigest()


def copied(settings: Settings, source: Path, target: Path) -> Any:
    return asyncio.run(store_copy.copy(settings, str(source), str(target), lambda *_: None))


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """A store of one run, whose artifact and rows are in its data directory."""
    store = DiskStore(tmp_path / "old" / "store", shards=1)
    tasks = [{"name": "t", "kind": "python"}]
    created = draft("run.created", name="n", pipeline="p", version="1.0.0", tasks=tasks)
    store.create_run(NewRun(RUN, "ada", "p", "1.0.0", "n", 0, {"pipeline": {}, "seed": {}}, [created]))
    lease = store.claim(RUN, processes.myself())
    entry = {"name": "a", "path": "t/1-1/a", "bytes": 1, "sha256": FILE.sha256}
    events = [draft("task.done", "t", output=0, seconds=0.0, artifacts=[entry]), draft("run.done")]
    store.commit(lease, Commit(events=events, payloads=[1], state="done", release=True))
    store.close()
    path = tmp_path / "old" / "runs" / RUN / FILE.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a")
    upload = RowFiles(tmp_path / "old").receive("ada", ROWS)
    upload.write(b"1\n")
    upload.finish()
    return tmp_path / "old"


def there(data_dir: Path, shared: Path, tmp_path: Path) -> dict[str, str]:
    """What another node of the store at `data_dir` lacks."""
    store = DiskStore(data_dir / "store")
    files = SharedFiles(store, DirectoryObjects(shared))
    node = tmp_path / f"node-{data_dir.name}"
    problems = files.fetch(RUN, node / "runs" / RUN, [FILE])
    assert RowFiles(node, files).info("ada", ROWS)["rows"] == 1
    files.close()
    store.close()
    return problems


def test_files_of_a_data_directory_are_shared_by_the_copy(tmp_path: Path, old: Path, shared: Path) -> None:
    settings = Settings(data_dir=tmp_path / "f", blobs=str(shared))
    report = copied(settings, old, tmp_path / "new")
    assert (report["runs"], report["files"]) == (1, 4), "two files here, and two objects"
    assert there(tmp_path / "new", shared, tmp_path) == {}
    assert copied(settings, old, tmp_path / "new")["files"] == 4, "again"


def test_what_the_source_shared_is_copied_and_outlives_the_source(
    tmp_path: Path, old: Path, shared: Path
) -> None:
    """Each store cleans its own room: a copy that shared the source's would lose what that deletes."""
    settings = Settings(data_dir=tmp_path / "f", blobs=str(shared))
    copied(settings, old, tmp_path / "one")
    for path in (tmp_path / "one" / "runs", tmp_path / "one" / "blobs"):
        path.rename(tmp_path / f"gone-{path.name}")
    copied(settings, tmp_path / "one", tmp_path / "two")
    store = DiskStore(tmp_path / "one" / "store")
    files = SharedFiles(store, DirectoryObjects(shared))
    assert files.remove_run(RUN) == 1
    files.close()
    store.close()
    assert there(tmp_path / "two", shared, tmp_path) == {}


def test_a_copy_that_was_not_told_where_the_files_are_is_refused(
    tmp_path: Path, old: Path, shared: Path
) -> None:
    copied(Settings(data_dir=tmp_path / "f", blobs=str(shared)), old, tmp_path / "one")
    with pytest.raises(StoreUnusable, match="the files of this store are in") as caught:
        copied(Settings(data_dir=tmp_path / "f"), tmp_path / "one", tmp_path / "two")
    assert f"PO_BLOBS={shared}" in caught.value.hint
