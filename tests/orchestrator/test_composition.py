"""What a server does alone over its store, and what of it as one node of several."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.errors import Conflict
from tests.support.orchestrator import orchestrator

pytestmark = pytest.mark.integration


async def test_a_server_that_has_its_store_alone_is_its_only_node(tmp_path: Path) -> None:
    async with orchestrator(tmp_path / "data", max_running=3) as service:
        report = await service.workers.report()
        (node,) = report["nodes"]
        assert (node["slots"], node["state"], node["labels"]) == (3, "works", [])
        assert report["queue"] == {"running": 0, "queued": 0, "priorities": {}, "oldest": None}
        with pytest.raises(Conflict, match="alone"):
            await service.workers.drain(node["name"])
        assert service.store.names("node") == []
