"""C10: a copy of a store to which others write meanwhile is one that could have stood still."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.orchestrator.maintenance.backup import back_up
from po_jupyter.store.disk.snapshot import StoreSnapshot, check_whole
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.testing.conformance.store import event, new_run
from tests.support.backups import RUNS, make, restored


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    make(tmp_path / "data").close()
    return tmp_path / "data"


def test_an_idempotency_key_of_a_run_that_came_between_documents_and_runs_is_in_it(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run without its key would be made twice."""
    from po_jupyter.store.disk import snapshot

    copy_database, copied = snapshot.copy_database, []

    def copy(source: Path, target: Path) -> None:
        copy_database(source, target)
        if not copied:
            store = DiskStore(data_dir / "store")
            store.create_run(new_run("01a218f49251499a5f97ff", idempotency_key="late"))
            store.close()
        copied.append(source.parent.name)

    monkeypatch.setattr(snapshot, "copy_database", copy)
    back_up(data_dir, tmp_path / "a.tar.gz")
    assert copied[:3] == ["documents", "runs-0", "runs-1"]
    store = restored(tmp_path / "a.tar.gz", tmp_path / "there")
    again, created = store.create_run(new_run("01a218f49251499a5f97fe", idempotency_key="late"))
    assert (again["run"], created) == ("01a218f49251499a5f97ff", False)
    store.close()


def test_a_run_that_ended_while_it_was_copied_again_is_active_no_more(tmp_path: Path, data_dir: Path) -> None:
    snapshot = StoreSnapshot(data_dir / "store", tmp_path / "copy")
    store = DiskStore(data_dir / "store")
    store.request(RUNS[3], [event("run.done")], state="done")
    store.request(RUNS[2], [event("run.done")], state="done")
    store.delete_run(RUNS[2])
    store.close()
    assert (snapshot.copy_again(RUNS[3]), snapshot.copy_again(RUNS[2])) == (3, 0)
    assert snapshot.store.active() == []
    snapshot.store.close()
    assert check_whole(tmp_path / "copy")["runs"] == 3
