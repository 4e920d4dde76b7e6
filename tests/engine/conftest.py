from __future__ import annotations

import sys
from pathlib import Path

import pytest

from po_jupyter.config import McpServer
from tests.support.engine import Bench
from tests.support.paths import TESTS


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def stdio(monkeypatch: pytest.MonkeyPatch) -> dict[str, McpServer]:
    """A real MCP server; it is started by its first use."""
    monkeypatch.setenv("FILES_TOKEN", "named")
    monkeypatch.setenv("OTHER_TOKEN", "not named")
    return {
        "files": McpServer(
            command=(sys.executable, str(TESTS / "support" / "mcp_server.py")), env=("FILES_TOKEN",)
        )
    }
