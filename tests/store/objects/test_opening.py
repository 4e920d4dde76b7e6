"""Which place a URL names, and one clear message without a secret for each that cannot be used."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import pytest

from po_jupyter.errors import NotFound, StoreUnusable
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.objects.opening import open_objects, open_shared_files
from po_jupyter.store.objects.protocol import PART, ObjectStore


def keys(objects: ObjectStore, prefix: str) -> list[str]:
    return sorted(info.key for info in objects.list(prefix))


def test_objects_are_written_read_listed_copied_and_removed(objects: ObjectStore) -> None:
    objects.put("id/po-objects.json", BytesIO(b"{}"), 2)
    objects.put("id/runs/a/1/x", BytesIO(b"hello"), 5)
    objects.put("id/runs/ab/1/y", BytesIO(b""), 0)
    assert b"".join(objects.read("id/runs/a/1/x")) == b"hello"
    found = objects.info("id/runs/a/1/x")
    assert found is not None and (found.key, found.bytes) == ("id/runs/a/1/x", 5)
    assert objects.info("id/runs/a/1/z") is None
    assert keys(objects, "id/runs") == ["id/runs/a/1/x", "id/runs/ab/1/y"]
    assert keys(objects, "id/runs/a") == ["id/runs/a/1/x"], "a directory, not the beginning of a name"
    assert keys(objects, "id/nothing") == []
    objects.copy("id/runs/a/1/x", "id/runs/c/1/x")
    objects.put("id/runs/a/1/x", BytesIO(b"again"), 5)
    assert b"".join(objects.read("id/runs/c/1/x")) == b"hello"
    objects.remove(["id/runs/a/1/x", "id/runs/ab/1/y", "id/runs/never/1/z"])
    objects.remove([])
    assert keys(objects, "id/runs") == ["id/runs/c/1/x"]
    for missing in (lambda: list(objects.read("id/runs/a/1/x")), lambda: objects.copy("id/no", "id/yes")):
        with pytest.raises(NotFound):
            missing()


def test_a_large_object_goes_in_parts_and_comes_in_pieces(objects: ObjectStore) -> None:
    objects.put("id/po-objects.json", BytesIO(b"{}"), 2)
    data = bytes(range(256)) * 4096 * 20  # 20 MB
    objects.put("id/large", BytesIO(data), len(data))
    assert len(data) > 2 * PART
    pieces = list(objects.read("id/large"))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) < PART


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "po_jupyter.store.objects.bucket", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(StoreUnusable, match=r"obstore.*not installed\npip install 'po_jupyter\[s3\]'"):
        open_objects("s3://bucket")


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A mount point whose file system is missing would be filled, and hidden when it comes."""
    with pytest.raises(StoreUnusable, match="there is no directory"):
        open_shared_files(MemoryStore(), str(tmp_path / "shared"))
    assert not (tmp_path / "shared").exists()


def test_a_server_that_was_not_told_where_the_files_are_does_not_start(tmp_path: Path, where: str) -> None:
    store = MemoryStore()
    assert open_shared_files(store, None) is None
    files = open_shared_files(store, where)
    assert files is not None
    files.close()
    with pytest.raises(StoreUnusable, match="this server was not told so") as caught:
        open_shared_files(store, None)
    assert where in caught.value.hint


def test_another_place_than_that_of_the_stores_files_is_refused(tmp_path: Path, where: str) -> None:
    store = MemoryStore()
    files = open_shared_files(store, where)
    assert files is not None
    files.close()
    (tmp_path / "other").mkdir()
    with pytest.raises(StoreUnusable, match="does not have them") as caught:
        open_shared_files(store, str(tmp_path / "other"))
    assert where in caught.value.message
    assert list((tmp_path / "other").iterdir()) == []
