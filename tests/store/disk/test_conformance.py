"""The store on the disk goes through the published suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from po_jupyter.store.disk.store import DiskStore
from po_jupyter.testing.conformance.store import StoreConformance


class TestDiskStore(StoreConformance):
    opener = "from po_jupyter.store.disk.store import DiskStore; store = DiskStore({path!r})"

    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        return str(tmp_path / "store")

    @pytest.fixture
    def store(self, place: str) -> Iterator[DiskStore]:
        store = DiskStore(place)
        yield store
        store.close()
