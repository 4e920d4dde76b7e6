"""Several machines over one PostgreSQL, without a broker: the store is the truth, NOTIFY a hint, a claim the lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.nodes import WorkerNode, api_node
from tests.support.orchestrator import wait_for_state

pytestmark = pytest.mark.integration


def body(tasks: int = 1, **more: Any) -> dict[str, Any]:
    """A run of prompts, one after the other."""
    chain = [
        {"name": f"t{i}", "prompt": f"question {i}", **({"needs": [f"t{i - 1}"]} if i else {})}
        for i in range(tasks)
    ]
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 50}
    return {"pipeline": {"name": "p", "llm": llm, "tasks": chain}, "seed": {"name": "s", "data": {}}, **more}


async def test_a_run_is_worked_off_on_another_node(tmp_path: Path, place: str, model: ModelServer) -> None:
    worker = WorkerNode(tmp_path / "worker", place)
    try:
        async with api_node(tmp_path / "api", place) as api:
            worker.ready()
            run = (await api.submissions.submit(body(3), owner="local"))[0].id
            view = await wait_for_state(api, run)
            assert view.state == "done", (view.error, worker.log())
            assert len(model.requests) == 3
            assert (worker.data_dir / "runs" / run).exists()
            assert not (tmp_path / "api" / "runs" / run / "worker.log").exists()
    finally:
        assert worker.stop() == 0
