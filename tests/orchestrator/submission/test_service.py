"""Submissions: durable first, handed over once, and a repeated request gets the run that it made."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Conflict, Forbidden, InvalidInput, InvalidPipeline, NotFound, VersionMismatch
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.preflight import Preflight
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.orchestrator.submission.planner import RunPlanner
from po_jupyter.orchestrator.submission.service import Submissions
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.keyed.memory import MemoryStore
from tests.orchestrator.views.test_queries import Waiting
from tests.store.files.test_row_files import TEXT, digest
from tests.support.orchestrator import Anyone, settings

GREET = {"name": "greet", "tasks": [{"name": "say", "prompt": "Hello", "llm": "fake:echo"}]}
BODY = {"pipeline": GREET, "seed": {"name": "s", "data": {"x": 1}}}
CODE = {**BODY, "pipeline": {"name": "p", "tasks": [{"name": "a", "source": "def ingestion(ctx): ..."}]}}


class Desk:
    """Submissions over a store in memory; `dispatched` are the runs that were handed over."""

    def __init__(self, tmp: Path) -> None:
        config = settings(tmp)
        self.store = MemoryStore()
        self.dispatched: list[tuple[str, bool]] = []
        self.interpreters: list[str] = []
        self.refused: Exception | None = None
        projections = RunProjections(self.store)
        row_files = RowFiles(tmp)
        planner = RunPlanner(
            config, PipelineRegistry(self.store), row_files, Preflight(config, KeyStore(tmp), lambda: True)
        )
        dispatcher: Any = self
        self.service = Submissions(
            self.store, projections, RunQueries(self.store, projections, Waiting(), asyncio.to_thread), planner,
            dispatcher, row_files, prepare_interpreter=self.prepare, to_thread=asyncio.to_thread,
            submitting=Anyone(), reading=Anyone(),
        )  # fmt: skip

    async def submitted(self, head: Any, definition: Any) -> None:
        durable = self.store.head(head["run"])["state"] == "pending"
        self.dispatched.append((head["run"], durable))

    async def prepare(self, interpreter: str) -> None:
        self.interpreters.append(interpreter)
        if self.refused is not None:
            raise self.refused


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_run_is_durable_before_anybody_works_on_it(desk: Desk) -> None:
    """P1."""
    view, created = await desk.service.submit(BODY, owner="me")
    assert created
    assert desk.dispatched == [(view.id, True)]
    assert (view.state, view.owner, view.pipeline, view.seed["data"]) == ("pending", "me", "greet", {"x": 1})
    assert [task.name for task in view.tasks] == ["say"]


async def test_a_request_that_is_repeated_gets_the_run_that_it_made(desk: Desk) -> None:
    """R3.3: whoever lost the answer asks again, and nothing runs twice; the key is each owner's own."""
    body = {**BODY, "idempotency_key": "k"}
    first, _ = await desk.service.submit(body, owner="me")
    again, created = await desk.service.submit(body, owner="me")
    assert (again.id, created) == (first.id, False)
    assert len(desk.dispatched) == 1
    with pytest.raises(Conflict):
        await desk.service.submit({**body, "priority": 3}, owner="me")
    other, created = await desk.service.submit(body, owner="you")
    assert created
    assert other.id != first.id


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"pipeline": {"name": "p", "tasks": []}, "seed": {"name": "s", "data": {}}}, InvalidPipeline),
        ({"pipeline": "nowhere", "seed": {"name": "s", "data": {}}}, NotFound),
        ({**BODY, "priorty": 1}, InvalidInput),
        ({**BODY, "cwd": "not/absolute"}, Forbidden),
        (CODE, Forbidden),
    ],
)
async def test_what_is_refused_leaves_nothing(desk: Desk, body: dict[str, Any], error: type[Exception]) -> None:
    """P11; DESIGN, Doors: code without its scope is not stored either."""
    with pytest.raises(error):
        await desk.service.submit(body, owner="me", code_allowed=False)
    assert (desk.store.runs().heads, desk.dispatched) == ([], [])


async def test_an_interpreter_that_cannot_fork_workers_is_found_out_before_the_run(
    desk: Desk, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    desk.refused = VersionMismatch("another version")
    with pytest.raises(VersionMismatch):
        await desk.service.submit({**BODY, "interpreter": str(python)}, owner="me")
    assert desk.interpreters == [str(python)]
    assert desk.store.runs().heads == []
    with pytest.raises(Forbidden):
        await desk.service.submit({**BODY, "interpreter": str(python)}, owner="me", code_allowed=False)
    assert len(desk.interpreters) == 1, "nothing of it was started"


async def test_checking_and_estimating_start_nothing(desk: Desk) -> None:
    assert (await desk.service.validate({"pipeline": GREET}))["ok"]
    with pytest.raises(InvalidInput, match="pipeline, seed"):
        await desk.service.validate({"pipeline": GREET, "options": {}})
    assert (await desk.service.estimate(BODY, owner="me"))["calls"] == 1
    assert "analysis" not in await desk.service.validate({"pipeline": GREET})
    for analysed in (
        await desk.service.validate({"pipeline": GREET, "analysis": True, "seed": BODY["seed"]}),
        await desk.service.estimate(BODY, owner="me"),
    ):
        (say,) = analysed["analysis"]["tasks"]
        assert (say["kind"], say["stages"][-1]) == ("prompt", "inference")
    with pytest.raises(Forbidden):
        await desk.service.estimate(CODE, owner="me", code_allowed=False)
    assert (desk.store.runs().heads, desk.dispatched) == ([], [])


async def test_a_file_of_rows_is_received_and_known_to_its_owner(desk: Desk) -> None:
    """P6."""
    upload = await desk.service.receive_rows(digest(TEXT), "me")
    await upload.write(TEXT)
    assert (await upload.finish())["rows"] == 3
    assert (await desk.service.row_file(digest(TEXT), "me"))["bytes"] == len(TEXT)
    with pytest.raises(NotFound):
        await desk.service.row_file(digest(TEXT), "you")
