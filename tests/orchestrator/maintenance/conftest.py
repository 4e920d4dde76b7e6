"""A data directory with runs, and an archive of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.orchestrator.maintenance.backup import back_up
from tests.support.backups import make


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    store = make(tmp_path / "data")
    store.close()
    return tmp_path / "data"


@pytest.fixture
def archive(tmp_path: Path, data_dir: Path) -> Path:
    back_up(data_dir, tmp_path / "a.tar.gz")
    return tmp_path / "a.tar.gz"
