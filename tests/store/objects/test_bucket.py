"""A bucket that cannot be used: one clear message for each reason, without a secret."""

from __future__ import annotations

import pytest

from po_jupyter.errors import StoreUnusable, Unavailable
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.objects.opening import open_shared_files
from tests.support.s3 import KEY, SECRET, S3Server

pytestmark = pytest.mark.integration


def test_a_bucket_that_is_not_there_is_named(aws: S3Server) -> None:
    with pytest.raises(StoreUnusable, match="there is no bucket none") as caught:
        open_shared_files(MemoryStore(), "s3://none/x")
    assert "Make the bucket" in caught.value.hint


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


def test_a_server_starts_while_the_place_does_not_answer_and_who_needs_it_is_told(
    aws: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    files = open_shared_files(MemoryStore(), "s3://bucket/x")
    assert files is not None
    with pytest.raises(Unavailable, match="s3://bucket/x cannot be used: it does not answer"):
        files.open()
    files.close()
