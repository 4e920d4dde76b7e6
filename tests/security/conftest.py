from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.jupyter_process import JupyterProcess


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    """One server for this folder's tests, with the orchestrator in memory."""
    process = JupyterProcess(tmp_path_factory.mktemp("jupyter"))
    yield process
    process.stop()
