"""Handing over: what is refused here already; the way itself is in tests/hub_runs/test_moves.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.errors import Conflict, InvalidInput, NotFound, Unavailable
from tests.support.orchestrator import body, orchestrator, wait_for_state

pytestmark = pytest.mark.integration
PROMPT = {"name": "p", "prompt": "hello", "llm": {"model": "fake:echo"}}


async def test_what_cannot_be_moved_stays_as_it_is(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body(PROMPT), owner="me")
        await wait_for_state(service, view.id)
        moves = service.handovers
        with pytest.raises(InvalidInput, match="moved to `shared`"):
            await moves.move(view.id, "me", "elsewhere")
        with pytest.raises(NotFound):
            await moves.move(view.id, "you", "shared")
        with pytest.raises(Unavailable, match="no service of shared runs"):
            await moves.move(view.id, "me", "shared")
        assert (await service.runs.get(view.id, "me")).state == "done"
        await moves.finish_all()


async def test_a_move_that_did_not_come_to_its_commit_is_forgotten(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body(PROMPT), owner="me")
        await wait_for_state(service, view.id)
        for run in (view.id, "0" * 22):
            service.store.put("move", run, {"sha256": "0" * 64, "group": ""})
        await service.handovers.finish_all()
        assert service.store.names("move") == []


async def test_shared_runs_are_shared_already(tmp_path: Path) -> None:
    async with orchestrator(tmp_path, hub_behalf=True, hub_url="http://127.0.0.1:9/services/po") as service:
        with pytest.raises(Conflict, match="shared already"):
            await service.handovers.move("0" * 22, "me", "shared")
