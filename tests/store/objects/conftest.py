"""A place of each kind, and the bucket server that the module shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from po_jupyter.store.objects.opening import open_objects
from po_jupyter.store.objects.protocol import ObjectStore
from tests.support.s3 import S3Server, s3_server


@pytest.fixture(scope="package")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def aws(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.integration)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What PO_BLOBS would say."""
    if request.param == "s3":
        return f"s3://{request.getfixturevalue('aws').bucket()}/a/b"
    (tmp_path / "shared").mkdir()
    return str(tmp_path / "shared")


@pytest.fixture
def objects(where: str) -> ObjectStore:
    return open_objects(where)
