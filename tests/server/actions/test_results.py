"""Results of a run as actions answer them, whatever the store can read."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from po_jupyter.errors import CorruptRow
from po_jupyter.model.run.view import TaskView
from po_jupyter.presentation.run_output import RUN_MIME
from po_jupyter.server.actions import results
from tests.support.cli import make_view


async def test_a_run_whose_output_cannot_be_read_is_displayed_without_it() -> None:
    """As a kernel shows it: the run stands there, its result does not."""
    run = make_view(tasks=(TaskView(name="a", state="done"),))

    async def get(*_: Any, **__: Any) -> Any:
        return run

    async def outputs(*_: Any) -> Any:
        raise CorruptRow("the row cannot be read")

    orchestrator = SimpleNamespace(runs=SimpleNamespace(get=get), results=SimpleNamespace(outputs=outputs))
    request: Any = SimpleNamespace(orchestrator=orchestrator, owner="me", path={"id": run.id})
    answer = await results.display(request)
    data: Any = answer.value
    assert data["data"][RUN_MIME]["run"] == run.id
    assert json.dumps(data["data"][RUN_MIME].get("results", [])) == "[]"
