"""Handing over: what is refused here already; the way itself is in tests/hub_runs/test_moves.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from po_jupyter.model.run.events import draft
from tests.support.orchestrator import body, orchestrator, wait_for_state

pytestmark = pytest.mark.integration
PROMPT = {"name": "p", "prompt": "hello", "llm": {"model": "fake:echo"}}


async def test_what_cannot_be_moved_stays_as_it_is(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body(PROMPT), owner="local")
        await wait_for_state(service, view.id)
        moves = service.handovers
        with pytest.raises(InvalidInput, match="moved to `shared`"):
            await moves.move(view.id, "local", "elsewhere")
        with pytest.raises(NotFound):
            await moves.move("0" * 22, "local", "shared")
        with pytest.raises(Unavailable, match="no service of shared runs"):
            await moves.move(view.id, "local", "shared")
        assert (await service.runs.get(view.id, "local")).state == "done"
        await moves.finish_all()


async def test_a_move_that_did_not_come_to_its_commit_is_forgotten(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body(PROMPT), owner="local")
        await wait_for_state(service, view.id)
        for run in (view.id, "0" * 22):
            service.store.put("move", run, {"sha256": "0" * 64, "group": ""})
        await service.handovers.finish_all()
        assert service.store.names("move") == []


async def test_shared_runs_are_shared_already(tmp_path: Path) -> None:
    async with orchestrator(tmp_path, hub_behalf=True, hub_url="http://127.0.0.1:9/services/po") as service:
        with pytest.raises(Conflict, match="shared already"):
            await service.handovers.move("0" * 22, "local", "shared")


async def test_a_move_whose_document_another_node_removed_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between document and commit another node finds a move that did not come to its commit."""
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body(PROMPT), owner="local")
        await wait_for_state(service, view.id)
        moved = draft("run.moved", to="shared", group="ops", sha256="1" * 64, by="me", from_state="done")
        service.store.request(view.id, [moved], "moved")
        accepted = []

        async def accept(sha256: str, group: str) -> None:
            accepted.append((sha256, group))

        monkeypatch.setattr(service.handovers._service, "accept", accept)
        with pytest.raises(Conflict, match="moved to the group 'ops'"):
            await service.handovers.move(view.id, "local", "shared")
        found = await service.handovers.move(view.id, "local", "shared", "ops")
        assert found.moved is not None
        assert found.moved["accepted"]
        assert accepted == [("1" * 64, "ops")]
        assert service.store.names("move") == []


async def test_nobody_is_let_into_shared_runs_with_another_persons_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of a hub may be shared with others, who are owners of their own there."""
    monkeypatch.setenv("PO_HUB_RUNS_URL", "http://127.0.0.1:9/services/po-runs")
    monkeypatch.setenv("PO_HUB_TOKEN", "token-of-local")
    async with orchestrator(tmp_path, hub_runs_url="http://127.0.0.1:9/services/po-runs") as service:
        view, _ = await service.submissions.submit(body(PROMPT), owner="grace")
        assert await service.handovers.shared_runs("local")
        with pytest.raises(Forbidden, match="the token of local"):
            await service.handovers.shared_runs("grace")
        with pytest.raises(Forbidden):
            await service.handovers.move(view.id, "grace", "shared")
