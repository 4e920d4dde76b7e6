"""The place of shared files in the settings: a bucket or a directory, and nothing that may be a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from po_jupyter.config import Settings

KEY, SECRET = "AKIAIOSFODNN7TESTS", "wJalrXUtnFEMIbPxRfiCYtestssecret"


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
