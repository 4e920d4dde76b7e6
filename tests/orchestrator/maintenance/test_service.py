"""G7, B15: what people ask of maintenance."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.errors import InvalidInput, NotFound
from po_jupyter.orchestrator.events.audit_log import AuditLog
from tests.support.orchestrator import body, orchestrator, task, until

pytestmark = pytest.mark.integration


async def test_clean_and_usage_through_the_orchestrator(tmp_path: Path) -> None:
    """G7, B15: a dry run says the same as the deletion; others' runs are not mine to delete."""
    async with orchestrator(tmp_path / "data") as service:
        mine, _ = await service.submissions.submit(body(task("a")), owner="me")
        other, _ = await service.submissions.submit(body(task("a")), owner="you")
        failed, _ = await service.submissions.submit(body(task("a", fail=str(tmp_path / "never"))), owner="me")
        for view in (mine, other, failed):
            await until(service, view.id)
        used = (await service.maintenance.usage("me"))["disk"]["runs"]["states"]
        assert {s: v["runs"] for s, v in used.items()} == {"done": 1, "failed": 1}
        assert (await service.maintenance.clean("me"))["runs"] == [], "the settings' 30 days"
        dry = await service.maintenance.clean("me", dry_run=True, older_than=0)
        assert [r["run"] for r in dry["runs"]] == [mine.id]
        assert dry["bytes"] > 0
        assert (await service.runs.get(mine.id, "me")).state == "done"
        done = await service.maintenance.clean("me", older_than=0)
        assert [r["run"] for r in done["runs"]] == [mine.id]
        with pytest.raises(NotFound):
            await service.runs.get(mine.id, "me")
        assert {v.id for v in (await service.runs.page(None))[0]} == {other.id, failed.id}
        done = await service.maintenance.clean("me", older_than=0, states=("failed", "cancelled"))
        assert [r["run"] for r in done["runs"]] == [failed.id]
        with pytest.raises(InvalidInput, match="older_than"):
            await service.maintenance.clean("me", states=("failed",))
    entries, _ = AuditLog(tmp_path / "data" / "audit").read()
    assert [(e["by"], e["action"], e["run"]) for e in entries] == [
        ("me", "delete_run", failed.id),
        ("me", "delete_run", mine.id),
    ]
