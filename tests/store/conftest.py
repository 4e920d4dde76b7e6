"""A store in a directory, with one run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from po_jupyter.store.disk.store import DiskStore
from po_jupyter.testing.conformance.store import new_run
from tests.support.disk_store import RUN


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[DiskStore]:
    store = DiskStore(path, shards=1)
    store.create_run(new_run(RUN))
    yield store
    store.close()
