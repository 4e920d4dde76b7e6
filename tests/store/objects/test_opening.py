"""Which place a URL names, and one clear message without a secret for each that cannot be used."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import pytest
from pydantic import ValidationError

from po_jupyter.config import Settings
from po_jupyter.errors import NotFound, StoreUnusable, Unavailable
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.objects.opening import open_objects, open_shared_files
from po_jupyter.store.objects.protocol import PART, ObjectStore
from tests.support.s3 import KEY, SECRET, S3Server


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


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("s3://bucket/a/b/", "s3://bucket/a/b"), ("s3://bucket", "s3://bucket"), ("/srv/shared", "/srv/shared"),
        ("file:///srv/with%20space", "/srv/with space"),
    ],
)  # fmt: skip
def test_the_setting_is_a_bucket_or_the_path_of_a_directory(text: str, read: str, tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path, blobs=text).blobs == read


@pytest.mark.parametrize(
    "text",
    [
        "", "relative/path", "s3://", "s3:///prefix", f"s3://{KEY}:{SECRET}@bucket/x", "s3://bucket/../other",
        "s3://bucket/a//b", f"s3://bucket/?secret={SECRET}", "https://bucket.example/x", "gs://bucket", "a\0b",
    ],
)  # fmt: skip
def test_another_place_is_refused_without_showing_what_may_be_a_secret(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(data_dir=tmp_path, blobs=text)
    message = caught.value.errors(include_input=False)[0]["msg"]
    assert "s3://BUCKET/PREFIX" in message and SECRET not in message


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


@pytest.mark.integration
def test_a_bucket_that_is_not_there_is_named(aws: S3Server) -> None:
    with pytest.raises(StoreUnusable, match="there is no bucket none") as caught:
        open_shared_files(MemoryStore(), "s3://none/x")
    assert "Make the bucket" in caught.value.hint


@pytest.mark.integration
def test_refused_credentials_are_said_and_not_shown(aws: S3Server) -> None:
    bucket = aws.bucket()
    aws.check_credentials(on=True)
    try:
        with pytest.raises(StoreUnusable) as caught:
            open_shared_files(MemoryStore(), f"s3://{bucket}/x")
    finally:
        aws.check_credentials(on=False)
    text = str(caught.value)
    assert f"s3://{bucket}/x cannot be used: the credentials are refused" in text
    assert "AWS_ACCESS_KEY_ID" in text
    assert KEY not in repr(caught.value.to_json()) and SECRET not in repr(caught.value.to_json())
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.integration
def test_a_server_starts_while_the_place_does_not_answer_and_who_needs_it_is_told(
    aws: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    files = open_shared_files(MemoryStore(), "s3://bucket/x")
    assert files is not None
    with pytest.raises(Unavailable, match="s3://bucket/x cannot be used: it does not answer"):
        files.open()
    files.close()
